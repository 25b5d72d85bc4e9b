"""The worker's own clock is wrong: it goes on with what can be taken back, and says so; nothing else happens."""

import pytest

from clock.game import keys
from tests.conftest import DAY, Api
from tests.flow.clocks.faked import needs_faketime, new_clock
from tests.flow.operators.stage import operate
from tests.flow.stage import working
from tests.flow.switch.stage import says, seconds_until

pytestmark = [needs_faketime, pytest.mark.long]

SECONDS = 20.0


async def it_is(api: Api, instant: str) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"}))[0] == 200


async def alarms(api: Api) -> dict[str, dict[str, int]]:
    found = (await operate(api, "GET", "/ops/live"))[1]["data"]["alarms"]
    return {alarm["code"]: alarm.get("clocks", {}) for alarm in found}


@pytest.mark.parametrize("jump", [-3600.0, 8 * 3600.0])
async def test_settlement_waits_for_it_and_its_alarm_clock_does_not(api: Api, jump: float) -> None:
    """arq's own alarm clock is silent for an hour after it was set back by one."""
    with new_clock() as clock:
        async with working(api.settings, env=clock.env):
            await it_is(api, "2026-11-22T20:00:00")
            for uid in (1, 2):
                await api.member(uid)
            await it_is(api, "2026-11-23T06:00:00")
            assert await says(api, "/api/check-in", 1) == "checked_in"

            async def rings() -> bool:
                return "worker" in (await alarms(api)).get("clocks_differ", {})

            clock.jump(jump)
            await seconds_until(rings, SECONDS)
            shown = (await alarms(api))["clocks_differ"]["worker"] / 1000
            assert abs(shown - jump) < 2
            await it_is(api, "2026-11-23T08:05:01")
            assert await says(api, "/api/check-in", 2) == "too_late", "Redis' clock is right"
            await api.service.redis.delete(keys.HEARTBEAT)

            async def beats() -> bool:
                return bool(await api.service.redis.exists(keys.HEARTBEAT))

            await seconds_until(beats, SECONDS)
            for _ in range(3):
                assert (await operate(api, "GET", f"/ops/rounds/{DAY}"))[1]["data"]["state"] == "closed"
                assert await says(api, "/api/claim", 1) == "not_settled"
            clock.jump(0)

            async def settled() -> bool:
                return await says(api, "/api/claim", 1) == "claimed"

            print("settled after", round(await seconds_until(settled, SECONDS), 1), "s")

            async def quiet() -> bool:
                return "clocks_differ" not in await alarms(api)

            await seconds_until(quiet, SECONDS)
