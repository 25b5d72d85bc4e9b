"""The outbox: from a shard's stream into Postgres, exactly once.

One transaction holds the rows and the position; only then is the stream trimmed. Reading always starts at the
stream's beginning, not at the position: a promoted replica may number new entries below it, and what was
committed but not trimmed is written once anyway, by its natural keys.
"""

from clock.books import entries
from clock.books.store import OUTBOX_LOCK, Store, one, rows
from clock.domain.rounds import day_number
from clock.game import events, keys
from clock.game.client import wait_for_replica
from clock.game.commands import Commands
from clock.game.keys import Day

ENTRIES_AT_ONCE = 200


def lease_of(day: Day, shard: int) -> int:
    """The second number of the shard's advisory lock: a signed number of 32 bits."""
    return -1 - shard if day is None else day_number(day) << 10 | shard


async def drain_some(store: Store, redis: Commands, day: Day, shard: int) -> int | None:
    """Move up to :data:`ENTRIES_AT_ONCE` entries; how many, or ``None`` while another process drains this shard.

    The books never have what a replica, where one is asked for, does not have: promoted, it would give the packet
    of a claim that it never saw to somebody else.
    """
    stream = keys.name(day, shard, "outbox")
    if not await redis.xlen(stream):
        return 0
    async with store.transaction() as connection:
        lease = await one(connection, "try_lease", lock=OUTBOX_LOCK, shard=lease_of(day, shard))
        if not lease["ours"]:
            return None
        found = await redis.xrange(stream, count=ENTRIES_AT_ONCE)
        if not found:
            return 0
        await wait_for_replica(redis, stream)
        await entries.write(connection, day, shard, [events.decode(fields[b"e"]) for _, fields in found])
        last_id = found[-1][0].decode()
        await rows(connection, "save_position", day=day, shard=shard, last_id=last_id)
    # By number, not "everything below": a replica promoted since then may have numbered a new entry below the last.
    await redis.xdel(stream, *(entry_id for entry_id, _ in found))
    return len(found)


async def drain(store: Store, redis: Commands, day: Day, shard: int) -> int:
    """Move entries until the stream is empty or another process drains it; how many were moved."""
    moved = 0
    while some := await drain_some(store, redis, day, shard):
        moved += some
    return moved


async def depth(redis: Commands, day: Day, shards: int) -> int:
    """Entries of a round that are not known to be in Postgres yet."""
    return sum([await redis.xlen(keys.name(day, shard, "outbox")) for shard in range(shards)])


async def backlog(redis: Commands, rounds: list[tuple[Day, int]]) -> dict[str, int]:
    """Entries of some rounds (day, shards), and how long the oldest waits, in ms of the real clock."""
    entries, oldest_ms = 0, 0
    seconds, micros = await redis.time()
    for day, shards in rounds:
        entries += await depth(redis, day, shards)
        for shard in range(shards):
            for entry_id, _ in await redis.xrange(keys.name(day, shard, "outbox"), count=1):
                oldest_ms = max(oldest_ms, seconds * 1000 + micros // 1000 - int(entry_id.split(b"-")[0]))
    return {"entries": entries, "oldest_ms": oldest_ms}
