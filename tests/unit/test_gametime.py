"""The game's clock of a process, and a clock that is moved for all of them at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic, time
from typing import Any

import msgspec
import pytest

from clock.game import gametime, keys
from clock.game.client.calls import call
from clock.game.gametime import SKEW_MS, GameTime, MovedTime, Verdict
from clock.game.scripts import load
from clock.service import end
from tests.conftest import DAY, at
from tests.raw import Redis, plain

TARGET = at("04:59", 1, 59_500)
CLOSE_MS = 1_000
"""How far an estimate may be off on a busy machine."""


class Process:
    """A process' clock, and the script's clock as its calls see it."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self.time = GameTime()
        self.moved = MovedTime(redis, self.time, name)

    async def start(self) -> None:
        """As a service does."""
        await self.moved.follow_once()
        await self.time.sync(self._redis)

    async def script_now_ms(self) -> int:
        names = keys.names(DAY, 0, ("round", "members"))
        now_ms: int = (await call(self._redis, load("status"), names, [self.time.setting, 1]))[0]
        return now_ms


@pytest.fixture
async def one(redis: Redis) -> Process:
    process = Process(redis, "one")
    await process.start()
    return process


@pytest.fixture
async def other(redis: Redis) -> Process:
    process = Process(redis, "other")
    await process.start()
    return process


@asynccontextmanager
async def followed(*processes: Process) -> AsyncIterator[None]:
    """The processes follow moves by themselves."""
    tasks = [asyncio.create_task(process.moved.follow()) for process in processes]
    yield
    await end(tasks)


def wall_ms() -> int:
    return int(time() * 1000)


def near(now_ms: int, expected: int) -> bool:
    return abs(now_ms - expected) < CLOSE_MS


async def test_an_estimate_is_close_to_the_clock_of_redis(redis: Redis, one: Process) -> None:
    seconds, micros = await redis.time()
    assert near(one.time.now_ms(), seconds * 1000 + micros // 1000)
    assert near(await one.script_now_ms(), one.time.now_ms())
    assert near(one.time.now_ms(), wall_ms())


async def test_an_instant_of_the_past_has_its_time(one: Process) -> None:
    now = monotonic()
    assert one.time.at_ms(now) - one.time.at_ms(now - 1.5) in (1_499, 1_500, 1_501)


HOUR_MS = 3_600_000


async def say(redis: Redis, time: GameTime, off: list[str], number: int, at_ms: int = 0) -> None:
    """A worker's verdict, as of Redis' time."""
    seconds, micros = await redis.time()
    verdict = Verdict("a worker", at_ms or seconds * 1000 + micros // 1000, {"redis": number}, off)
    await redis.set(keys.CLOCKS, msgspec.json.encode(verdict))
    await time.sync(redis)


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, -SKEW_MS - CLOSE_MS, SKEW_MS + CLOSE_MS, HOUR_MS])
async def test_an_estimate_does_not_follow_a_jump_of_redis_clock_and_is_believed_again_when_it_is_back(
    redis: Redis, one: Process, jump_ms: int
) -> None:
    right = one.time._ahead_ms
    one.time._ahead_ms = right - jump_ms  # as if Redis had jumped since
    for _ in range(3):
        await one.time.sync(redis)
        assert (one.time.in_doubt, near(one.time.now_ms(), wall_ms() - jump_ms)) == (True, True)
        assert not one.time.agrees(wall_ms()) and one.time.agrees(one.time.expected_ms())
    one.time._ahead_ms = right
    await one.time.sync(redis)
    assert (one.time.in_doubt, True) == (False, True)
    assert one.time.agrees(wall_ms())


@pytest.mark.parametrize("jump_ms", [-SKEW_MS + CLOSE_MS, SKEW_MS - CLOSE_MS])
async def test_an_estimate_follows_what_is_no_jump(redis: Redis, one: Process, jump_ms: int) -> None:
    one.time._ahead_ms -= jump_ms
    await one.time.sync(redis)
    assert (one.time.in_doubt, True) == (False, True)
    assert near(one.time.now_ms(), wall_ms())


async def test_a_jump_is_followed_once_a_worker_has_since_seen_three_clocks_agree(redis: Redis, one: Process) -> None:
    await say(redis, one.time, [], 1)
    one.time._ahead_ms -= HOUR_MS
    await one.time.sync(redis)
    await one.time.sync(redis)
    assert one.time.in_doubt, "this verdict is of before"
    await say(redis, one.time, ["postgres"], 2)
    assert one.time.in_doubt
    await say(redis, one.time, [], 3, at_ms=wall_ms() - HOUR_MS)
    assert one.time.in_doubt, "this one was begun before"
    await say(redis, one.time, [], 4)
    assert (one.time.in_doubt, True) == (False, True)
    assert near(one.time.now_ms(), wall_ms())


async def test_who_starts_with_a_wrong_redis_clock_hears_it_from_a_worker(redis: Redis, one: Process) -> None:
    assert one.time.agrees(wall_ms())
    await say(redis, one.time, ["redis"], 1)
    assert one.time.in_doubt and one.time.expected_ms() == 0 and not one.time.agrees(wall_ms())
    await say(redis, one.time, ["postgres"], 2)
    assert (one.time.in_doubt, True) == (False, True)
    assert one.time.agrees(wall_ms())


