"""Recreating Redis from Postgres after a total loss.

A shard's round hash is written last: until then every verb of that shard answers 503, and afterwards it has all
that was drained. A shard that is in Redis is left alone.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from datetime import date
from itertools import chain
from typing import Any

import structlog

from clock.audit import packets
from clock.audit.contents import (
    INCONSISTENT,
    Tally,
    flags_of,
    looked_into,
    payment_name,
    published,
    shards_of,
    state_in_redis,
)
from clock.books import outbox
from clock.books.leases import held
from clock.books.partitions import measure
from clock.books.store import OUTBOX_LOCK, PAGE, SETTLEMENT_LOCK, Connection, rows
from clock.domain import order_no, progress
from clock.domain.rounds import PUBLISHED_STATES, SPLIT_STATES, windows
from clock.game import keys
from clock.game.client.commands import Commands
from clock.game.scripts import Value
from clock.proofs import statements
from clock.rounds import stated
from clock.rounds.ending import BooksDiffer
from clock.rounds.opening import round_fields
from clock.rounds.recorded import Recorded, find
from clock.service import Service, live_rounds

log = structlog.get_logger()

CHUNK = 500
"""Fields of a hash that are written at once: a command holds Redis for less than a millisecond."""

PIECES = 100
"""Lists of packets that are read and written at once."""


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
    """Switches and results of the users whose shard is not whole; the field that says that it is comes last."""
    redis, store = service.redis, service.store
    names = {shard: keys.name(keys.USERS, shard, "flags") for shard in range(keys.USER_SHARDS)}
    lost = {shard: name for shard, name in names.items() if not await redis.hexists(name, "open")}
    for shard in lost:
        await outbox.drain(store, redis, keys.USERS, shard)
        await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(keys.USERS, shard))
    used = await store.one("flags_used") if lost else None
    if used is None or not used["used"]:
        return []
    for name in lost.values():
        await redis.delete(name)
    await _fill_flags(redis, lost, store.pages("rebuild_flags", PAGE))
    for round_ in await live_rounds(service):  # the oldest first: the latest result counts
        if round_.state == "void":
            await _fill_flags(redis, lost, store.pages("rebuild_flags_of_void", PAGE, day=round_.day))
    for name in lost.values():
        await redis.hset(name, "open", 1)
    log.info("flags_rebuilt", shards=list(lost))
    return [f"users.{shard}" for shard in lost]


async def _fill_flags(redis: Commands, lost: dict[int, str], pages: AsyncGenerator[list[dict[str, Any]], None]) -> None:
    async with aclosing(pages):
        async for page in pages:
            shards = shards_of(page, keys.USER_SHARDS)
            found = {shard: {user["uid"]: flags_of(user) for user in shards[shard]} for shard in lost.keys() & shards}
            await fill(redis, {lost[shard]: records for shard, records in found.items()})


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
    await measure(service.store, day)
    tallies = await _write_users(service, round_, lost)
    await _write_payments(service, round_, tallies)
    await _write_packets(service, round_, tallies)
    await _write_rounds(service, round_, tallies)
    return [f"{day}.{shard}" for shard in lost]


async def _recorded(service: Service, day: date) -> Recorded:
    round_ = await find(service.store, day)
    assert round_ is not None
    return round_


async def _write_users(service: Service, round_: Recorded, lost: list[int]) -> dict[int, Tally]:
    """Records of users, while they are read; what each lost shard's add up to. Raises :class:`BooksDiffer`."""
    redis, day, shards = service.redis, round_.day, round_.rules.shards
    for shard in lost:
        await redis.delete(*keys.names(day, shard, ("members", "totals", "payments", "checking")))
    tallies = {shard: Tally(round_, shard) for shard in lost}
    names = {shard: keys.name(day, shard, "members") for shard in lost}
    done = 0
    async with aclosing(service.store.pages("rebuild_users", PAGE, day=day, uids=None)) as pages:
        async for page in pages:
            records: dict[str, dict[int, bytes]] = {}
            for shard, users in shards_of(page, shards).items():
                if shard in tallies:
                    take = tallies[shard].take
                    records[names[shard]] = {user["uid"]: take(user) for user in users}
            refuse_contradictions(day, chain.from_iterable(found.items() for found in records.values()))
            await fill(redis, records)
            done += len(page)
            progress.at("rebuild_users", done)
    return tallies


def refuse_contradictions(day: date, records: Iterable[tuple[int, bytes]]) -> None:
    """Raises :class:`BooksDiffer` for users of whom the books contradict themselves."""
    letter = INCONSISTENT.encode()
    wrong = [uid for uid, record in records if record[:1] == letter]
    if wrong:
        raise BooksDiffer(f"the books of {day} contradict themselves about users {wrong[:10]}")


