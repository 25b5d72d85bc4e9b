"""The service is really away while check-in is open: who could not check in has time afterwards."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.game import keys
from clock.runtime import embedded
from clock.runtime.ports import free_port
from tests.conftest import DAY, JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, Api, in_memory, serving
from tests.flow.stage import working
from tests.flow.switch.stage import says, seconds_until

pytestmark = pytest.mark.long

SECONDS = 20.0
MINUTE_MS = 60_000


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""


@pytest.fixture
async def valkey() -> AsyncIterator[tuple[embedded.Valkey, int]]:
    """A server of the test's own, and its process."""
    with embedded.scratch(in_memory()) as data_dir:
        server = embedded.Valkey(data_dir)
        async with embedded.started(server) as process:
            yield server, process.pid


@pytest.fixture
def settings(valkey: tuple[embedded.Valkey, int], database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        env="dev",
        port=free_port(),
        data_dir=tmp_path,
        redis_url=valkey[0].url,
        database_url=database_url,
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
    )


async def it_is(api: Api, instant: str) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": f"{instant}+08:00"}))[0] == 200


async def rules(api: Api, uid: int) -> dict[str, Any]:
    found: dict[str, Any] = (await api.post("/api/summary", uid))["data"]["summary"]["rules"]
    return found


async def state_is(api: Api, state: str) -> bool:
    return bool((await api.send("GET", f"/api/rounds/{DAY}"))[1]["data"]["state"] == state)


async def test_redis_stands_still_over_the_closing(api: Api, valkey: tuple[embedded.Valkey, int]) -> None:
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        for uid in (1, 2, 3):
            await api.member(uid)
        await it_is(api, "2026-11-23T07:59:48")
        assert await says(api, "/api/check-in", 1) == "checked_in"
        os.kill(valkey[1], signal.SIGSTOP)
        taps = [asyncio.create_task(says(api, "/api/check-in", 2)) for _ in range(3)]
        await asyncio.sleep(15)
        os.kill(valkey[1], signal.SIGCONT)
        assert set(await asyncio.gather(*taps)) <= {"unavailable", "checked_in", "already_checked_in"}

        async def in_time() -> bool:
            return await says(api, "/api/check-in", 2) in ("checked_in", "already_checked_in")

        await seconds_until(in_time, SECONDS)

        async def told() -> bool:
            return bool((await rules(api, 3))["extended_s"] == 60)

        await seconds_until(told, SECONDS)  # the next touch tells the process
        await it_is(api, "2026-11-23T08:00:50")  # the books must say so before 08:01
        assert await says(api, "/api/check-in", 3) == "checked_in"
        await seconds_until(lambda: state_is(api, "checking_in"), SECONDS)  # the books lag
        await it_is(api, "2026-11-23T08:01:00")
        assert await says(api, "/api/check-in", 4) == "too_late"
        await it_is(api, "2026-11-23T08:05:55")
        await asyncio.sleep(1)
        assert await state_is(api, "closed")
        await it_is(api, "2026-11-23T08:06:00")
        await seconds_until(lambda: state_is(api, "settled"), SECONDS)
        [said] = (await api.send("GET", f"/api/rounds/{DAY}"))[1]["data"]["extensions"]
        assert (said["cause"], said["by_ms"], said["shards"], said["asleep"]) == ("outage", MINUTE_MS, 1, 2)


async def test_all_api_processes_are_away_over_the_opening(settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, shards=8)
    async with serving(settings) as api:
        await it_is(api, "2026-11-22T20:00:00")
        for uid in range(1, 17):
            await api.member(uid)
        await it_is(api, "2026-11-23T04:59:58")
        await asyncio.sleep(1.5)
    await asyncio.sleep(8)
    async with serving(settings) as api:
        for uid in range(1, 17):
            shown = await rules(api, uid)
            assert shown["extended_s"] == 60, "of every shard"
        assert await says(api, "/api/check-in", 1) == "checked_in"
        redis: Any = api.service.redis
        closes = {await redis.hget(keys.name(DAY, shard, "round"), "check_in_closes_ms") for shard in range(8)}
        assert closes == {str(shown["check_in_closes_ms"]).encode()}


async def test_a_short_silence_is_no_outage(settings: Settings) -> None:
    async with serving(settings) as api:
        await it_is(api, "2026-11-22T20:00:00")
        await api.member(1)
        await it_is(api, "2026-11-23T06:00:00")
        await asyncio.sleep(1.5)
    await asyncio.sleep(1)
    async with serving(settings) as api:
        assert (await rules(api, 1))["extended_s"] == 0


async def test_moving_the_clock_of_development_is_none(settings: Settings) -> None:
    async with serving(settings) as api:
        await it_is(api, "2026-11-22T20:00:00")
        await api.member(1)
        for instant in ("2026-11-23T05:30:00", "2026-11-23T07:30:00", "2026-11-23T08:00:00"):
            await it_is(api, instant)
            assert (await rules(api, 1))["extended_s"] == 0
        assert await says(api, "/api/check-in", 1) == "too_late"


async def test_nor_is_moving_it_to_a_round_that_was_not_touched_meanwhile(settings: Settings) -> None:
    async with serving(settings) as api:
        await it_is(api, "2026-11-22T20:00:00")
        await api.member(1)
        await it_is(api, "2026-11-20T12:00:00")
        redis: Any = api.service.redis
        assert await redis.hincrby(keys.name(DAY, 0, "round"), "touched_ms", -MINUTE_MS) > 0
        await it_is(api, "2026-11-23T08:00:00")
        assert await says(api, "/api/check-in", 1) == "too_late"