async def test_all_processes_and_their_scripts_are_on_the_new_time_when_the_move_answers(
    one: Process, other: Process
) -> None:
    async with followed(other):
        await asyncio.wait_for(one.moved.set(TARGET), 10)
    for process in (one, other):
        assert near(process.time.now_ms(), TARGET)
        assert near(await process.script_now_ms(), TARGET)


@pytest.mark.parametrize("back", [False, True])
async def test_a_move_does_not_answer_before_every_process_follows(one: Process, other: Process, back: bool) -> None:
    if back:
        moving = asyncio.create_task(one.moved.set(TARGET))
        while not moving.done():
            await other.moved.follow_once()
            await asyncio.sleep(0.01)
    moving = asyncio.create_task(one.moved.set(None if back else TARGET))
    await asyncio.sleep(0.3)
    assert not moving.done(), "the other process is not on it"
    await other.moved.follow_once()
    await asyncio.wait_for(moving, 10)
    assert near(await other.script_now_ms(), wall_ms() if back else TARGET)


async def test_time_runs_on_from_where_it_was_moved_to(one: Process) -> None:
    await one.moved.set(TARGET)
    before = one.time.now_ms()
    script_before = await one.script_now_ms()
    await asyncio.sleep(0.25)
    assert 200 < one.time.now_ms() - before < 250 + CLOSE_MS
    assert 200 < await one.script_now_ms() - script_before < 250 + CLOSE_MS


async def test_coming_back_is_the_real_time_for_all(one: Process, other: Process) -> None:
    async with followed(other):
        await asyncio.wait_for(one.moved.set(TARGET), 10)
        await asyncio.wait_for(one.moved.set(None), 10)
    for process in (one, other):
        assert process.time.setting == ""
        assert near(process.time.now_ms(), wall_ms())
        assert near(await process.script_now_ms(), wall_ms())


async def test_moves_to_the_past_and_to_the_future_and_by_the_other_process(one: Process, other: Process) -> None:
    async with followed(one, other):
        for mover, now_ms in ((one, at("00:00", -2_000)), (other, at("08:05", 1)), (one, at("00:00", 2_000))):
            await asyncio.wait_for(mover.moved.set(now_ms), 10)
            for process in (one, other):
                assert near(process.time.now_ms(), now_ms)
                assert near(await process.script_now_ms(), now_ms)


async def test_a_sync_keeps_the_move(redis: Redis, one: Process) -> None:
    await one.moved.set(TARGET)
    await one.time.sync(redis)
    assert near(one.time.now_ms(), TARGET)
    one.time.move(0)
    assert near(one.time.now_ms(), wall_ms())


async def test_a_process_that_starts_later_is_on_the_moved_time(redis: Redis, one: Process) -> None:
    await one.moved.set(TARGET)
    late = Process(redis, "late")
    await late.start()
    assert near(late.time.now_ms(), TARGET)
    assert near(await late.script_now_ms(), TARGET)


async def test_a_process_that_is_gone_is_not_waited_for_long(
    redis: Redis, one: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gametime, "SEEN_MS", 200)
    gone = Process(redis, "gone")
    await gone.start()
    started = monotonic()
    await asyncio.wait_for(one.moved.set(TARGET), 10)
    assert 0.1 < monotonic() - started < 5


class Slow:
    """A connection on which writing the move takes until the test lets it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.writes = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    async def set(self, name: str, *args: Any, **options: Any) -> Any:
        if name == keys.DEV_TIME:
            self.writes.set()
            await self.go_on.wait()
        return await self._redis.set(name, *args, **options)


async def test_two_moves_at_once_leave_all_processes_on_the_same_time(
    redis: Redis, one: Process, other: Process
) -> None:
    slow = Slow(redis)
    async with followed(one, other):
        first = asyncio.create_task(MovedTime(slow, GameTime(), "slow").set(at("20:00")))
        writes = asyncio.create_task(slow.writes.wait())
        await asyncio.wait({first, writes}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait_for(one.moved.set(TARGET), 10)
        slow.go_on.set()
        await asyncio.wait_for(first, 10)
        writes.cancel()
        newcomer = Process(redis, "newcomer")
        await newcomer.start()
        for process in (one, other):
            assert near(process.time.now_ms(), newcomer.time.now_ms())
            assert near(await process.script_now_ms(), newcomer.time.now_ms())


async def test_what_development_leaves_in_redis_is_what_is_documented(redis: Redis, one: Process) -> None:
    await one.moved.set(TARGET)
    left = {name.decode(): await redis.pttl(name) for name in await redis.keys("*")}
    assert left.pop(keys.DEV_TIME) == -1
    assert set(left) == {keys.DEV_SEEN + "one"}
    assert all(0 < ms <= gametime.SEEN_MS for ms in left.values())


async def test_a_stopped_clock_stands_still_for_the_process_and_its_scripts(redis: Redis, one: Process) -> None:
    one.time.stop_at(TARGET)
    await one.time.sync(redis)
    assert one.time.now_ms() == one.time.at_ms(0.0) == await one.script_now_ms() == TARGET


async def test_a_clock_without_a_server_keeps_running_and_says_so(one: Process) -> None:
    nowhere: Redis = plain("redis://127.0.0.1:1", socket_connect_timeout=0.2)
    before = one.time.now_ms()
    task = asyncio.create_task(one.time.keep_in_sync(nowhere))
    await asyncio.sleep(0.3)
    assert not task.done()
    assert 200 < one.time.now_ms() - before < 5_000
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
