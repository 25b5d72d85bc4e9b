"""Recreating Redis from Postgres after a total loss.

A shard's round hash is written last: until then every verb of that shard answers 503, and afterwards it has all
that was drained. A shard that is in Redis is left alone.
"""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import structlog

from clock.audit import packets
from clock.audit.contents import INCONSISTENT, Shard, contents_of, flags_of, state_in_redis
from clock.books import outbox
from clock.books.leases import held
from clock.books.store import OUTBOX_LOCK, SETTLEMENT_LOCK, Connection, rows
from clock.domain import order_no
from clock.domain.rounds import windows
from clock.game import keys
from clock.game.commands import Commands
from clock.game.scripts import Value
from clock.rounds.ending import BooksDiffer
from clock.rounds.opening import round_fields
from clock.rounds.recorded import Recorded, find
from clock.service import Service, live_rounds

log = structlog.get_logger()

CHUNK = 500


async def rebuild_lost(service: Service) -> list[str]:
    """Recreate every live round's shards that were in use and are not in Redis; their names."""
    rebuilt = []
    async with service.store.transaction() as connection:
        await rows(connection, "lock_settlement", lock=SETTLEMENT_LOCK)
        async with held(connection):
            for round_ in await live_rounds(service):
                rebuilt += await rebuild_round(service, connection, round_.day)
            rebuilt += await _rebuild_flags(service, connection)
    return rebuilt


async def _rebuild_flags(service: Service, connection: Connection) -> list[str]:
    """Switches and results of all users; the field that says that the hash is whole comes last."""
    redis = service.redis
    name = keys.name(keys.USERS, 0, "flags")
    if await redis.hexists(name, "open"):
        return []
    await outbox.drain(service.store, service.redis, keys.USERS, 0)
    await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(keys.USERS, 0))
    used = await service.store.one("flags_used")
    if used is None or not used["used"]:
        return []
    await redis.delete(name)
    await _fill_flags(redis, name, service.store.stream("rebuild_flags"))
    for round_ in await live_rounds(service):  # the oldest first: the latest result counts
        if round_.state == "void":
            await _fill_flags(redis, name, service.store.stream("rebuild_flags_of_void", day=round_.day))
    await redis.hset(name, "open", 1)
    log.info("flags_rebuilt")
    return ["users"]


async def _fill_flags(redis: Commands, name: str, users: AsyncIterator[dict[str, Any]]) -> None:
    chunk: dict[int, str] = {}
    async for user in users:
        chunk[user["uid"]] = flags_of(user)
        if len(chunk) == CHUNK:
            await redis.hset(name, mapping=chunk)
            chunk = {}
    if chunk:
        await redis.hset(name, mapping=chunk)


async def rebuild_round(service: Service, connection: Connection, day: date) -> list[str]:
    """Recreate the round's shards that were in use and are not in Redis; their names. The caller holds the settlement
    lock in ``connection``. Raises :class:`BooksDiffer`."""
    round_ = await _recorded(service, day)
    missing = [shard for shard in round_.shards if not await service.redis.exists(keys.name(day, shard, "round"))]
    for shard in missing:
        await outbox.drain(service.store, service.redis, day, shard)
        # Whoever drained the shard when it was lost may not have committed yet: the lease is free once it has.
        await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(day, shard))
    if missing:
        round_ = await _recorded(service, day)
    used = {one["shard"] for one in await service.store.all("drained_shards", day=day)}
    lost = [shard for shard in missing if shard in used or round_.state != "open"]
    if not lost:
        return []
    contents = await contents_of(service.store, round_)
    refuse_contradictions(day, {shard: contents[shard] for shard in lost})
    closed = {one["shard"] for one in await service.store.all("closed_shards", day=day)}
    for shard in lost:
        await _write(service, round_, shard, contents[shard], state_in_redis(round_.state, shard in closed))
        log.info("shard_rebuilt", day=str(day), shard=shard, members=len(contents[shard].members))
    return [f"{day}.{shard}" for shard in lost]


def refuse_contradictions(day: date, contents: dict[int, Shard]) -> None:
    """Raises :class:`BooksDiffer` for users of whom the books contradict themselves."""
    for content in contents.values():
        wrong = [uid for uid, record in content.members.items() if record.startswith(INCONSISTENT.encode())]
        if wrong:
            raise BooksDiffer(f"the books of {day} contradict themselves about users {wrong[:10]}")


async def _recorded(service: Service, day: date) -> Recorded:
    round_ = await find(service.store, day)
    assert round_ is not None
    return round_


async def _write(service: Service, round_: Recorded, shard: int, content: Shard, state: str) -> None:
    """Everything but the round hash, then the round hash."""
    redis = service.redis
    day = round_.day
    nouns = ("members", "totals", "payments", "checking", "round")
    members, totals, payments, checking, name = keys.names(day, shard, nouns)
    await redis.delete(members, totals, payments, checking)
    await _fill(redis, members, content.members)
    await _fill(redis, payments, content.payments)
    await look_into(redis, checking, content)
    if content.totals:
        await redis.hset(totals, mapping=dict(content.totals))
    await packets.write(redis, day, shard, content.packets)
    fields: list[Value] = ["state", state, "first_order_id", order_no.first_order_id(day, shard)]
    fields += ["last_number", content.last_number, "server", ""]  # no server has this name
    fields += round_fields(round_)
    if content.extended_ms:
        closes_ms = windows(day, round_.rules).check_in_closes_ms + content.extended_ms
        fields += ["check_in_closes_ms", closes_ms, "extended_ms", content.extended_ms]
    # Since then nobody could check in: the window becomes longer by as much.
    drained = {row["shard"]: row["ms"] for row in await service.store.all("last_drained_ms", day=day)}
    if shard in drained:
        fields += ["touched_ms", drained[shard]]
    await redis.hset(name, items=fields)
    if round_.finished_at is not None:
        await service.finishing.expire_again(day, round_.rules.shards, round_.finished_at)


async def look_into(redis: Commands, checking: str, content: Shard) -> None:
    """Note refused payments of unpaid orders that are not noted. Repeatable."""
    for callback, waits in content.checking.items():
        if await redis.hsetnx(checking, callback, waits):
            await redis.hincrby(checking, callback.partition(":")[0], waits)


async def _fill(redis: Commands, name: str, fields: dict[Any, Any]) -> None:
    items = list(fields.items())
    for start in range(0, len(items), CHUNK):
        await redis.hset(name, mapping=dict(items[start : start + CHUNK]))
