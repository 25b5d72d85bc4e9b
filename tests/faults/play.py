"""Whole rounds under faults: the clock goes through joining, midnight, check-in, settlement and claims, and at
each midnight the round that has ended is compared with the journal."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import aiohttp
from redis.exceptions import RedisError

from clock.domain.rounds import following, instant_ms, previous
from tests.faults import audit
from tests.faults.crowd import Client, Crowd
from tests.faults.inject import Injector
from tests.faults.journal import Journal, Told
from tests.faults.schedule import Phase, Schedule
from tests.faults.stack import Stack

FIRST_DAY = date(2027, 3, 1)
"""In the real future: a process that has not heard of the moved clock yet finds nothing due."""

ACTORS_S = 120.0
"""How long after a phase, with everything healed, its users may still wait for answers."""

Act = Callable[[Told], Awaitable[object]]


def cast(schedule: Schedule, day: date, chance: random.Random) -> list[Told]:
    """The users of a round."""
    users = []
    for number in range(schedule.size.users):
        told = Told(uid=1 + number, day=day, sleeps=chance.random() < 0.2, forgets=chance.random() < 0.15)
        told.pays = chance.choices(
            ("evening", "twice", "in_the_morning", "too_late", "never"), weights=(78, 8, 6, 4, 4)
        )[0]
        if told.pays == "evening":
            told.edge = chance.choices(("", "midnight", "opening", "closing"), weights=(70, 10, 10, 10))[0]
        if told.edge == "midnight":  # may come too late for this round, and is not one of the next round's users
            told.uid += 100_000 * (day - FIRST_DAY).days + 100_000
        users.append(told)
    return users


class Play:
    def __init__(self, stack: Stack, schedule: Schedule, session: aiohttp.ClientSession) -> None:
        self.stack = stack
        self.schedule = schedule
        self.journal = Journal()
        self.chance = random.Random(f"play {schedule.seed}")
        self.client = Client(stack, self.journal, self.chance, session)
        self.crowd = Crowd(self.client)
        self.injector = Injector(stack, self.client, self.chance, self.say)
        self.compared: list[str] = []
        self._began = time.monotonic()

    async def all_rounds(self) -> None:
        for number in range(self.schedule.size.rounds):
            await self._round(number)
        last = FIRST_DAY + timedelta(days=self.schedule.size.rounds - 1)
        await self._move(following(last), "23:00")
        await self._across(last, "midnight", following(following(last)), "00:00", [], self.crowd.join)
        await self._compare(last)

    # -- a round

    async def _round(self, number: int) -> None:
        day = FIRST_DAY + timedelta(days=number)
        users = cast(self.schedule, day, random.Random(f"cast {self.schedule.seed} {number}"))
        self.journal.told[day] = {told.uid: told for told in users}
        yesterday = self.journal.told.get(day - timedelta(days=1), {})
        await self._move(day, "20:00")
        late_claims = [told for told in yesterday.values() if told.is_winner and not told.forgets]
        await self._phase(
            number, "evening", [(told, self._evening) for told in users] + [(t, self.crowd.claim) for t in late_claims]
        )
        await self._move(day, "23:58")
        edge = [told for told in users if told.edge == "midnight"]
        await self._phase(
            number, "midnight", [], self._across(day, "midnight", following(day), "00:00", edge, self._join_and_pay)
        )
        if number:
            await self._compare(day - timedelta(days=1))
        await self._morning(number, day, users)
        await self._settlement(number, day, users)

    async def _morning(self, number: int, day: date, users: list[Told]) -> None:
        morning = following(day)
        awake = [told for told in users if not told.sleeps]
        await self._across(
            day, "opening", morning, "05:00", [told for told in awake if told.edge == "opening"], self._tap
        )
        tappers = [told for told in awake if told.edge != "closing"]
        payers = [told for told in users if told.pays == "too_late"]
        acts = [(told, self._morning_of) for told in tappers] + [(told, self._pay_too_late) for told in payers]
        await self._phase(number, "morning", acts)
        await self._move(morning, "07:54")
        if number in self.schedule.absent:
            async with self.stack.locks["worker"]:
                await self.stack.kill("worker")
            self.injector.injected["no worker from 07:55 to 09:00"] += 1
        closing = [told for told in awake if told.edge == "closing"]
        await self._across(day, "closing", morning, "08:00", closing, self._tap)

    async def _settlement(self, number: int, day: date, users: list[Told]) -> None:
        morning = following(day)
        if number in self.schedule.absent:
            await self._move(morning, "09:00")
            await self.stack.heal()
            await self._move(morning, "09:06")  # an hour longer is the most that check-in can become
        claimers = [told for told in users if told.is_member and not told.forgets]
        now = [told for told in claimers if self.chance.random() < 0.8]
        await self._phase(number, "claims", [(told, self._claim) for told in now], self._due(morning, number))

    async def _due(self, morning: date, number: int) -> None:
        """What is armed at the beginning of the phase meets the settlement itself."""
        if number in self.schedule.absent:
            return
        await asyncio.sleep(0.2)
        await self._move(morning, "08:05")
        until = time.monotonic() + ACTORS_S
        while (longer := await self._still_open(previous(morning))) and time.monotonic() < until:
            await self._move(morning, f"{8 + (5 + longer) // 60:02}:{(5 + longer) % 60:02}")
            await asyncio.sleep(0.5)

    async def _still_open(self, day: date) -> int:
        """By how many minutes a check-in that is not closed has become longer, because nobody could reach it; 0 where
        all are closed, or Valkey is away."""
        redis: Any = self.stack.redis()
        try:
            names = [name async for name in redis.scan_iter(f"clock:{{*}}:{day}:round", count=1_000)]
            found = [await redis.hmget(name, ("state", "extended_ms")) for name in names]
        except (RedisError, OSError):
            return 1
        finally:
            await redis.aclose()
        return max((1 + int(by_ms or 0) // 60_000 for state, by_ms in found if state == b"open"), default=0)

    async def _phase(
        self, number: int, phase: Phase, acts: Sequence[tuple[Told, Act]], also: Awaitable[None] | None = None
    ) -> None:
        """The load spread over the phase, and its faults; then everything is healed, and everybody answered."""
        spread = self.schedule.size.phase_s

        async def one(told: Told, act: Act) -> None:
            await asyncio.sleep(self.chance.uniform(0, spread))
            await act(told)

        actors = [asyncio.create_task(one(told, act)) for told, act in acts]
        if also is not None:
            actors.append(asyncio.ensure_future(also))
        await self.injector.during(self.schedule.phases.get((number, phase), []))
        await self.stack.heal()
        await self.injector.trouble("")
        if actors:
            _, late = await asyncio.wait(actors, timeout=ACTORS_S)
            for task in late:
                task.cancel()
            if late:
                self.journal.broken.append(f"{len(late)} users of round {number} had no answer in the {phase}")
            for result in await asyncio.gather(*actors, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
        self.say(f"round {number} {phase}: {len(acts)} users")

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)

    # -- the clock

    async def _move(self, day: date, time_of_day: str, milliseconds: int = 0) -> None:
        instant = instant_ms(day, time_of_day, "Asia/Shanghai") + milliseconds
        await self.client.move_time(datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds"))

    async def _across(self, day: date, name: str, to_day: date, time_of_day: str, users: list[Told], act: Act) -> None:
        """The clock jumps to the last millisecond before the boundary and to the first after it, while taps are
        in flight."""
        actors = [asyncio.create_task(self._soon(told, act)) for told in users]
        for milliseconds in (-150, -1, 0, 1):
            await self._move(to_day, time_of_day, milliseconds)
            await asyncio.sleep(self.chance.uniform(0, 0.1))
        await asyncio.gather(*actors)
        await self._move(to_day, time_of_day, 1_000)
        self.injector.injected[f"clock across {name}, -1, 0, +1 ms"] += 1

    async def _soon(self, told: Told, act: Act) -> None:
        await asyncio.sleep(self.chance.uniform(0, 0.6))
        await act(told)

    # -- what one user does in a phase

    def _evening_ms(self, told: Told) -> int:
        return instant_ms(told.day, "21:00", "Asia/Shanghai")

    async def _evening(self, told: Told) -> None:
        if told.edge == "midnight":
            return
        await self.crowd.join(told)
        if told.pays in ("evening", "twice"):
            await self.crowd.pay(told, self._evening_ms(told))
        if told.pays == "twice":
            await self.crowd.pay(told, self._evening_ms(told) + 1, again=True)
        if self.chance.random() < 0.3:
            await self.crowd.join(told)

    async def _join_and_pay(self, told: Told) -> None:
        if await self.crowd.join(told) in ("ordered", "order_pending"):
            await self.crowd.pay(told, instant_ms(following(told.day), "00:00", "Asia/Shanghai") - 1)

    async def _morning_of(self, told: Told) -> None:
        if told.pays == "in_the_morning":
            await self.crowd.pay(told, self._evening_ms(told))
        await self.crowd.check_in(told)
        await self.crowd.status(told)
        await self.crowd.receipt(told)

    async def _pay_too_late(self, told: Told) -> None:
        await self.crowd.pay(told, instant_ms(following(told.day), "00:00", "Asia/Shanghai") + 1)

    async def _tap(self, told: Told) -> None:
        """Over and over, until it is in or too late for it."""
        for _ in range(12):
            if await self.crowd.check_in(told, 20) in ("checked_in", "already_checked_in", "not_joined", "too_late"):
                return
            await asyncio.sleep(0.1)

    async def _claim(self, told: Told) -> None:
        await self.crowd.claim(told)

    # -- the comparison

    async def _compare(self, day: date) -> None:
        began = time.monotonic()
        await self.stack.heal()
        line = await audit.compare(self.stack, self.journal, day)
        self.compared.append(line)
        self.say(f"{line} ({time.monotonic() - began:.1f} s)")
