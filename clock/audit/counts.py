"""Do Redis and the books count the same, shard by shard? Asked every minute, and at once after a failover.

While people play both grow. So the counters are read before and after: what Redis had counted before its outbox was
drained, the books must have; what the books have, Redis must have counted afterwards. What lies outside was lost, by
Postgres (an asynchronous standby was promoted, a backup was restored) or by Redis (a replica that lagged was promoted).
"""

from datetime import date
from time import monotonic
from typing import Literal

import msgspec
import structlog

from clock.audit.mend import close_again
from clock.books import outbox
from clock.domain.rounds import STEPS
from clock.game import keys
from clock.rounds.ending import isolated
from clock.rounds.recorded import Recorded
from clock.service import Service, live_rounds

log = structlog.get_logger()

EVERY_SECONDS = 60.0
DRAIN_SECONDS = 10.0
"""For all rounds together, within a job's time."""
MOST = 100
"""Differences that are shown."""
COUNTERS = tuple(step.counter for step in STEPS)

Behind = Literal["books", "redis"]

Servers = tuple[str, ...]


class Lag(msgspec.Struct, frozen=True):
    """``behind`` misses ``count`` users of a shard at a step."""

    day: str
    shard: int
    step: str
    behind: Behind
    count: int


class Counting:
    """A worker's turns at it. :meth:`look` is called every second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._looked_at = -EVERY_SECONDS
        self._servers: Servers | None = None
        self._again: set[tuple[date, int]] = set()
        """Shards that these servers have drained from the beginning of the stream: once is enough."""

    async def look(self) -> list[Lag] | None:
        """Compare every round that is not over, if it is time to, or another server answers, and say in Redis what
        differs; ``None`` if it is not time yet. Books that are behind are written again from what the streams keep."""
        now = monotonic()
        found = await servers(self._service)
        if found == self._servers and now - self._looked_at < EVERY_SECONDS:
            return None
        if found != self._servers:
            self._again.clear()
        until = now + DRAIN_SECONDS
        differing: list[Lag] = []
        for round_ in await live_rounds(self._service):
            if round_.finished_at is None:
                with isolated(round_.day):
                    differing += await self._compare(round_, until)
        for one in differing:
            log.error("counts_differ", **msgspec.structs.asdict(one))
        text = msgspec.json.encode(differing[:MOST])
        await self._service.redis.set(keys.DIFFERING, text, px=keys.DIFFERING_MS)
        if self._servers not in (None, found):
            log.warning("server_changed")
        self._servers, self._looked_at = found, now
        return differing

    async def _compare(self, round_: Recorded, until: float) -> list[Lag]:
        await close_again(self._service, round_)
        await outbox.align(self._service.store, self._service.redis, round_.day, list(round_.shards))
        found = await lags(self._service, round_, until)
        lost = {one.shard for one in found if one.behind == "books"}
        lost -= {shard for day, shard in self._again if day == round_.day}
        if not lost:
            return found
        for shard in lost:
            self._again.add((round_.day, shard))
            await outbox.go_back(self._service.redis, round_.day, shard)
        log.warning("drained_again", day=str(round_.day), shards=sorted(lost))
        return await lags(self._service, round_, until)


async def lags(service: Service, round_: Recorded, until: float) -> list[Lag]:
    """Every shard and step of a round. Shards that are not drained ``until`` then, in monotonic seconds, are left out:
    their backlog has an alarm of its own. Raises :class:`~clock.domain.outcomes.Unavailable` and a ``RedisError``."""
    before = {shard: await _counted(service, round_, shard) for shard in round_.shards}
    drained = [shard for shard in round_.shards if await _drained(service, round_, shard, until)]
    books = {
        (row["shard"], row["step"]): row["count"] for row in await service.store.all("count_steps", day=round_.day)
    }
    found = []
    for shard in drained:
        after = await _counted(service, round_, shard)
        for step, low, high in zip(STEPS, before[shard], after, strict=True):
            has = books.get((shard, step.name), 0)
            if has < low:
                found.append(Lag(round_.day.isoformat(), shard, step.name, "books", low - has))
            elif has > high:
                found.append(Lag(round_.day.isoformat(), shard, step.name, "redis", has - high))
    return found


async def _counted(service: Service, round_: Recorded, shard: int) -> list[int]:
    """What Redis has counted, in the order of the steps."""
    found = await service.redis.hmget(keys.name(round_.day, shard, "totals"), COUNTERS)
    return [int(count or 0) for count in found]


async def _drained(service: Service, round_: Recorded, shard: int, until: float) -> bool:
    """Whether everything that is in the outbox now comes into the books in time."""
    try:
        return await outbox.drain_until(service.store, service.redis, round_.day, shard, until)
    except outbox.UNREADABLE:  # the drain says so; it stops its own shard only
        return False


async def servers(service: Service) -> Servers:
    """Names of the servers that answer: they change with a restart, a promotion, a restored backup."""
    names = []
    for node in await service.redis.nodes():
        names += [(await node.info("server"))["run_id"], (await node.info("replication"))["master_replid"]]
    return (*names, str(await service.store.one("server_name")))
