"""What arrives together goes together, in order, in calls of a bounded size and number."""

from datetime import date
from time import monotonic
from typing import Any

import pytest

from clock.domain.outcomes import Busy
from clock.game.batch import Batcher
from clock.game.scripts import Value
from tests.conftest import DAY
from tests.unit.batch.stage import CHECK_IN, CLAIM, PAY, Redis, all_of, all_paid, echo, rows_of, submit, turns


async def test_callers_of_one_tick_are_one_call_and_each_gets_the_own_answer(redis: Redis) -> None:
    batcher = Batcher(redis)
    futures = submit(batcher, 1, 2, 3)
    assert redis.calls == [], "nothing is sent before the loop turns"
    await turns()
    assert redis.uids() == [[1, 2, 3]]
    redis.answer(0)
    assert await all_of(futures) == [(7, "word 1"), (7, "word 2"), (7, "word 3")]


async def test_callers_from_many_tasks_of_one_tick_are_one_call(redis: Redis) -> None:
    redis.at_once = echo
    batcher = Batcher(redis)

    async def one(uid: int) -> Any:
        return await batcher.submit(CHECK_IN, DAY, 0, (uid,), monotonic())

    answers = await all_of(one(uid) for uid in range(100))
    assert answers == [(7, f"word {uid}") for uid in range(100)]
    assert len(redis.calls) <= 2


async def test_a_call_takes_at_most_max_batch_users_first_come_first_served(redis: Redis) -> None:
    redis.at_once = echo
    batcher = Batcher(redis, max_batch=4)
    answers = await all_of(submit(batcher, *range(10)))
    assert redis.uids() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert answers == [(7, f"word {uid}") for uid in range(10)]


async def test_nobody_is_overtaken_however_many_come_later(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=3, max_calls=1)
    futures = submit(batcher, *range(5))
    served: list[Value] = []
    for call in range(40):
        await turns()
        futures += submit(batcher, *range(1_000 + 3 * call, 1_003 + 3 * call))
        served += redis.uids()[call]
        redis.answer(call)
    assert served == [*range(5), *range(1_000, 1_115)], "in the order of arrival, newcomers behind those who wait"
    redis.at_once = echo
    await all_of(futures)


async def test_the_default_batch_is_256_users(redis: Redis) -> None:
    redis.at_once = echo
    await all_of(submit(Batcher(redis), *range(600)))
    assert [len(uids) for uids in redis.uids()] == [256, 256, 88]


async def test_a_third_call_waits_until_one_of_two_is_back(redis: Redis) -> None:
    batcher = Batcher(redis)
    first = submit(batcher, 1)
    await turns()
    first += submit(batcher, 2)
    await turns()
    later = submit(batcher, 3)
    await turns()
    later += submit(batcher, 4)
    await turns()
    assert redis.uids() == [[1], [2]], "two are under way; what fits into the next call waits for one of them"
    redis.answer(1)
    await all_of(first[1:])
    await turns()
    assert redis.uids() == [[1], [2], [3, 4]], "what gathered meanwhile goes together"
    redis.answer(0)
    redis.answer(2)
    assert await all_of(first + later) == [(7, f"word {uid}") for uid in (1, 2, 3, 4)]


async def test_more_than_a_call_may_hold_goes_in_several_at_once_up_to_a_bound(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=2, max_calls=4)
    futures = submit(batcher, *range(11))
    await turns()
    assert redis.uids() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    redis.answer(0)
    redis.answer(2)
    await turns()
    assert len(redis.calls) == 4, "the next go when all calls of a sender are back"
    redis.answer(1)
    await turns()
    assert redis.uids()[4:] == [[8, 9], [10]]
    for call in (3, 5, 4):
        redis.answer(call)
    assert await all_of(futures) == [(7, f"word {uid}") for uid in range(11)]


async def test_scripts_days_and_shards_do_not_wait_for_each_other(redis: Redis) -> None:
    batcher = Batcher(redis)
    other_day = date(2026, 11, 23)
    futures = submit(batcher, 1) + submit(batcher, 2, script=CLAIM)
    futures += submit(batcher, 3, day=other_day) + submit(batcher, 4, shard=1)
    await turns()
    lanes = [("check_in", DAY, 0), ("claim", DAY, 0), ("check_in", other_day, 0), ("check_in", DAY, 1)]
    assert [call[:3] for call in redis.calls] == lanes
    for call in (3, 1, 0, 2):
        redis.answer(call)
    assert await all_of(futures) == [(7, f"word {uid}") for uid in (1, 2, 3, 4)]


async def test_a_full_queue_is_busy_and_takes_callers_again_when_answers_came(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=2, max_waiting=3)
    futures = submit(batcher, 1, 2, 3)
    with pytest.raises(Busy):
        submit(batcher, 4)
    await turns()
    with pytest.raises(Busy):
        submit(batcher, 4, script=CLAIM)
    assert batcher.waiting == 3
    redis.answer(0)
    await all_of(futures[:1])
    assert batcher.waiting == 1
    futures += submit(batcher, 4, 5)
    with pytest.raises(Busy):
        submit(batcher, 6)
    for call in (1, 2):
        await turns()
        redis.answer(call)
    assert await all_of(futures) == [(7, f"word {uid}") for uid in (1, 2, 3, 4, 5)]
    assert (batcher.waiting, redis.uids()) == (0, [[1, 2], [3], [4, 5]])


async def test_arguments_are_sent_in_the_order_of_the_header(redis: Redis) -> None:
    redis.at_once = all_paid
    batcher = Batcher(redis)
    users = [(uid, "TTC", "tail", 100, f"T{uid}", "open", -1, "platform", "raw") for uid in (1, 2)]
    await all_of(batcher.submit(PAY, DAY, 0, user, monotonic() - 9) for user in users)
    expected = [value for user in users for value in (5_000, *user[1:])]
    assert redis.uids() == [[1, 2]]
    assert rows_of(redis.calls[0][3]) == expected
    assert len(expected) == 2 * len(PAY.row)
