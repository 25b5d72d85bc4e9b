"""Recreating Redis from Postgres after a total loss.

A shard's round hash is written last: until then every verb of that shard answers 503, and afterwards it has all
that was drained. A shard that is in Redis is left alone.
"""

from collections import defaultdict
from datetime import date
from typing import Any

import msgspec
import structlog

from clock.books import outbox
from clock.books.store import OUTBOX_LOCK, SETTLEMENT_LOCK, Connection, measure, rows
from clock.domain import order_no
from clock.domain.rounds import Rules, day_number
from clock.game import keys
from clock.game.scripts import Value
from clock.rounds.opening import round_fields
from clock.rounds.settling import BooksDiffer
from clock.service import Service, live_rounds

log = structlog.get_logger()

CHUNK = 500

pack = msgspec.msgpack.encode

IN_REDIS = {
    "closed": "closed",
    "split": "closed",
    "published": "closed",
    "settled": "settled",
    "finished": "finished",
    "void": "void",
}
"""The state in Redis for each in Postgres in which all shards are in one."""

INCONSISTENT = "?"
"""The state of a user of whom the books contradict themselves: a check-in without a stake, a claim without either."""

PUBLISHED = ("published", "settled", "finished")


class Shard(msgspec.Struct):
    """What goes into one shard besides the round's rules."""

    members: dict[int, bytes]
    payments: dict[str, str]
    packets: list[int]
    totals: dict[str, int]


async def rebuild_lost(service: Service) -> list[str]:
    """Recreate every live round's shards that were in use and are not in Redis; their names."""
    rebuilt = []
    async with service.store.transaction() as connection:
        await rows(connection, "lock_settlement", lock=SETTLEMENT_LOCK)
        for row in await live_rounds(service):
            rebuilt += await _rebuild_round(service, connection, row["day"])
        rebuilt += await _rebuild_flags(service, connection)
    return rebuilt


async def _rebuild_flags(service: Service, connection: Connection) -> list[str]:
    """Switches and results of all users; the field that says that the hash is whole comes last."""
    redis: Any = service.redis
    name = keys.name(keys.USERS, 0, "flags")
    if await redis.hexists(name, "open"):
        return []
    await outbox.drain(service.store, service.redis, keys.USERS, 0)
    await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(keys.USERS, 0))
    used = await service.store.one("flags_used")
    if used is None or not used["used"]:
        return []
    await redis.delete(name)
    chunk: dict[int, str] = {}
    async for user in service.store.stream("rebuild_flags"):
        chunk[user["uid"]] = _flags(user)
        if len(chunk) == CHUNK:
            await redis.hset(name, mapping=chunk)
            chunk = {}
    if chunk:
        await redis.hset(name, mapping=chunk)
    await redis.hset(name, "open", 1)
    log.info("flags_rebuilt")
    return ["users"]


def _flags(user: dict[str, Any]) -> str:
    """A user's record, as ``lua/flags.lua`` describes it."""
    last, acked = user["last_day"], user["acked_day"]
    alert = last is not None and (acked is None or acked < last)
    latest = max((day for day in (last, acked) if day is not None), default=None)
    return f"{int(user['remind'])}{int(alert)}{'' if latest is None else day_number(latest)}"


async def _rebuild_round(service: Service, connection: Connection, day: date) -> list[str]:
    recorded = await service.store.one("get_round", day=day)
    assert recorded is not None
    rules = msgspec.convert(recorded["rules"], Rules)
    missing = [shard for shard in range(rules.shards) if not await service.redis.exists(keys.name(day, shard, "round"))]
    for shard in missing:
        await outbox.drain(service.store, service.redis, day, shard)
        # Whoever drained the shard when it was lost may not have committed yet: the lease is free once it has.
        await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(day, shard))
    row = await service.store.one("get_round", day=day) if missing else recorded
    assert row is not None
    used = {one["shard"] for one in await service.store.all("drained_shards", day=day)}
    lost = [shard for shard in missing if shard in used or row["state"] != "open"]
    if not lost:
        return []
    contents = await contents_of(service, row, rules)
    closed = {one["shard"] for one in await service.store.all("closed_shards", day=day)}
    for shard in lost:
        wrong = [uid for uid, record in contents[shard].members.items() if record.startswith(INCONSISTENT.encode())]
        if wrong:
            raise BooksDiffer(f"the books of {day} contradict themselves about users {wrong[:10]}")
        await _write(service, row, rules, shard, contents[shard], _state(row["state"], shard in closed))
        log.info("shard_rebuilt", day=str(day), shard=shard, members=len(contents[shard].members))
    return [f"{day}.{shard}" for shard in lost]


