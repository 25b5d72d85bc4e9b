"""The outbox: from a shard's stream into Postgres, exactly once.

One transaction holds the rows and the position. Redis holds the position too, beside the stream: it was written by the
same server, so that nothing of this stream is ever below it by mistake, whatever replica was promoted. What is read
twice is written once, by its natural keys.

Entries stay in the stream after they are drained: Postgres may lose what it has committed (an asynchronous standby is
promoted, a backup is restored). Its position then lies behind, and :func:`align` has the rest drained again.
"""

import asyncio
from time import monotonic
from typing import NamedTuple

from psycopg import DataError, IntegrityError

from clock.books import entries
from clock.books.store import OUTBOX_LOCK, Store, one, rows
from clock.domain.rounds import day_number
from clock.game import events, keys
from clock.game.client.calls import call, wait_for_replica
from clock.game.client.commands import Commands, Entry
from clock.game.keys import Day
from clock.game.scripts import load

DRAINED = load("drained")

ENTRIES_AT_ONCE = 200
PAUSE_SECONDS = 0.1

UNREADABLE = (ValueError, DataError, IntegrityError)
"""What :func:`drain_some` raises for an entry that cannot be decoded, or that Postgres refuses."""

KEPT_BYTES = 64 << 20
"""Drained entries of a shard are kept while its stream takes no more memory than this."""
KEPT_MS = 24 * 3600 * 1000
"""How long those of users are kept; a round's go with its other keys."""
TRIMMED_AT_ONCE = 10_000


class Position(NamedTuple):
    """How far a stream is drained: the last entry's id, and how many entries had been added up to it."""

    last_id: str = "0-0"
    entries: int = 0

    @property
    def number(self) -> tuple[int, int]:
        return number(self.last_id.encode())


def number(entry_id: bytes) -> tuple[int, int]:
    """By which the ids of a stream are ordered: ms, and a count within the millisecond."""
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms), int(sequence)


def lease_of(day: Day, shard: int) -> int:
    """The second number of the shard's advisory lock: a signed number of 32 bits."""
    return -1 - shard if day is None else day_number(day) << 10 | shard


async def drain(store: Store, redis: Commands, day: Day, shard: int) -> int:
    """Move every entry of now that the books miss, also after Postgres has lost some, or until another process drains
    the shard; how many were moved. Raises :class:`~clock.domain.outcomes.Unavailable`."""
    await align(store, redis, day, [shard])
    return await drain_new(store, redis, day, shard)


async def drain_new(store: Store, redis: Commands, day: Day, shard: int) -> int:
    """Move the entries after Redis' position, as many as there are now, or until another process drains the shard; how
    many. Those that come meanwhile are left: under a steady load there would be no end."""
    last = await redis.xrevrange(keys.name(day, shard, "outbox"), count=1)
    moved = 0
    while last and (await position(redis, day, shard)).number < number(last[0][0]):
        some = await drain_some(store, redis, day, shard)
        if not some:
            break
        moved += some
    return moved


async def drain_until(store: Store, redis: Commands, day: Day, shard: int, until: float) -> bool:
    """Whether everything that is in the outbox now is in the books by then, in monotonic seconds, whoever drains it."""
    last = await redis.xrevrange(keys.name(day, shard, "outbox"), count=1)
    while last and (await position(redis, day, shard)).number < number(last[0][0]):
        if monotonic() > until:
            return False
        if not await drain_some(store, redis, day, shard):
            await asyncio.sleep(PAUSE_SECONDS)  # another process drains it
    return True


async def drain_some(store: Store, redis: Commands, day: Day, shard: int) -> int | None:
    """Move up to :data:`ENTRIES_AT_ONCE` entries; how many, or ``None`` while another process drains this shard.

    The books never have what a replica, where one is asked for, does not have: promoted, it would not know a member
    whom the books know, and give a rank twice.
    """
    stream = keys.name(day, shard, "outbox")
    async with store.transaction() as connection:
        lease = await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=lease_of(day, shard))
        if not lease["ours"]:
            return None
        before = await redis.get(keys.name(day, shard, "position"))
        found = await redis.xrange(stream, f"({_position(before).last_id}", count=ENTRIES_AT_ONCE)
        if not found:
            return 0
        await wait_for_replica(redis, stream)
        await entries.write(connection, day, shard, [events.decode(fields[b"e"]) for _, fields in found], store.tells)
        added = (_position(before).entries if before else await _deleted(redis, stream)) + len(found)
        last_id = found[-1][0].decode()
        await rows(connection, "save_position", day=day, shard=shard, last_id=last_id, entries=added)
    names = keys.names(day, shard, DRAINED.nouns)
    await call(redis, DRAINED, names, ["", before or b"", last_id, added])
    return len(found)


