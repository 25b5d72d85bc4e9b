"""A hash of Redis against the rows that it is made of, in pages, also while people play.

The books are read once, and each page is looked up in Redis. What differs may have changed since the books were read.
So it is looked at again: its fields in Redis; then the outbox is drained of all that is in it; then its rows; then its
fields once more. Where these have not changed in between, the rows must say the same as they do.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any, Protocol

from clock.audit.contents import Tally, looked_into, payment_name, record_of, shards_of
from clock.audit.report import MOST
from clock.books import outbox
from clock.books.store import PAGE, Store
from clock.domain import order_no, progress
from clock.domain.outcomes import Unavailable
from clock.game import keys
from clock.rounds.recorded import Recorded
from clock.service import Service

Row = dict[str, Any]
Pages = AsyncGenerator[list[Row], None]

Field = tuple[int, str]
"""A shard, and a field of its hash."""

FIELDS = 500
"""Fields of a hash that are read at once: a command holds Redis for less than a millisecond."""

AGAIN = 1_000
"""Fields that are looked at again together."""

LOOKS = 5
"""How often a field is looked at until it stays the same: a user's record changes four times in a round."""

LOOK_AGAIN_SECONDS = 0.5
"""What operators decide is written into the books first, and a moment later into Redis."""

DRAIN_SECONDS = 60.0


class Source(Protocol):
    """The rows of a hash; each has a ``uid``, which says in which shard it is."""

    noun: str
    everything: bool
    """Whether Redis must have no other fields than these."""

    def pages(self, store: Store) -> Pages:
        """All rows, in the order in which they are read fastest."""
        ...

    def first(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]:
        """The fields of a page's rows; called once for each."""
        ...

    async def some(self, store: Store, names: Sequence[str]) -> list[Row]:
        """The rows of these fields of the last page or, with ``everything``, of any; and perhaps others."""
        ...

    def again(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]: ...


class Users:
    """``members``: the state and the order of each user; ``tallies`` is what they add up to."""

    noun, everything = "members", True

    def __init__(self, round_: Recorded) -> None:
        self._day = round_.day
        self.tallies = {shard: Tally(round_, shard) for shard in round_.shards}

    def pages(self, store: Store) -> Pages:
        return store.pages("rebuild_users", PAGE, day=self._day, uids=None)

    def first(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]:
        take = self.tallies[shard].take
        return {str(row["uid"]): take(row) for row in rows}

    async def some(self, store: Store, names: Sequence[str]) -> list[Row]:
        uids = [int(name) for name in names if name.isdecimal()]
        return await store.all("rebuild_users", day=self._day, uids=uids)

    def again(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]:
        first = order_no.first_order_id(self._day, shard)
        return {str(row["uid"]): record_of(row, row["order_id"] - first) for row in rows}


class Payments:
    """``payments``: what refused payments were answered. They are counted in the users' tallies."""

    noun, everything = "payments", True

    def __init__(self, round_: Recorded, tallies: dict[int, Tally]) -> None:
        self._day = round_.day
        self._tallies = tallies

    def pages(self, store: Store) -> Pages:
        return store.pages("rebuild_payments", PAGE, day=self._day, order_nos=None)

    def first(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]:
        self._tallies[shard].totals["refused_payments"] += len(rows)
        return self.again(shard, rows)

    async def some(self, store: Store, names: Sequence[str]) -> list[Row]:
        order_nos = [name.partition(":")[0] for name in names]
        return await store.all("rebuild_payments", day=self._day, order_nos=order_nos)

    def again(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]:
        return {payment_name(row): row["outcome"].encode() for row in rows}


class Checking:
    """``checking``: callbacks of unpaid orders that are looked into. Redis may have noted one whose process was killed
    before it was quarantined; the provider sends it again."""

    noun, everything = "checking", False

    def __init__(self, round_: Recorded) -> None:
        self._day = round_.day
        self._uids: dict[str, int] = {}
        """By the order's tail, of the last page."""

    async def pages(self, store: Store) -> Pages:
        async with aclosing(store.pages("rebuild_checking", PAGE, day=self._day, uids=None)) as pages:
            async for page in pages:
                self._uids = {order_no.tail_of(row["order_no"]): row["uid"] for row in page}
                yield page

    def first(self, shard: int, rows: Sequence[Row]) -> dict[str, bytes]:
        return {name: b"%d" % waits for name, waits in looked_into(rows).items()}

    async def some(self, store: Store, names: Sequence[str]) -> list[Row]:
        uids = [self._uids[name.partition(":")[0]] for name in names]
        return await store.all("rebuild_checking", day=self._day, uids=uids)

    again = first


