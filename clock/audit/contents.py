"""What Redis must hold of a round and of all users, worked out from the books."""

import struct
from collections import defaultdict
from typing import Any

import msgspec

from clock.books.partitions import measure
from clock.books.store import Store
from clock.domain import order_no
from clock.domain.rounds import PUBLISHED_STATES, State, day_number
from clock.game import keys
from clock.payments.incoming import body_sha1
from clock.rounds.recorded import Recorded

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


class Shard(msgspec.Struct):
    """What goes into one shard besides the round's rules."""

    members: dict[int, bytes]
    payments: dict[str, str]
    packets: list[int]
    totals: dict[str, int]
    packets_fen: dict[int, int] = msgspec.field(default_factory=dict)
    """What users have claimed."""
    late_uids: set[int] = msgspec.field(default_factory=set)
    checking: dict[str, int] = msgspec.field(default_factory=dict)
    """Refused payments of unpaid orders, as in :data:`clock.game.keys.NOUNS`: 1 until they are decided, then 0."""
    extended_ms: int = 0
    """By how much its check-in is longer than the rules say."""
    last_number: int = 0
    """Of the orders; the next one gets a higher one."""


def state_in_redis(state: State, closed: bool) -> str:
    """The state of a shard of a round in ``state``; ``closed``: the books have what the shard said when it closed.
    A round that was being closed when Redis was lost is closed shard by shard as its work is taken up again."""
    if state == "open":
        return "closed" if closed else "open"
    if state == "voiding":
        return "void" if closed else "open"
    return IN_REDIS[state]


async def contents_of(store: Store, round_: Recorded) -> dict[int, Shard]:
    """All shards of a round, as the books have them."""
    day, shards = round_.day, round_.rules.shards
    contents = {shard: Shard({}, {}, [], defaultdict(int)) for shard in round_.shards}
    await measure(store, day)
    async for user in store.stream("rebuild_users", day=day):
        shard = keys.shard_of(user["uid"], shards)
        _user(contents[shard], user, order_no.first_order_id(day, shard), round_.rules.stake_fen)
    async for payment in store.stream("rebuild_payments", day=day):
        content = contents[keys.shard_of(payment["uid"], shards)]
        content.payments[f"{payment['order_no']}:{payment['transaction_id']}"] = payment["outcome"]
        content.totals["refused_payments"] += 1
    async for refused in store.stream("rebuild_checking", day=day):
        checking = contents[keys.shard_of(refused["uid"], shards)].checking
        callback = f"{refused['order_no'][-order_no.TAIL :]}:{body_sha1(refused['raw'])}"
        checking[callback] = max(int(refused["waits"]), checking.get(callback, 0))
    for row in await store.all("extended_shards", day=day):
        contents[row["shard"]].extended_ms = row["extended_ms"]
    kept = await store.one("count_quarantine_of", day=day) or {"total": 0}
    contents[0].totals["quarantined"] = kept["total"]
    if round_.state in PUBLISHED_STATES:
        async for packet in store.stream("rebuild_packets", day=day):
            contents[packet["shard"]].packets.append(packet["fen"])
        for sums in await store.all("manifest_sums", day=day):
            contents[sums["shard"]].totals["published"] = sums["packets"]
            contents[sums["shard"]].totals["published_fen"] = sums["fen"]
    return contents


def packed_rank(rank: int) -> bytes:
    """A rank as the scripts write it: MessagePack's number of four bytes, always; 0 until check-in."""
    return struct.pack(">BI", 0xCE, rank)


def _user(shard: Shard, user: dict[str, Any], first_order_id: int, stake_fen: int) -> None:
    """A user's record, as the scripts' prelude describes it, and what it adds to the totals."""
    number, totals = user["order_id"] - first_order_id, shard.totals
    record = pack(user["order_no"][-order_no.TAIL :]) + pack(number) + pack(user["open_id"])
    state = "O"
    if user["late"] is not None:
        state = "L" if user["late"] else "M"
        record += pack(user["transaction_id"]) + packed_rank(user["rank"] or 0)
        totals["members"] += 1
        totals["pool_fen"] += stake_fen
        totals["late"] += int(user["late"])
        if user["late"]:
            shard.late_uids.add(user["uid"])
    if user["rank"] is not None:
        state = "C"
        totals["winners"] += 1
    if user["packet_fen"] is not None:
        state = "P"
        shard.packets_fen[user["uid"]] = user["packet_fen"]
        totals["claimed"] += 1
        totals["claimed_fen"] += user["packet_fen"]
    if (state == "P" and user["rank"] is None) or (state in "CP" and user["late"] is None):
        state = INCONSISTENT
    totals["orders"] += 1
    shard.last_number = max(shard.last_number, number)
    shard.members[user["uid"]] = state.encode() + record


def flags_of(user: dict[str, Any]) -> str:
    """A user's record, as ``lua/flags.lua`` describes it."""
    last, acked = user["last_day"], user["acked_day"]
    alert = last is not None and (acked is None or acked < last)
    latest = max((day for day in (last, acked) if day is not None), default=None)
    return f"{int(user['remind'])}{int(alert)}{'' if latest is None else day_number(latest)}"
