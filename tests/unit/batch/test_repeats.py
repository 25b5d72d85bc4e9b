"""A user who asks the same again and again has one place."""

from time import monotonic

from redis.exceptions import ConnectionError as LostConnection

from clock.game.batch import Batcher
from tests.conftest import DAY
from tests.unit.batch.stage import CLAIM, PAY, Redis, all_of, all_paid, submit, turns, unavailable


async def test_impatient_users_have_one_place_and_delay_nobody(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=4)
    first = submit(batcher, 1)
    await turns()
    taps = submit(batcher, *[7] * 500)
    others = submit(batcher, 2, 3, 4)
    taps += submit(batcher, *[7] * 500)
    redis.answer(0)
    await all_of(first)
    await turns()
    assert redis.uids() == [[1], [7, 2, 3, 4]], "all of them in the very next call"
    redis.answers[1].set_result([9, 1, 2, b"not_joined", b"too_early"])
    assert await all_of(others) == [(9, 2), (9, b"not_joined"), (9, b"too_early")]
    assert await all_of(taps) == [(9, 1), *[(9, b"already_checked_in")] * 999]
    assert batcher.waiting == 0


async def test_a_claim_asked_twice_gets_the_same_packet_and_says_that_it_is_a_replay(redis: Redis) -> None:
    redis.at_once = lambda script, args: [9, [b"claimed", 25, 100]]
    assert await all_of(submit(Batcher(redis), 5, 5, script=CLAIM)) == [
        (9, [b"claimed", 25, 100]),
        (9, [b"already_claimed", 25, 100]),
    ]


async def test_whoever_asks_again_fails_with_the_first(redis: Redis) -> None:
    batcher = Batcher(redis)
    futures = submit(batcher, 1, 1, 1)
    await turns()
    redis.answers[0].set_exception(LostConnection("gone"))
    for future in futures:
        await unavailable(future)
    assert batcher.waiting == 0


async def test_other_payments_of_a_user_are_other_questions(redis: Redis) -> None:
    redis.at_once = all_paid
    batcher = Batcher(redis)
    rows = [(1, "TTC", "tail", 100, transaction, "open", -1, "platform", b"raw") for transaction in ("T1", "T2", "T1")]
    answers = await all_of(batcher.submit(PAY, DAY, 0, row, monotonic()) for row in rows)
    assert answers == [(7, b"paid"), (7, b"paid"), (7, b"already_paid")]