def _state(recorded: str, closed: bool) -> str:
    """A round that was being closed when Redis was lost is closed shard by shard as its work is taken up again."""
    if recorded == "open":
        return "closed" if closed else "open"
    if recorded == "voiding":
        return "void" if closed else "open"
    return IN_REDIS[recorded]


async def contents_of(service: Service, row: dict[str, Any], rules: Rules) -> dict[int, Shard]:
    """All shards of a round, as the books have them."""
    day, shards = row["day"], rules.shards
    contents = {shard: Shard({}, {}, [], defaultdict(int)) for shard in range(shards)}
    await measure(service.store, day)
    async for user in service.store.stream("rebuild_users", day=day):
        shard = keys.shard_of(user["uid"], shards)
        _user(contents[shard], user, order_no.first_order_id(day, shard), rules.stake_fen)
    async for payment in service.store.stream("rebuild_payments", day=day):
        content = contents[keys.shard_of(payment["uid"], shards)]
        content.payments[f"{payment['order_no']}:{payment['transaction_id']}"] = payment["outcome"]
        content.totals["refused_payments"] += 1
    kept = await service.store.one("count_quarantine_of", day=day) or {"total": 0}
    contents[0].totals["quarantined"] = kept["total"]
    if row["state"] in PUBLISHED:
        async for packet in service.store.stream("rebuild_packets", day=day):
            contents[packet["shard"]].packets.append(packet["fen"])
        for sums in await service.store.all("manifest_sums", day=day):
            contents[sums["shard"]].totals["published"] = sums["packets"]
            contents[sums["shard"]].totals["published_fen"] = sums["fen"]
    return contents


def _user(shard: Shard, user: dict[str, Any], first_order_id: int, stake_fen: int) -> None:
    """A user's record, as the scripts' prelude describes it, and what it adds to the totals."""
    number, totals = user["order_id"] - first_order_id, shard.totals
    record = pack(user["order_no"][-order_no.TAIL :]) + pack(number) + pack(user["open_id"])
    state = "O"
    if user["late"] is not None:
        state = "L" if user["late"] else "M"
        record += pack(user["transaction_id"])
        totals["members"] += 1
        totals["pool_fen"] += stake_fen
        totals["late"] += int(user["late"])
    if user["checked_in"]:
        state = "C"
        totals["winners"] += 1
    if user["packet_fen"] is not None:
        state = "P"
        record += pack(user["packet_fen"])
        totals["claimed"] += 1
        totals["claimed_fen"] += user["packet_fen"]
    if (state == "P" and not user["checked_in"]) or (state in "CP" and user["late"] is None):
        state = INCONSISTENT
    totals["orders"] = max(totals["orders"], number)
    shard.members[user["uid"]] = state.encode() + record


async def _write(service: Service, row: dict[str, Any], rules: Rules, shard: int, content: Shard, state: str) -> None:
    """Everything but the round hash, then the round hash."""
    redis: Any = service.redis
    day = row["day"]
    members, totals, payments, packets, round_ = keys.names(
        day, shard, ("members", "totals", "payments", "packets", "round")
    )
    await redis.delete(members, totals, payments, packets)
    await _fill(redis, members, content.members)
    await _fill(redis, payments, content.payments)
    if content.totals:
        await redis.hset(totals, mapping=dict(content.totals))
    for start in range(0, len(content.packets), CHUNK):
        await redis.rpush(packets, *content.packets[start : start + CHUNK])
    fields: list[Value] = ["state", state, "first_order_id", order_no.first_order_id(day, shard)]
    fields += round_fields(day, rules, row["seed_hash"])
    await redis.hset(round_, items=fields)
    if row["finished_at"] is not None:
        await service.settlement.expire_again(day, rules.shards, row["finished_at"])


async def _fill(redis: Any, name: str, fields: dict[Any, Any]) -> None:
    items = list(fields.items())
    for start in range(0, len(items), CHUNK):
        await redis.hset(name, mapping=dict(items[start : start + CHUNK]))
