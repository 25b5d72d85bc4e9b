"""Trouble stays with those it hit, and callers who leave disturb nobody."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from clock.domain.outcomes import Unavailable
from clock.game.batch import Batcher
from tests.unit.batch.stage import SOON, Redis, all_of, echo, submit, turns, unavailable


async def test_a_failed_queue_takes_callers_again(redis: Redis) -> None:
    batcher = Batcher(redis, max_waiting=2)
    futures = submit(batcher, 1, 2)
    await turns()
    redis.answers[0].set_exception(LostConnection("gone"))
    for future in futures:
        await unavailable(future)
    assert batcher.waiting == 0
    redis.at_once = echo
    assert await all_of(submit(batcher, 3)) == [(7, "word 3")]


@pytest.mark.parametrize(
    "error", [LostConnection("gone"), ResponseError("OOM"), TimeoutError("slow"), OSError("reset")], ids=repr
)
async def test_a_call_that_fails_fails_its_own_callers_only_and_is_logged(redis: Redis, error: Exception) -> None:
    batcher = Batcher(redis, max_batch=2)
    futures = submit(batcher, 1, 2, 3, 4)
    elsewhere = submit(batcher, 5, shard=1)
    await turns()
    with capture_logs() as logs:
        redis.answers[redis.uids().index([1, 2])].set_exception(error)
        for future in futures[:2]:
            assert await unavailable(future) == str(error)
        await turns()
    assert [(line["event"], line["script"], line["users"]) for line in logs] == [("batch_failed", "check_in", 2)]
    redis.answer(redis.uids().index([3, 4]))
    redis.answer(redis.uids().index([5]))
    assert await all_of(futures[2:] + elsewhere) == [(7, f"word {uid}") for uid in (3, 4, 5)]


async def test_an_unexpected_exception_fails_its_own_callers_only_and_does_not_wedge_the_lane(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=2, max_calls=1)
    futures = submit(batcher, 1, 2, 3)
    await turns()
    redis.at_once = echo
    with capture_logs() as logs:
        redis.answers[0].set_exception(ZeroDivisionError("a mistake of ours"))
        ends = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), SOON)
        await turns()
    assert [type(end) for end in ends[:2]] == [Unavailable, Unavailable]
    assert [line["log_level"] for line in logs] == ["error"]
    assert await all_of(submit(batcher, 4)) == [(7, "word 4")]
    assert batcher.waiting == 0
    assert ends[2] == (7, "word 3")


@pytest.mark.parametrize("reply", [[], [7], [7, "one"], [7, "one", "two", "three"]])
async def test_a_reply_of_the_wrong_length_is_nobodys_answer(redis: Redis, reply: list[Any]) -> None:
    batcher = Batcher(redis)
    redis.at_once = lambda script, args: reply
    with capture_logs() as logs:
        for future in submit(batcher, 1, 2):
            await unavailable(future)
        await turns()
    assert logs
    redis.at_once = echo
    assert await all_of(submit(batcher, 3)) == [(7, "word 3")]
    assert batcher.waiting == 0


async def test_a_caller_who_leaves_does_not_disturb_the_others(redis: Redis) -> None:
    batcher = Batcher(redis)
    queued = submit(batcher, 1, 2, 3)
    queued[1].cancel()
    await turns()
    assert redis.uids() == [[1, 2, 3]]
    queued[0].cancel()
    redis.answer(0)
    assert await all_of(queued[2:]) == [(7, "word 3")]
    assert batcher.waiting == 0
    redis.at_once = echo
    assert await all_of(submit(batcher, 4)) == [(7, "word 4")]


async def test_callers_who_leave_a_failing_call_do_not_disturb_the_others(redis: Redis) -> None:
    batcher = Batcher(redis)
    futures = submit(batcher, 1, 2)
    await turns()
    futures[0].cancel()
    redis.answers[0].set_exception(LostConnection("gone"))
    await unavailable(futures[1])
    assert batcher.waiting == 0
