"""Primaries end in the herd, one after the other, where a replica confirms every write: on a cluster and with
Sentinels. With these one ends between C and the draw, too; on a cluster that is in ``test_day``."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace

from clock.config import Settings
from clock.game import keys
from clock.runtime import embedded
from tests.cluster import Cluster, cluster
from tests.conftest import DAY, Api, Servers, in_memory, settings_over
from tests.flow.cluster.stage import SHARDS, Crowd, books_agree, drawn_after, it_is, slot_of
from tests.flow.pair import pair
from tests.flow.settlement.drawn import relay
from tests.flow.stage import working
from tests.flow.switch.guards import Guarded, guarded

pytestmark = pytest.mark.long

MEMBERS = range(1, 401)
HERDS = (range(1, 121), range(121, 241), range(241, 361))
PAUSE_S = 0.25
"""So that most of a herd are still to come when the primary ends."""

GOOD_AGAIN_S, ANSWERED_S = 6.0, 15.0
"""Three and ten seconds are meant. The machine may be busy."""


class Group(Protocol):
    """What can lose a primary, and get another."""

    url: str
    times: int
    """How often a primary ends in the herd."""
    ends_later: bool
    """Whether another one ends between C and the draw."""

    async def become_well(self) -> None: ...

    async def end(self, number: int) -> Collection[int]:
        """A primary is killed, or hangs; the shards that it had."""

    async def promoted(self) -> None: ...

    async def recover(self) -> None:
        """Whoever ended comes back, as a replica."""


class OfCluster:
    times, ends_later = 3, False

    def __init__(self, nodes: Cluster) -> None:
        self.nodes = nodes
        self.url = nodes.url

    async def become_well(self) -> None:
        await self.nodes.become_well()
        self._slots = [await slot_of(self.nodes, shard) for shard in range(SHARDS)]

    async def end(self, number: int) -> Collection[int]:
        """The first, or the last: they have two replicas, of which one confirms what the other is told. The last time
        it hangs."""
        primaries = await self.nodes.primaries()
        self._ended = primaries[-(number % 2)]
        self._hangs = number == 2
        own = (await self.nodes.seen())[self.nodes.ids[self._ended]]
        if self._hangs:
            self.nodes.freeze(self._ended)
        else:
            await self.nodes.kill(self._ended)
        return [shard for shard, slot in enumerate(self._slots) if own.has(slot)]

    async def promoted(self) -> None:
        await self.nodes.promoted(self._ended)

    async def recover(self) -> None:
        if self._hangs:
            self.nodes.thaw(self._ended)
        else:
            await self.nodes.restart(self._ended)


class OfSentinels:
    times, ends_later = 1, True

    def __init__(self, guards: Guarded) -> None:
        self.guards = guards
        self.url = guards.url()

    async def become_well(self) -> None:
        await self.guards.become_well()

    async def end(self, number: int) -> Collection[int]:
        self._killed = await self.guards.primary()
        await self.guards.kill(self._killed)
        return range(SHARDS)

    async def promoted(self) -> None:
        while await self.guards.primary() == self._killed:
            await asyncio.sleep(0.02)

    async def recover(self) -> None:
        await self.guards.agree()
        await self.guards.restart(self._killed)


@pytest.fixture(params=["cluster", "Sentinels"])
async def group(request: pytest.FixtureRequest) -> AsyncIterator[Group]:
    with embedded.scratch(in_memory()) as data_dir:
        if request.param == "cluster":
            async with cluster(data_dir, (2, 1, 2)) as nodes:
                yield OfCluster(nodes)
        else:
            async with pair(data_dir) as two, guarded(two, data_dir) as guards:
                yield OfSentinels(guards)


@pytest.fixture
async def settings(group: Group, servers: Servers, database_url: str, tmp_path: Path) -> AsyncIterator[Settings]:
    changes = {"queue_url": servers.redis_url, "shards": SHARDS, "durability": "replica"}
    async with relay() as beacon:
        yield replace(settings_over(group.url, database_url, tmp_path, **changes), **beacon.settings)


async def becomes_another(group: Group) -> None:
    """And nothing can be confirmed before the one that has ended is back."""
    await group.become_well()
    await group.end(group.times)
    await group.promoted()
    await group.recover()


async def test_primaries_end_in_the_herd_and_nothing_acknowledged_is_lost(api: Api, group: Group) -> None:
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        crowd = Crowd(api)
        await crowd.all(crowd.become_member, MEMBERS)
        await it_is(api, "2026-11-23T05:00:00")
        herds = HERDS[: group.times]
        for number, uids in enumerate(herds):
            await group.become_well()
            crowd = Crowd(api)
            herd = asyncio.create_task(crowd.all(crowd.check_in, uids, PAUSE_S))
            await crowd.heard(len(uids) // 4)
            shards = await group.end(number)
            ended, told = time.monotonic(), {uid for _, uid in crowd.good}
            waiting = {uid for uid in uids if keys.shard_of(uid, SHARDS) in shards}
            await group.promoted()
            promoted = time.monotonic()
            good = await crowd.first_good(promoted, waiting) - promoted
            again = Crowd(api)
            await again.all(again.is_checked_in, [*told])
            await group.recover()
            await herd
            print(f"promoted after {promoted - ended:.1f} s, good {good:.1f} s later, longest {crowd.longest_s:.1f} s")
            assert good < GOOD_AGAIN_S
            assert crowd.longest_s < ANSWERED_S
        if group.ends_later:
            await drawn_after(api, DAY, lambda: becomes_another(group))
        await books_agree(api, MEMBERS, [uid for uids in herds for uid in uids])