async def _write_payments(service: Service, round_: Recorded, tallies: dict[int, Tally]) -> None:
    """What refused payments were answered, and which are looked into."""
    redis, day, shards = service.redis, round_.day, round_.rules.shards
    async with aclosing(service.store.pages("rebuild_payments", PAGE, day=day, order_nos=None)) as pages:
        async for page in pages:
            outcomes: dict[str, dict[str, str]] = {}
            for shard, payments in shards_of(page, shards).items():
                if shard in tallies:
                    tallies[shard].totals["refused_payments"] += len(payments)
                    name = keys.name(day, shard, "payments")
                    outcomes[name] = {payment_name(one): one["outcome"] for one in payments}
            await fill(redis, outcomes)
    async with aclosing(service.store.pages("rebuild_checking", CHUNK, day=day, uids=None)) as pages:
        async for page in pages:
            for shard, refused in shards_of(page, shards).items():
                if shard in tallies:
                    await look_into(redis, keys.name(day, shard, "checking"), looked_into(refused))


async def _write_packets(service: Service, round_: Recorded, tallies: dict[int, Tally]) -> None:
    if round_.state not in PUBLISHED_STATES:
        return
    day = round_.day
    async with aclosing(service.store.pages("packet_pieces", PIECES, day=day, piece=keys.PIECE)) as pages:
        async for page in pages:
            pipe = service.redis.pipeline(transaction=False)
            for piece in page:
                if piece["shard"] in tallies:
                    packets.write(pipe, day, piece["shard"], piece["piece"], piece["fens"].split())
            await pipe.execute()
    for shard, sums in (await published(service.store, round_)).items():
        if shard in tallies:
            tallies[shard].totals.update(sums)


async def _write_rounds(service: Service, round_: Recorded, tallies: dict[int, Tally]) -> None:
    """The totals and then, last of all, the round hashes."""
    redis, store, day = service.redis, service.store, round_.day
    closed = {one["shard"] for one in await store.all("closed_shards", day=day)}
    longer = {row["shard"]: row["extended_ms"] for row in await store.all("extended_shards", day=day)}
    drained = {row["shard"]: row["ms"] for row in await store.all("last_drained_ms", day=day)}
    kept = await store.one("count_quarantine_of", day=day) or {"total": 0}
    said = await statements.find(store, day)
    for shard, tally in tallies.items():
        name, totals = keys.names(day, shard, ("round", "totals"))
        if shard == 0:
            tally.totals["quarantined"] = kept["total"]
        if tally.totals:
            await redis.hset(totals, mapping=tally.totals)
        state = state_in_redis(round_.state, shard in closed)
        fields: list[Value] = ["state", state, "first_order_id", order_no.first_order_id(day, shard)]
        fields += ["last_number", tally.last_number, "server", ""]  # no server has this name
        fields += round_fields(round_)
        if shard in longer:
            closes_ms = windows(day, round_.rules).check_in_closes_ms + longer[shard]
            fields += ["check_in_closes_ms", closes_ms, "extended_ms", longer[shard]]
        if shard == 0 and round_.state in SPLIT_STATES and "closed" in said.texts:
            fields += stated.fields(round_, said.texts["closed"])
        if shard in drained:  # since then nobody could check in: the window becomes longer by as much
            fields += ["touched_ms", drained[shard]]
        await redis.hset(name, items=fields)
        log.info("shard_rebuilt", day=str(day), shard=shard, members=tally.totals["orders"])
    if round_.finished_at is not None:
        await service.finishing.expire_again(day, round_.rules.shards, round_.finished_at)


async def look_into(redis: Commands, checking: str, callbacks: dict[str, int]) -> None:
    """Note refused payments of unpaid orders that are not noted. Repeatable."""
    for callback, waits in callbacks.items():
        if await redis.hsetnx(checking, callback, waits):
            await redis.hincrby(checking, callback.partition(":")[0], waits)


async def fill(redis: Commands, hashes: Mapping[str, Mapping[Any, Value]]) -> None:
    """Write fields into hashes, at most :data:`CHUNK` a command, all in one go."""
    pipe = redis.pipeline(transaction=False)
    for name, fields in hashes.items():
        words = list(chain.from_iterable(fields.items()))
        for start in range(0, len(words), 2 * CHUNK):
            pipe.execute_command("HSET", name, *words[start : start + 2 * CHUNK])
    await pipe.execute()
