"""A start by another environment than the game was begun with."""

import msgspec
import pytest
from structlog.testing import capture_logs

from clock.config import BadSetting, Settings
from clock.runtime.start_check import start_check
from clock.service import Service
from tests.conftest import DAY


async def test_a_start_says_where_the_environment_differs_from_the_book(settings: Settings, service: Service) -> None:
    other = msgspec.structs.replace(settings, stake_fen=777)
    with capture_logs() as before:
        await start_check(other)  # the book is empty: it will begin with this
    await service.opener.open_round(DAY)
    with capture_logs() as after:
        await start_check(settings)
        await start_check(other)
    told = {"stake_fen": {"book": 100, "environment": 777}}
    assert [line for line in before if line["event"] == "environment_differs"] == []
    assert [line["rules"] for line in after if line["event"] == "environment_differs"] == [told]


async def test_a_process_in_another_time_zone_does_not_start(settings: Settings, service: Service) -> None:
    await service.opener.open_round(DAY)
    with pytest.raises(BadSetting, match=r"CLOCK_TIMEZONE=UTC is not .* which stays Asia/Shanghai"):
        await start_check(msgspec.structs.replace(settings, timezone="UTC"))
