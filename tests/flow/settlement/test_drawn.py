"""Rounds whose packets depend on a draw of a beacon."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from clock.proofs import statements
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.drawn import Relay, drawing_world, relay
from tests.flow.settlement.stage import CROWD, audited, play, row_of, stop


@pytest.fixture
async def beacon() -> AsyncIterator[Relay]:
    async with relay() as made:
        yield made


@pytest.fixture
async def service(settings: Settings, beacon: Relay) -> AsyncIterator[Service]:
    async with drawing_world(settings, beacon) as made:
        yield made


async def test_a_draw_that_nobody_knew_is_mixed_into_the_seed(service: Service, beacon: Relay) -> None:
    await play(service, DAY, CROWD)
    stop(service, DAY, "08:00", 5_000)
    assert await service.settling.settle(DAY) == "not_due"
    row = await row_of(service, DAY)
    assert (row["state"], row["draw"]) == ("sealed", None)
    service.time.stop_at(row["draw_ms"])
    assert await service.settling.settle(DAY) == "not_due"
    row = await row_of(service, DAY)
    said = await statements.find(service.store, DAY)
    _, number = said.opened.draw
    assert row["draw"] == beacon.double.signature(number).hex()
    stop(service, DAY, "08:05")
    assert await service.settling.settle(DAY) == "settled"
    await audited(service, DAY)