class Comparison:
    """``differing``: of each field that stays different, what Redis and what the books say; some :data:`MOST` at
    most."""

    def __init__(self, service: Service, round_: Recorded, shards: list[int], source: Source) -> None:
        """Of these ``shards``, which are in Redis; all others are read, too."""
        self._service = service
        self._round = round_
        self._source = source
        self._shards = shards
        self._names = {shard: keys.name(round_.day, shard, source.noun) for shard in shards}
        self._present = dict.fromkeys(shards, 0)
        """Fields of the books that Redis has, right or wrong."""
        self.differing: dict[Field, tuple[bytes | None, bytes | None]] = {}

    async def run(self, total: int | None = None) -> None:
        """``total``: of the rows, where that is known. Raises :class:`Unavailable`."""
        done = 0
        async with aclosing(self._source.pages(self._service.store)) as pages:
            async for page in pages:
                rows = shards_of(page, self._round.rules.shards)
                right = {shard: self._source.first(shard, some) for shard, some in rows.items()}
                await self._judge(await self._unlike(right))
                done += len(page)
                progress.at(f"reconcile_{self._source.noun}", done, total)
                if len(self.differing) >= MOST:
                    return
        if self._source.everything:
            await self._only_in_redis()

    async def _unlike(self, right: dict[int, dict[str, bytes]]) -> list[Field]:
        """Fields that are another at this moment."""
        asked: list[tuple[int, list[str], list[bytes]]] = []
        pipe = self._service.redis.pipeline(transaction=False)
        for shard in right.keys() & self._names.keys():
            fields, values = list(right[shard]), list(right[shard].values())
            for start in range(0, len(fields), FIELDS):
                some = fields[start : start + FIELDS]
                asked.append((shard, some, values[start : start + FIELDS]))
                pipe.execute_command("HMGET", self._names[shard], *some)
        found: list[Field] = []
        replies = await pipe.execute() if asked else []
        for (shard, some, values), reply in zip(asked, replies, strict=True):
            self._present[shard] += len(reply) - reply.count(None)
            if reply != values:
                found += [(shard, one) for one, is_, must in zip(some, reply, values, strict=True) if is_ != must]
        return found

    async def _only_in_redis(self) -> None:
        redis, source = self._service.redis, self._source
        for shard, name in self._names.items():
            if await redis.hlen(name) <= self._present[shard]:
                continue
            async for fields in self._scanned(name):
                rows = await source.some(self._service.store, fields)
                books = source.again(shard, shards_of(rows, self._round.rules.shards).get(shard, []))
                await self._judge([(shard, field) for field in fields if field not in books])
                if len(self.differing) >= MOST:
                    return

    async def _scanned(self, name: str) -> AsyncIterator[list[str]]:
        fields: list[str] = []
        async for field, _ in self._service.redis.hscan_iter(name, count=AGAIN):
            fields.append(field.decode(errors="replace"))
            if len(fields) == AGAIN:
                yield fields
                fields = []
        if fields:
            yield fields

    async def _judge(self, suspects: list[Field]) -> None:
        """Take those into ``differing`` that stay different."""
        for start in range(0, len(suspects), AGAIN):
            found = await self._steady(suspects[start : start + AGAIN])
            if found:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                self.differing |= await self._steady(list(found))
            if len(self.differing) >= MOST:
                return

    async def _steady(self, fields: list[Field]) -> dict[Field, tuple[bytes | None, bytes | None]]:
        """Those of the fields that differ and do not change."""
        found, shards = {}, self._round.rules.shards
        for _ in range(LOOKS):
            before = await self._in_redis(fields)
            await drained(self._service, self._round, sorted({shard for shard, _ in fields}))
            rows = await self._source.some(self._service.store, [name for _, name in fields])
            books = {
                (shard, name): value
                for shard, some in shards_of(rows, shards).items()
                for name, value in self._source.again(shard, some).items()
            }
            after = await self._in_redis(fields)
            for field in fields:
                if before[field] == after[field] and before[field] != books.get(field):
                    found[field] = before[field], books.get(field)
            fields = [field for field in fields if before[field] != after[field]]
            if not fields:
                break
        return found

    async def _in_redis(self, fields: list[Field]) -> dict[Field, bytes | None]:
        pipe = self._service.redis.pipeline(transaction=False)
        for shard, name in fields:
            pipe.execute_command("HGET", self._names[shard], name)
        return dict(zip(fields, await pipe.execute(), strict=True))


async def drained(service: Service, round_: Recorded, shards: Sequence[int]) -> None:
    """When this returns, the books have all that was in the outbox of these shards when it was called, whoever drains
    it. Raises :class:`Unavailable` where that takes too long."""
    await outbox.align(service.store, service.redis, round_.day, list(shards))
    until = monotonic() + DRAIN_SECONDS
    for shard in shards:
        if not await outbox.drain_until(service.store, service.redis, round_.day, shard, until):
            raise Unavailable(f"the outbox of {round_.day} is not drained in {DRAIN_SECONDS:g} s")
