"""Says once a second, to every shard of the round whose check-in is open, that people can check in.

A shard that has heard it from nobody for more than five seconds makes its window longer by as much (``lengthen`` in
``lua/prelude.lua``; docs/rules.md, *Outages*). The answers say when each shard closes.
"""

import asyncio
from datetime import date

import structlog
from redis.exceptions import RedisError

from clock.domain.outcomes import Unavailable
from clock.domain.rounds import previous
from clock.game import keys
from clock.game.asking import Asking, Round
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.scripts import load

log = structlog.get_logger()

TOUCH = load("touch")

TOUCH_SECONDS = 1.0


class Touching:
    """``always``: also while check-in is not open. In development the clock may be moved into it at any moment."""

    def __init__(self, asking: Asking, redis: Commands, *, always: bool) -> None:
        self._asking = asking
        self._redis = redis
        self._always = always

    async def keep_touching(self) -> None:
        """Runs as long as the process lets people in."""
        while True:
            await self.touch()
            await asyncio.sleep(TOUCH_SECONDS)

    async def touch(self) -> None:
        """Touch what is open now. A server that is away is said."""
        try:
            await self._touch_open()
        except (RedisError, OSError, Unavailable) as error:
            log.warning("not_touched", error=str(error))

    async def touch_around(self, day: date) -> None:
        """Development: before the clock is moved to ``day``, so that what was skipped is no outage. Raises a
        ``RedisError``."""
        for one in (previous(day), day):
            if round_ := await self._known(one):
                await self._touch(round_)

    async def _touch_open(self) -> None:
        now_ms = self._asking.time.now_ms()
        today = self._asking.calendar.day_at(now_ms)
        if self._always:
            await self.touch_around(today)
            return
        round_ = await self._known(previous(today))
        if round_ and round_.at.check_in_opens_ms <= now_ms < round_.at.morning_ends_ms:
            await self._touch(round_)

    async def _known(self, day: date) -> Round | None:
        """The round, if Redis has it: touching makes none."""
        known = self._asking.rounds.get(day)
        if known is None and await self._redis.exists(keys.name(day, 0, "round")):
            known = await self._asking.round(day)
        return known

    async def _touch(self, round_: Round) -> None:
        shards = range(round_.rules.shards)
        self._asking.closes(round_.day, await asyncio.gather(*(self._shard(round_.day, shard) for shard in shards)))

    async def _shard(self, day: date, shard: int) -> int:
        """When it closes; 0 where the round is not in Redis."""
        time = self._asking.time
        args = (time.setting, time.expected_ms(), time.skew_ms)
        closes_ms: int = (await call(self._redis, TOUCH, keys.names(day, shard, TOUCH.nouns), args))[2]
        return closes_ms
