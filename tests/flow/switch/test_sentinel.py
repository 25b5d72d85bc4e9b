"""Three Sentinels with the lines of docs/servers.md replace a primary that dies; an address follows what they name."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.exceptions import RedisError

from clock.config import Settings
from clock.game import keys
from clock.game.client.calls import connect
from clock.runtime.ports import free_port
from clock.runtime.processes import stop
from clock.service import end
from tests.conftest import DAY, Api, serving
from tests.flow.pair import Address, Pair
from tests.flow.stage import working
from tests.flow.switch.guards import LINES, SECONDS, guarded
from tests.flow.switch.stage import books_have, says, seconds_until

pytestmark = pytest.mark.long

MEMBERS = range(1, 5)


@pytest.fixture
def durability() -> str:
    return "replica"


async def follow(address: Address, guards: list[Any]) -> None:
    """What a proxy does that asks the Sentinels."""
    while True:
        for guard in guards:
            with suppress(RedisError, OSError):
                _, port = await guard.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "clock")
                address.to_port = int(port)
        await asyncio.sleep(0.1)


async def checked_in_over(api: Api, end: Callable[[], Awaitable[object]]) -> float:
    """Members check in, while the primary ends in between; seconds until the first good answer after that."""
    await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"})
    for uid in MEMBERS:
        await api.member(uid)
    await api.send("PUT", "/dev/time", {"now": "2026-11-23T05:00:00+08:00"})
    assert await says(api, "/api/check-in", MEMBERS[0]) == "checked_in"
    await end()

    async def checked_in() -> bool:
        return await says(api, "/api/check-in", MEMBERS[1]) in ("checked_in", "already_checked_in")

    away = await seconds_until(checked_in, SECONDS)
    for uid in MEMBERS[2:]:
        assert await says(api, "/api/check-in", uid) == "checked_in"
    assert await says(api, "/api/check-in", MEMBERS[0]) == "already_checked_in"
    for uid in MEMBERS:
        await seconds_until(lambda uid=uid: books_have(api.settings, "check_ins", uid), SECONDS)  # type: ignore[misc]
    return away


async def winners_at(two: Pair, port: int) -> bytes | None:
    now = connect(two.primary.url.replace(str(two.primary.port), str(port)))
    found = await now.hget(keys.name(DAY, 0, "totals"), "winners")
    await now.aclose()
    return found


async def test_a_primary_that_dies_at_five_is_replaced_and_nobody_is_lost(
    api: Api, two: Pair, address: Address, tmp_path: Path
) -> None:
    assert len(LINES) == 4
    async with guarded(two, tmp_path) as guards, working(api.settings):
        following = asyncio.create_task(follow(address, guards.clients))
        print("away for", await checked_in_over(api, lambda: stop(two.first, signal.SIGKILL)))
        await end([following])
        assert address.to_port != two.primary.port
        assert await winners_at(two, address.to_port) == b"4"


@pytest.mark.parametrize("ending", ["killed", "hanging"])
async def test_a_url_of_sentinels_leads_to_whatever_they_name(
    settings: Settings, two: Pair, tmp_path: Path, ending: str
) -> None:
    """One of the Sentinels that the URL names is not there. A primary that hangs keeps its connections."""

    async def ends() -> None:
        two.first.send_signal(signal.SIGKILL if ending == "killed" else signal.SIGSTOP)

    async with guarded(two, tmp_path) as guards:
        settings = msgspec.structs.replace(settings, redis_url=guards.url(free_port()))
        async with AsyncExitStack() as over, serving(settings) as api, working(settings):
            if ending == "hanging":
                over.callback(two.first.send_signal, signal.SIGCONT)  # stopped, it could not be ended
            promoted = asyncio.create_task(guards.named_another(two.primary.port))
            began = time.monotonic()
            away = await checked_in_over(api, ends)
            port, at = await promoted
            print("away for", round(away, 1), "s; promoted after", round(at - began, 1))
            assert await winners_at(two, port) == b"4"
