"""Three API processes and two workers are replaced one after the other while people come."""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from clock.config import Settings
from clock.game import keys
from clock.service import Service
from tests.conftest import DAY, Api
from tests.flow.hosts.stage import another, asked_at, counted, ended, everything_agrees, it_is, rows, said, settled
from tests.flow.stage import answering, working
from tests.flow.switch.stage import seconds_until
from tests.raw import Redis

pytestmark = pytest.mark.long

SECONDS = 40.0
HOSTS, WORKERS, EACH = 3, 2, 50
PEOPLE = range(1, 1 + EACH * (HOSTS + WORKERS))
"""Some come while the first host is replaced, some while the second one is, and so on."""


def parts_of(size: int) -> list[range]:
    return [PEOPLE[start : start + size] for start in range(0, len(PEOPLE), size)]


class Crowd:
    """Phones behind a balancer that does not know which hosts serve: whoever is refused goes to another one."""

    def __init__(self, apis: list[Api], chance: random.Random) -> None:
        self.apis = apis
        self.refused: set[int] = set()
        """Ports at which nobody listened."""
        self.reset = 0
        """Connections that no process had taken when the last one ceased to listen: the kernel resets them."""
        self._chance = chance

    async def come(self, uids: range, over: asyncio.Event) -> None:
        await asyncio.gather(*(self._taps(uid, n * 0.02, over) for n, uid in enumerate(uids)))

    async def _taps(self, uid: int, delay: float, over: asyncio.Event) -> None:
        """One check-in; then status after status."""
        await asyncio.sleep(delay)
        assert await self._answer("/api/check-in", uid) == "checked_in"
        while not over.is_set():
            await asyncio.sleep(0.5)
            assert await self._answer("/api/check-in/status", uid) == "ok"

    async def _answer(self, path: str, uid: int) -> str:
        """Each request on a connection of its own. Any other end than an answer or a refusal fails the test."""
        while True:
            api = self._chance.choice(self.apis)
            try:
                async with aiohttp.ClientSession() as session:
                    one = Api(api.settings, api.service, session)
                    return str((await one.post(path, uid))["code"])
            except aiohttp.ClientConnectorError as error:
                assert isinstance(error.os_error, ConnectionRefusedError)
                self.refused.add(api.settings.port)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                self.reset += 1


@pytest.mark.parametrize("changes", [{"shards": 3, "user_rate": 100_000, "api_workers": 1}])
async def test_hosts_are_replaced_one_after_the_other(
    settings: Settings, service: Service, redis: Redis, tmp_path: Path
) -> None:
    hosts = [settings, *(another(settings) for _ in range(HOSTS - 1))]
    logs = [tmp_path / f"{n}.log" for n in range(HOSTS + WORKERS)]
    async with AsyncExitStack() as stack:
        starts = [answering(one, log) for one, log in zip(hosts, logs, strict=False)]
        starts += [working(settings, log) for log in logs[HOSTS:]]
        processes = list(await asyncio.gather(*map(stack.enter_async_context, starts)))
        apis = [await stack.enter_async_context(asked_at(one)) for one in hosts]
        await it_is(apis[0], "2026-11-22T20:00:00")
        for uids in parts_of(25):
            await asyncio.gather(*(apis[uid % HOSTS].member(uid) for uid in uids))
        await it_is(apis[0], "2026-11-23T05:00:00")

        crowd = Crowd(apis, random.Random(5))
        for number, uids in enumerate(parts_of(EACH)):
            over = asyncio.Event()
            coming = asyncio.create_task(crowd.come(uids, over))
            await asyncio.sleep(0.3)  # half of them are under way
            assert await ended(processes[number]) == 0
            again = answering(hosts[number], logs[number]) if number < HOSTS else working(settings, logs[number])
            await stack.enter_async_context(again)
            over.set()
            await coming
            assert crowd.refused <= {one.port for one in hosts[: number + 1]}
        print("refused at", len(crowd.refused), "of", HOSTS, "hosts;", crowd.reset, "connections reset")
        assert crowd.reset <= HOSTS

        await seconds_until(counted(service, "check_ins", len(PEOPLE)), SECONDS)
        totals = [await redis.hget(keys.name(DAY, shard, "totals"), "winners") for shard in range(settings.shards)]
        assert sum(int(winners or 0) for winners in totals) == len(PEOPLE)
        await it_is(apis[0], "2026-11-23T08:05:00")
        await seconds_until(lambda: settled(apis[0]), SECONDS)
        await everything_agrees(apis[0])
        found = await rows(service, "SELECT step, sum(count)::int AS n FROM steps WHERE day = %s GROUP BY step", DAY)
        assert {row["step"]: row["n"] for row in found}.items() >= {"checked_in": len(PEOPLE)}.items(), "each once"
    assert [line for log in logs for line in said(log) if line["level"] == "error"] == []
