"""Round totals: the sum of its shards' counters, cached in the process for a moment."""

import asyncio
from datetime import date
from time import monotonic

import msgspec

from clock.game import keys
from clock.game.client.commands import Commands

FRESH_SECONDS = 0.25


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and sums (fen) of a round. ``state`` is that of shard 0; the others follow within a moment."""

    state: str = ""
    orders: int = 0
    members: int = 0
    winners: int = 0
    late: int = 0
    pool_fen: int = 0
    published: int = 0
    published_fen: int = 0
    claimed: int = 0
    claimed_fen: int = 0
    refused_payments: int = 0
    quarantined: int = 0


COUNTERS = [name for name in Totals.__struct_fields__ if name != "state"]


async def read(redis: Commands, day: date, shards: int) -> Totals:
    """Query every shard."""
    state, rows = await asyncio.gather(
        redis.hget(keys.name(day, 0, "round"), "state"),
        asyncio.gather(*(redis.hmget(keys.name(day, shard, "totals"), COUNTERS) for shard in range(shards))),
    )
    sums = {name: sum(int(row[i] or 0) for row in rows) for i, name in enumerate(COUNTERS)}
    return Totals(state=state.decode() if state else "", **sums)


class TotalsCache:
    """Answers are at most :data:`FRESH_SECONDS` old; concurrent callers share one query."""

    def __init__(self, redis: Commands) -> None:
        self._redis = redis
        self._known: dict[date, tuple[float, Totals]] = {}
        self._asking: dict[date, asyncio.Task[Totals]] = {}

    def known(self, day: date) -> Totals | None:
        """The cached totals, if they are fresh."""
        known = self._known.get(day)
        return known[1] if known and monotonic() - known[0] < FRESH_SECONDS else None

    async def get(self, day: date, shards: int) -> Totals:
        known = self.known(day)
        if known:
            return known
        task = self._asking.get(day)
        if task is None:
            task = self._asking[day] = asyncio.create_task(self._ask(day, shards))
        return await asyncio.shield(task)

    async def _ask(self, day: date, shards: int) -> Totals:
        asked = monotonic()
        try:
            totals = await read(self._redis, day, shards)
        finally:
            del self._asking[day]
        if len(self._known) > 64:
            self._known.clear()
        self._known[day] = (asked, totals)
        return totals
