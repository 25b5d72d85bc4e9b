"""What the start makes of the beacon."""

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from clock.config import BadSetting, Settings
from clock.runtime.start_check import start_check
from tests.conftest import Servers
from tests.unit.beacon.stage import described, double, serving


async def test_the_start_refuses_a_beacon_that_is_none_and_waits_for_no_relay(
    settings: Settings, durable: Servers, durable_database: str
) -> None:
    production = structs.replace(settings, env="prod", redis_url=durable.redis_url, database_url=durable_database)
    for env, beacon in (("dev", "quicknot"), ("prod", described())):
        with pytest.raises(BadSetting, match="CLOCK_BEACON"):
            await start_check(structs.replace(production, env=env, beacon=beacon, beacon_relays="http://127.0.0.1:9"))
    async with serving(double()) as of_another_chain:
        relays = " ".join((*of_another_chain.relays, "http://127.0.0.1:9"))
        with capture_logs() as logs:
            await start_check(structs.replace(production, beacon="quicknet", beacon_relays=relays))
            await start_check(structs.replace(production, env="dev", beacon="quicknet", beacon_relays=relays))
    [line] = [line for line in logs if line["event"].startswith("beacon_")]
    assert line["event"] == "beacon_not_checked"
    assert list(line["bad"].values()) == ["status 404", "ClientConnectorError"]
