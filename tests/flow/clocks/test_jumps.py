"""One clock jumps, at every boundary of the day, and comes back: nothing was closed, settled, credited, paid or refused
meanwhile that should not have been, and afterwards the day goes on as if nothing had happened."""

import asyncio
import time
from typing import Any

import pytest

from clock.channels import Result
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.runtime import sending, worker
from clock.service import Service
from tests.conftest import DAY, at
from tests.flow.clocks.conftest import Clocks
from tests.flow.clocks.faked import Clock, needs_faketime
from tests.flow.stage import People, Scripted
from tests.model.world import new_world, service_with

pytestmark = [needs_faketime, pytest.mark.long]

HOURS_8 = 8 * 3600.0
JUMPS = [-HOURS_8, -90.0, 90.0, HOURS_8]

MOMENTS = [
    # when, and how many days after the round's · what user 3 hears then · the round's state when the clock is back
    ("23:59", 0, "too_late", "open"),  # of the round of the day before
    ("04:59", 1, "too_early", "open"),
    ("05:01", 1, "checked_in", "open"),
    ("06:00", 1, "checked_in", "open"),
    ("07:59", 1, "checked_in", "open"),
    ("08:01", 1, "too_late", "open"),
    ("08:04", 1, "too_late", "open"),
    ("08:06", 1, "too_late", "settled"),
    ("23:59", 1, "too_late", "settled"),
]


class Running(People):
    """On a clock that runs on from where it is put, by Redis' clock."""

    def it_is(self, time_of_day: str, days: int = 0) -> None:
        real_ms = int(time.time() * 1000)
        self.service.time.move(at(time_of_day, days, 10) - real_ms)


class Bank(Scripted):
    """Pays everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.result = self.pays

    async def pays(self, _action: str, _no: str) -> Result:
        return Result("done")

    def paid(self) -> list[str]:
        return [call[0] for call in self.calls if call[0] in ("transfer", "refund")]


async def world_at(people: Running, time_of_day: str, days: int) -> None:
    """Users 1 to 4 are members; 1 and 2 have checked in, if that was possible by then."""
    await people.members(1, 2, 3, 4)
    if (days, time_of_day) >= (1, "05:00"):
        people.it_is("05:30", 1) if time_of_day >= "05:30" else people.it_is(time_of_day, 1)
        await people.check_in(1, 2)
    people.it_is(time_of_day, days)
    await people.drain()


async def jump_to(service: Service, clock: Clock, seconds: float) -> None:
    """Returns when the server shows it."""
    clock.jump(seconds)
    async with asyncio.timeout(10):
        while True:
            redis, micros = await service.redis.time()
            postgres = ((await service.store.one("clock_ms")) or {})["ms"] / 1000
            arrived = any if seconds else all  # none is wrong any more
            if arrived(abs(shown - time.time() - seconds) < 0.5 for shown in (redis + micros / 1e6, postgres)):
                return


async def work(service: Service) -> None:
    """What the worker does in a second that cannot be taken back."""
    for job in (worker.beat, worker.settle, sending.send):
        await job({"service": service})


async def answer(people: Running, uid: int) -> str:
    try:
        return (await people.service.verbs.check_in(uid, time.monotonic())).word
    except Unavailable:
        return "unavailable"


async def state(people: Running) -> tuple[Any, ...]:
    """What cannot be taken back."""
    [row] = await people.rows("SELECT state, finished_at FROM rounds WHERE day = %s", DAY)
    [done] = await people.rows(
        "SELECT (SELECT count(*) FROM closings) AS closed, (SELECT count(*) FROM claims) AS claims"
    )
    return row["state"], row["finished_at"], done["closed"], done["claims"]


@pytest.mark.parametrize("time_of_day, days, word, state_then", MOMENTS)
@pytest.mark.parametrize("jump", JUMPS)
async def test_redis_clock_jumps_and_comes_back(
    wrong: Settings, clocks: Clocks, jump: float, time_of_day: str, days: int, word: str, state_then: str
) -> None:
    async with new_world(wrong, platform_url="http://127.0.0.1:9") as service:
        people, bank = Running(service), Bank()
        people.use(bank)
        await world_at(people, time_of_day, days)
        before = await state(people)
        await jump_to(service, clocks.redis, jump)
        await work(service)
        assert await state(people) == before
        assert bank.paid() == []
        heard = await answer(people, 3)
        assert heard in ("unavailable", "checked_in"), heard  # checking in goes on, where this clock says it may
        await jump_to(service, clocks.redis, 0)
        await worker.beat({"service": service})
        await service.time.sync(service.redis)
        assert await answer(people, 3) == ("already_checked_in" if heard == "checked_in" else word)
        await work(service)
        assert (await state(people))[0] == state_then


@pytest.mark.parametrize("time_of_day, days, word, state_then", MOMENTS)
@pytest.mark.parametrize("jump", [-HOURS_8, HOURS_8])
async def test_postgres_clock_jumps_and_comes_back(
    wrong: Settings, clocks: Clocks, jump: float, time_of_day: str, days: int, word: str, state_then: str
) -> None:
    """Users do not notice: Redis' clock is right."""
    async with new_world(wrong, platform_url="http://127.0.0.1:9") as service:
        people, bank = Running(service), Bank()
        people.use(bank)
        await world_at(people, time_of_day, days)
        before = await state(people)
        await jump_to(service, clocks.postgres, jump)
        await work(service)
        assert (await state(people), bank.paid()) == (before, [])
        await service.time.sync(service.redis)
        assert await answer(people, 3) == word
        await jump_to(service, clocks.postgres, 0)
        await work(service)
        assert (await state(people))[0] == state_then