async def waiting(redis: Commands, day: Day, shard: int, count: int) -> list[Entry]:
    """The first entries that are not known to be in Postgres, at most ``count``."""
    at = await position(redis, day, shard)
    return await redis.xrange(keys.name(day, shard, "outbox"), f"({at.last_id}", count=count)


async def position(redis: Commands, day: Day, shard: int) -> Position:
    return _position(await redis.get(keys.name(day, shard, "position")))


def _position(text: bytes | None) -> Position:
    if not text:
        return Position()
    last_id, _, added = text.decode().partition(" ")
    return Position(last_id, int(added))


async def _deleted(redis: Commands, stream: str) -> int:
    """How many entries were once in the stream and are not any more."""
    about = await redis.xinfo_stream(stream)
    return int(about["entries-added"]) - int(about["length"])


async def align(store: Store, redis: Commands, day: Day, shards: list[int]) -> list[int]:
    """Where the books' position is behind Redis', have the stream drained again from there; the shards concerned."""
    drained = [await position(redis, day, shard) for shard in shards]  # before the books': these may move on meanwhile
    books = {row["shard"]: Position(row["last_id"], row["entries"]) for row in await store.all("positions", day=day)}
    behind = []
    for shard, ours in zip(shards, drained, strict=True):
        theirs = books.get(shard, Position())
        if theirs.number < ours.number:
            await go_back(redis, day, shard, theirs)
            behind.append(shard)
    return behind


async def go_back(redis: Commands, day: Day, shard: int, to: Position | None = None) -> None:
    """Have the stream drained again from there, or from its beginning."""
    name = keys.name(day, shard, "position")
    if to is None or to == Position():
        await redis.delete(name)
    else:
        await redis.set(name, f"{to.last_id} {to.entries}", keepttl=True)


async def trim(redis: Commands, day: Day, shard: int, now_ms: int) -> None:
    """Let go of drained entries that take too much memory or, of users, that are old. Never of others."""
    stream, at = keys.name(day, shard, "outbox"), await position(redis, day, shard)
    if at == Position():
        return
    if (await redis.memory_usage(stream, samples=20) or 0) > KEPT_BYTES:
        await redis.xtrim(stream, minid=at.last_id, approximate=True, limit=TRIMMED_AT_ONCE)
    elif day is None:
        oldest = min(at.number, (now_ms - KEPT_MS, 0))
        await redis.xtrim(stream, minid=f"{oldest[0]}-{oldest[1]}", approximate=True, limit=TRIMMED_AT_ONCE)


async def depth(redis: Commands, day: Day, shards: int) -> int:
    """Entries of a round that are not known to be in Postgres yet."""
    return sum([await _depth(redis, day, shard) for shard in range(shards)])


async def _depth(redis: Commands, day: Day, shard: int) -> int:
    if not await waiting(redis, day, shard, 1):
        return 0
    at, about = await position(redis, day, shard), await redis.xinfo_stream(keys.name(day, shard, "outbox"))
    length, added = int(about["length"]), int(about["entries-added"])
    return max(1, min(length, added - at.entries))


async def backlog(redis: Commands, rounds: list[tuple[Day, int]]) -> dict[str, int]:
    """Entries of some rounds (day, shards), and how long the oldest waits, in ms of the real clock."""
    found, oldest_ms = 0, 0
    seconds, micros = await redis.time()
    for day, shards in rounds:
        found += await depth(redis, day, shards)
        for shard in range(shards):
            for entry_id, _ in await waiting(redis, day, shard, 1):
                oldest_ms = max(oldest_ms, seconds * 1000 + micros // 1000 - int(entry_id.split(b"-")[0]))
    return {"entries": found, "oldest_ms": oldest_ms}
