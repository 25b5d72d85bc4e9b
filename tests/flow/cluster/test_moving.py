"""Slots move while people play: every acknowledged operation is kept, and nobody hears worse than a short 503."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise

import pytest

from tests.cluster import Cluster
from tests.conftest import Api
from tests.flow.cluster.stage import SHARDS, Crowd, books_agree, it_is, owners, slot_of
from tests.flow.stage import working

pytestmark = pytest.mark.long

Step = Callable[[], Awaitable[object]]

MEMBERS = range(1, 481)
WINNERS = range(1, 401)
PAUSE_S = 0.2
"""So that people still come while the last slot moves."""

SHORT_S = 5.0
"""A slot is on its way for a third of a second here. The machine may be busy."""


async def key_by_key(six: Cluster, shard: int) -> None:
    """Halfway it stands still: scripts find some of their keys here and some there."""
    slot = await slot_of(six, shard)
    source = await six.owner(slot)
    others = [node for node in await six.primaries() if node != source]
    await six.move(slot, others[shard % len(others)], between=lambda: asyncio.sleep(0.2))
    assert await six.owner(slot) != source


async def at_once(six: Cluster, shard: int) -> None:
    slot = await slot_of(six, shard)
    source = await six.owner(slot)
    others = [node for node in await six.primaries() if node != source]
    await six.move_range(slot, slot, others[shard % len(others)])
    assert await six.owner(slot) != source


async def during(crowd: Crowd, playing: Awaitable[None], steps: list[Step]) -> None:
    """The steps one after the other, each once more people have had their answers, while all of them play."""
    task = asyncio.ensure_future(playing)
    try:
        for step in steps:
            heard = asyncio.ensure_future(crowd.heard(20))
            await asyncio.wait([heard, task], return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            assert not task.done(), "everybody had finished before the last step"
            await step()
        await task
    finally:
        task.cancel()


def longest_silence(crowd: Crowd) -> float:
    """Between two good answers of anybody."""
    moments = sorted(at for at, _ in crowd.good)
    return max(after - before for before, after in pairwise(moments))


async def test_slots_of_every_shard_move_while_people_join_and_check_in(api: Api, six: Cluster) -> None:
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        crowd = Crowd(api)
        moves: list[Step] = [partial(key_by_key, six, shard) for shard in range(0, SHARDS, 2)]
        await during(crowd, crowd.all(crowd.become_member, MEMBERS, PAUSE_S), moves)
        await it_is(api, "2026-11-23T05:00:00")
        crowd = Crowd(api)
        moves = [partial(at_once, six, shard) for shard in range(SHARDS)]
        await during(crowd, crowd.all(crowd.check_in, WINNERS, PAUSE_S), moves)
        print(len(crowd.unavailable), "times unavailable; longest answer", round(crowd.longest_s, 2))
        assert crowd.longest_s < SHORT_S
        assert longest_silence(crowd) < SHORT_S
        await books_agree(api, MEMBERS, WINNERS)


async def test_a_node_joins_and_another_leaves_while_people_play(api: Api, six: Cluster) -> None:
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        crowd = Crowd(api)
        await crowd.all(crowd.become_member, MEMBERS)
        await it_is(api, "2026-11-23T05:00:00")
        crowd = Crowd(api)
        slots = [await slot_of(six, shard) for shard in range(SHARDS)]
        before = await owners(six)
        (fresh,) = await six.add()

        async def takes_two() -> None:
            for slot in slots[:2]:
                await six.move_range(slot, slot, fresh)

        async def leaves() -> None:
            await six.take_out(fresh, before[-1])

        await during(crowd, crowd.all(crowd.check_in, WINNERS, PAUSE_S), [takes_two, leaves])
        assert (await owners(six))[:2] == [before[-1]] * 2
        print(len(crowd.unavailable), "times unavailable; longest answer", round(crowd.longest_s, 2))
        assert crowd.longest_s < SHORT_S
        await books_agree(api, MEMBERS, WINNERS)
