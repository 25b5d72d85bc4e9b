"""The batcher: what arrives together goes together, in order, bounded, and trouble stays with those it hit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date
from time import monotonic
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from clock.domain.outcomes import Busy, Unavailable
from clock.game import batch
from clock.game.batch import Batcher
from clock.game.scripts import Script, Value, load
from tests.conftest import DAY

SOON = 5.0

CHECK_IN, CLAIM, STATUS, PAY = (load(verb) for verb in ("check_in", "claim", "status", "pay"))


class Redis:
    """Stands in for the call of a script, so that a test decides when it comes back and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, date, int, list[Value]]] = []
        self.answers: list[asyncio.Future[list[Any]]] = []
        self.at_once: Callable[[Script, Sequence[Value]], list[Any]] | None = None

    async def __call__(self, script: Script, day: date, shard: int, args: Sequence[Value]) -> list[Any]:
        self.calls.append((script.verb, day, shard, list(args)))
        if self.at_once:
            return self.at_once(script, args)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    def uids(self) -> list[list[Value]]:
        """The users of each call so far."""
        return [uids_of(load(verb), args) for verb, _, _, args in self.calls]

    def answer(self, call: int) -> None:
        """Every user of the call gets ``word <uid>`` at time 7."""
        self.answers[call].set_result([7, *(f"word {int(uid)}" for uid in self.uids()[call])])


def uids_of(script: Script, args: Sequence[Value]) -> list[Value]:
    return list(args[1:] if script.row else args[:: len(script.per_user)])


def rows_of(args: Sequence[Value]) -> list[Any]:
    """What is in the argument ``rows``."""
    assert isinstance(args[0], bytes)
    return msgspec.msgpack.decode(args[0], type=list[Any])


def echo(script: Script, args: Sequence[Value]) -> list[Any]:
    return [7, *(f"word {int(uid)}" for uid in uids_of(script, args))]


def all_paid(script: Script, args: Sequence[Value]) -> list[Any]:
    return [7, *[b"paid"] * len(uids_of(script, args))]


@pytest.fixture
def redis() -> Redis:
    return Redis()


def submit(
    batcher: Batcher, *uids: int, script: Script = CHECK_IN, day: date = DAY, shard: int = 0
) -> list[asyncio.Future[Any]]:
    return [batcher.submit(script, day, shard, (uid,), monotonic()) for uid in uids]


async def all_of(futures: Iterable[Awaitable[Any]]) -> list[Any]:
    """Their results, soon: a batcher that forgets somebody must fail the test, not hang it."""
    return await asyncio.wait_for(asyncio.gather(*futures), SOON)


async def turns(count: int = 10) -> None:
    """Let the loop turn until nothing more happens by itself."""
    for _ in range(count):
        await asyncio.sleep(0)


async def unavailable(future: asyncio.Future[Any]) -> str:
    with pytest.raises(Unavailable) as raised:
        await asyncio.wait_for(future, SOON)
    return str(raised.value)


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
    redis.answers[1].set_result([9, b"checked_in", b"checked_in", b"not_joined", b"too_early"])
    assert await all_of(others) == [(9, b"checked_in"), (9, b"not_joined"), (9, b"too_early")]
    assert await all_of(taps) == [(9, b"checked_in"), *[(9, b"already_checked_in")] * 999]
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


async def test_the_default_batch_is_256_users(redis: Redis) -> None:
    redis.at_once = echo
    await all_of(submit(Batcher(redis), *range(600)))
    assert [len(uids) for uids in redis.uids()] == [256, 256, 88]


async def test_the_next_call_waits_until_the_previous_is_back(redis: Redis) -> None:
    batcher = Batcher(redis)
    first = submit(batcher, 1)
    await turns()
    later = submit(batcher, 2)
    await turns()
    later += submit(batcher, 3)
    await turns()
    assert redis.uids() == [[1]], "what fits into the next call waits for the previous"
    redis.answer(0)
    await all_of(first)
    await turns()
    assert redis.uids() == [[1], [2, 3]], "what gathered meanwhile goes together"
    redis.answer(1)
    assert await all_of(later) == [(7, "word 2"), (7, "word 3")]


async def test_more_than_a_call_may_hold_goes_in_several_at_once_up_to_a_bound(redis: Redis) -> None:
    batcher = Batcher(redis, max_batch=2, max_calls=3)
    futures = submit(batcher, *range(9))
    await turns()
    assert redis.uids() == [[0, 1], [2, 3], [4, 5]]
    redis.answer(0)
    redis.answer(2)
    await turns()
    assert len(redis.calls) == 3, "the next go when all of these are back"
    redis.answer(1)
    await turns()
    assert redis.uids()[3:] == [[6, 7], [8]]
    redis.answer(4)
    redis.answer(3)
    assert await all_of(futures) == [(7, f"word {uid}") for uid in range(9)]


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


async def sent_wait(redis: Redis, arrived: float) -> Any:
    redis.at_once = echo
    redis.calls.clear()
    await all_of([Batcher(redis).submit(CHECK_IN, DAY, 0, (1,), arrived)])
    return rows_of(redis.calls[0][3])[0]


async def test_a_wait_is_measured_from_the_arrival_of_the_request(redis: Redis) -> None:
    waited = await sent_wait(redis, monotonic() - 1.5)
    assert isinstance(waited, int)
    assert 1_500 <= waited < 2_500
    assert await sent_wait(redis, monotonic() + 0.0) in range(500)


@pytest.mark.parametrize("seconds, waited_ms", [(5.0, 5_000), (5.001, 5_000), (60.0, 5_000), (86_400.0, 5_000)])
async def test_a_wait_counts_up_to_five_seconds(redis: Redis, seconds: float, waited_ms: int) -> None:
    assert await sent_wait(redis, monotonic() - seconds) == waited_ms


async def test_a_wait_grows_while_the_previous_call_is_on_its_way(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(batch, "monotonic", lambda: now)
    batcher = Batcher(redis)
    futures = [batcher.submit(CHECK_IN, DAY, 0, (1,), 99.75)]
    await turns()
    futures += [batcher.submit(CHECK_IN, DAY, 0, (2,), 100.5), batcher.submit(CHECK_IN, DAY, 0, (3,), 101.0)]
    now = 103.25
    redis.answer(0)
    await turns()
    redis.answer(1)
    await all_of(futures)
    assert redis.uids() == [[1], [2, 3]]
    assert [rows_of(call[3]) for call in redis.calls] == [[250], [2_750, 2_250]]


async def test_arguments_are_sent_in_the_order_of_the_header(redis: Redis) -> None:
    redis.at_once = all_paid
    batcher = Batcher(redis)
    users = [(uid, "TTC", "tail", 100, f"T{uid}", "open", -1, "platform", "raw") for uid in (1, 2)]
    await all_of(batcher.submit(PAY, DAY, 0, user, monotonic() - 9) for user in users)
    expected = [value for user in users for value in (5_000, *user[1:])]
    assert redis.uids() == [[1, 2]]
    assert rows_of(redis.calls[0][3]) == expected
    assert len(expected) == 2 * len(PAY.row)


async def test_a_script_that_knows_no_waiting_is_not_told_of_it(redis: Redis) -> None:
    redis.at_once = echo
    await all_of(submit(Batcher(redis), 1, 2, script=STATUS))
    assert redis.calls[0][3] == [1, 2]


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
