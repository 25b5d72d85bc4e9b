"""Keys of the layout before decision 0057: ``clock:{<day>.<shard>}:<noun>`` and ``clock:{users}:<noun>``.

A start with them is refused, since it would take rounds for lost; one command moves them while nobody plays. It may be
killed at any moment and run again: what is moved is gone from its old place, and the flags, by which a start finds that
something is left, go last.
"""

import asyncio
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from time import monotonic

import msgspec
import structlog

from clock.books import outbox
from clock.config import BadSetting
from clock.game import events, keys
from clock.game.client.calls import connect
from clock.game.client.commands import Commands, Entry
from clock.operators.live import traffic

log = structlog.get_logger()

OF_ROUND = re.compile(r"clock:\{(\d{4}-\d\d-\d\d)\.(\d+)\}:(.+)")
FLAGS, OUTBOX, POSITION = (f"clock:{{users}}:{noun}" for noun in ("flags", "outbox", "position"))
MARK = "mark"
"""Expires by itself, within a minute."""

PAGE = 500
"""Names, users or entries that are asked for or written at once."""

ENDED_SECONDS = 11.0
"""After so long no process that has ended seems to live: its heartbeat and its live figures have expired."""
PAUSE_SECONDS = 0.2


async def require_none(redis: Commands) -> None:
    """Raises :class:`BadSetting` where Redis has keys of the older layout. Looks where they are, by a few names: a scan
    would take long, and is a right that the service does not need."""
    seconds, _ = await redis.time()
    today = datetime.fromtimestamp(seconds, UTC).date()
    days = [today + timedelta(days) for days in range(2, -17, -1)]
    for name in (FLAGS, OUTBOX, *(f"clock:{{{day}.0}}:round" for day in days)):
        if await redis.exists(name):
            raise BadSetting(
                f"Redis has keys of an older version ({name}): end all of its processes, run `clock move-keys` once, "
                "and start again"
            )


async def move_at(url: str) -> int:
    """:func:`move` on the server of this URL."""
    redis = connect(url)
    try:
        return await move(redis)
    finally:
        await redis.aclose()


async def move(redis: Commands) -> int:
    """Give every key of the older layout its new name; how many were found. Repeatable. Raises :class:`BadSetting`
    while a process of the older version lives."""
    found = [name.decode() async for name in redis.scan_iter("clock:{*}:*", count=PAGE)]
    of_rounds = [one for one in map(OF_ROUND.fullmatch, found) if one and one[3] != MARK]
    of_users = [name for name in (OUTBOX, POSITION, FLAGS) if name in found]
    if not of_rounds and not of_users:
        return 0
    await _require_ended(redis)
    for one in of_rounds:
        await _rename(redis, one[0], keys.name(date.fromisoformat(one[1]), int(one[2]), one[3]))
    await _divide_outbox(redis)
    await _divide_flags(redis)
    log.info("keys_moved", rounds=len(of_rounds), users=len(of_users))
    return len(of_rounds) + len(of_users)


async def _require_ended(redis: Commands) -> None:
    until = monotonic() + ENDED_SECONDS
    while await redis.exists(keys.HEARTBEAT) or (await traffic(redis))["processes"]:
        if monotonic() > until:
            raise BadSetting("processes of the service still run: end every API and every worker first")
        await asyncio.sleep(PAUSE_SECONDS)


async def _rename(redis: Commands, old: str, new: str) -> None:
    if not await redis.execute_command("RENAMENX", old, new):
        raise BadSetting(f"Redis has {old} and {new}: a person must decide which of them holds")


async def _divide_outbox(redis: Commands) -> None:
    """Entries of the users' old stream go to the shards of their users, under the ids that they have. Those that were
    drained, too, and all are drained again: they are kept for books that lose something, and written once."""
    streams = [keys.name(keys.USERS, shard, "outbox") for shard in range(keys.USER_SHARDS)]
    known = [[entry_id for entry_id, _ in await redis.xrevrange(one, count=1)] for one in streams]
    last = [outbox.number(ids[0]) if ids else (0, 0) for ids in known]
    after = b"-"
    while page := await redis.xrange(OUTBOX, after, count=PAGE):
        pipe = redis.pipeline(transaction=False)
        for entry in page:
            for shard, event in _divided(entry).items():
                if outbox.number(entry[0]) > last[shard]:
                    pipe.execute_command("XADD", streams[shard], entry[0].decode(), "e", event)
        await pipe.execute()
        after = b"(" + page[-1][0]
    await redis.delete(OUTBOX, POSITION)


def _divided(entry: Entry) -> dict[int, bytes]:
    """What of an entry concerns which shard of users; one that cannot be read goes to shard 0 and stops that alone."""
    text = entry[1][b"e"]
    try:
        event = events.decode(text)
    except msgspec.DecodeError:
        return {0: text}
    if not isinstance(event, events.Reminded | events.Acknowledged):
        return {0: text}
    rows = defaultdict(list)
    for row in event.rows:
        rows[keys.user_shard(row[0])].append(row)
    return {shard: msgspec.msgpack.encode(msgspec.structs.replace(event, rows=own)) for shard, own in rows.items()}


async def _divide_flags(redis: Commands) -> None:
    """The field ``open``, which says that a hash is whole, comes last."""
    names = [keys.name(keys.USERS, shard, "flags") for shard in range(keys.USER_SHARDS)]
    records: dict[str, list[bytes]] = defaultdict(list)
    async for uid, record in redis.hscan_iter(FLAGS, count=PAGE):
        if uid == b"open":
            continue
        name = names[keys.user_shard(int(uid))]
        records[name] += (uid, record)
        if len(records[name]) >= 2 * PAGE:
            await redis.hset(name, items=records.pop(name))
    for name, own in records.items():
        await redis.hset(name, items=own)
    if await redis.hexists(FLAGS, "open"):
        for name in names:
            await redis.hset(name, "open", 1)
    await redis.delete(FLAGS)
