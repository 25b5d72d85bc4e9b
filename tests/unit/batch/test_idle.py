"""A batcher is drained, runs empty, and works again."""

import asyncio
from time import monotonic

from structlog.testing import capture_logs

from clock.game.batch import Batcher
from tests.conftest import DAY
from tests.unit.batch.stage import CHECK_IN, SOON, Redis, all_of, echo, submit, turns, unavailable


async def test_drain_waits_until_every_accepted_caller_has_an_answer(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=1)
    futures = submit(batcher, 1, 2) + submit(batcher, 3, shard=1)
    await turns()
    draining = asyncio.create_task(batcher.drain())
    redis.answer(0)
    redis.answer(1)
    await turns()
    assert not draining.done(), "user 2 is on the way"
    redis.answer(2)
    await asyncio.wait_for(draining, SOON)
    assert [future.result() for future in futures] == [(7, "word 1"), (7, "word 2"), (7, "word 3")]


async def test_drain_of_an_idle_batcher_returns_at_once(redis: Redis) -> None:
    await asyncio.wait_for(Batcher(redis).drain(), SOON)


async def test_drain_survives_a_call_that_breaks(redis: Redis) -> None:
    batcher = Batcher(redis)
    futures = submit(batcher, 1)
    await turns()
    with capture_logs():
        redis.answers[0].set_exception(ZeroDivisionError())
        await asyncio.wait_for(batcher.drain(), SOON)
    await unavailable(futures[0])


async def test_idle_lanes_are_forgotten(redis: Redis) -> None:
    redis.at_once = echo
    batcher = Batcher(redis)
    for shard in range(50):
        assert await all_of(submit(batcher, shard, shard=shard)) == [(7, f"word {shard}")]
    redis.at_once = lambda script, args: []
    with capture_logs():
        await unavailable(submit(batcher, 1)[0])
        await turns()
    assert not batcher._lanes
    assert not batcher._tasks
    assert batcher.waiting == 0


async def test_a_lane_that_was_idle_works_again(redis: Redis) -> None:
    redis.at_once = echo
    batcher = Batcher(redis)
    for uid in (1, 2, 3):
        assert await all_of(submit(batcher, uid)) == [(7, f"word {uid}")]
        await turns()
    assert redis.uids() == [[1], [2], [3]]


async def test_a_caller_who_asks_again_on_the_answer_is_not_forgotten(redis: Redis) -> None:
    """The next request of a user often arrives in the very tick in which the lane runs empty."""
    redis.at_once = echo
    batcher = Batcher(redis)

    async def one(uid: int) -> None:
        for _ in range(50):
            assert await batcher.submit(CHECK_IN, DAY, 0, (uid,), monotonic()) == (7, f"word {uid}")

    await all_of(one(uid) for uid in range(20))
    assert batcher.waiting == 0
