"""What nobody foresaw stops the round in which it happens, and is said; the others go on."""

from datetime import date

import pytest
from structlog.testing import capture_logs

from clock.config import Settings
from clock.runtime import worker
from tests.conftest import DAY
from tests.flow.settlement.stage import BEFORE, CROWD, Crowd, play, row_of, stop
from tests.model.world import new_world


@pytest.mark.parametrize(
    "broken", [RuntimeError("nobody foresaw this"), KeyError("members"), AssertionError(), ValueError("no JSON")]
)
async def test_an_unexpected_error_in_one_round_leaves_the_others_alone(
    shared: Settings, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    async with new_world(shared) as service:
        await play(service, BEFORE, Crowd(winners=1, sleepers=1))
        await play(service, DAY, CROWD)
        stop(service, DAY, "08:30")
        settle = service.settling.settle

        async def breaks(day: date) -> str:
            if day == BEFORE:
                raise broken
            return await settle(day)

        monkeypatch.setattr(service.settling, "settle", breaks)
        with capture_logs() as logged:
            await worker.settle({"service": service})
        assert (await row_of(service, DAY))["state"] == "settled"
        assert (await row_of(service, BEFORE))["state"] == "open"
        said = [line for line in logged if line["log_level"] == "error"]
        assert [line["day"] for line in said] == [str(BEFORE)]