@pytest.mark.parametrize("jump", [-1.0, 1.0])
async def test_a_second_is_no_jump(wrong: Settings, clocks: Clocks, jump: float) -> None:
    async with new_world(wrong, platform_url="http://127.0.0.1:9") as service:
        people, bank = Running(service), Bank()
        people.use(bank)
        await world_at(people, "06:00", 1)
        await jump_to(service, clocks.redis, jump)
        assert await answer(people, 3) == "checked_in"
        people.it_is("08:06", 1)
        assert await answer(people, 4) == "too_late"
        await work(service)
        assert (await state(people))[0] == "settled"
        assert sum(await people.claim(1, 2, 3)) == 100
        await people.drain()
        await work(service)
        assert bank.paid() == ["transfer"] * 3


async def test_a_clock_that_is_wrong_for_good_rings_and_is_set_right(wrong: Settings, clocks: Clocks) -> None:
    """It was wrong before anybody started: no jump is to be seen, only a worker's verdict."""
    clocks.redis.jump(HOURS_8)
    async with new_world(wrong, platform_url="http://127.0.0.1:9") as service:
        people = Running(service)
        await work(service)
        await service.time.sync(service.redis)
        assert service.time.in_doubt
        people.service.time.move(at("06:00", 1) - int(time.time() * 1000) - int(HOURS_8 * 1000))
        assert await answer(people, 3) == "unavailable"
        await jump_to(service, clocks.redis, 0)
        await service.time.sync(service.redis)
        assert service.time.in_doubt, "the verdict is of before"
        await work(service)
        await service.time.sync(service.redis)
        await work(service)
        await service.time.sync(service.redis)
        assert service.time.agrees(service.time.now_ms())
        people.it_is("06:00", 1)
        assert await answer(people, 3) == "not_joined"


@pytest.mark.parametrize("time_of_day, days", [("06:00", 1), ("07:59", 1), ("23:59", 1)])
async def test_a_worker_that_starts_while_redis_is_wrong_ends_nothing(
    wrong: Settings, clocks: Clocks, time_of_day: str, days: int
) -> None:
    """It has never known another time."""
    async with new_world(wrong, platform_url="http://127.0.0.1:9") as service:
        people = Running(service)
        await world_at(people, "06:00", 1)
        if time_of_day == "23:59":
            people.it_is("08:06", 1)
            await work(service)
        people.it_is(time_of_day, days)
        before, moved_ms = await state(people), service.time.setting
        await jump_to(service, clocks.redis, HOURS_8)
        async with service_with(wrong, platform_url="http://127.0.0.1:9") as other:
            other.time.move(int(moved_ms))
            await other.time.sync(other.redis)
            await work(other)
            assert await state(people) == before
            with pytest.raises(Unavailable, match="redis \\+28800"):
                await other.settling.settle(DAY)
            with pytest.raises(Unavailable, match="redis \\+28800"):
                await other.finishing.finish(DAY) or await other.settling.settle(DAY)
        await jump_to(service, clocks.redis, 0)
