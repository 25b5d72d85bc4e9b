"""What Redis must hold of a round and of all users, worked out from the books."""

import struct
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import msgspec

from clock.books.partitions import measure
from clock.books.store import Store
from clock.domain import order_no
from clock.domain.rounds import PUBLISHED_STATES, State, day_number
from clock.game import keys
from clock.payments.incoming import body_sha1
from clock.rounds.recorded import Recorded

_pack = msgspec.msgpack.Encoder().encode

IN_REDIS = {
    "closed": "closed",
    "sealed": "closed",
    "split": "closed",
    "published": "closed",
    "settled": "settled",
    "finished": "finished",
    "void": "void",
}
"""The state in Redis for each in Postgres in which all shards are in one."""

INCONSISTENT = "?"
"""The state of a user of whom the books contradict themselves: a check-in without a stake, a claim without either."""


STAGES = {b"O": 1, b"M": 2, b"L": 2, b"C": 3, b"P": 4}
"""How far a user is, by the first byte of the record: ordered, member, checked in, claimed; 0 is nothing."""


class Tally:
    """What a shard's users add up to, while they are read."""

    def __init__(self, round_: Recorded, shard: int) -> None:
        self._stake_fen = round_.rules.stake_fen
        self._first_order_id = order_no.first_order_id(round_.day, shard)
        self.totals: dict[str, int] = defaultdict(int)
        self.last_number = 0
        """Of the orders; the next one gets a higher one."""

    def take(self, user: dict[str, Any]) -> bytes:
        """A row of ``rebuild_users``, once; the user's record."""
        number, totals = user["order_id"] - self._first_order_id, self.totals
        totals["orders"] += 1
        if number > self.last_number:
            self.last_number = number
        if user["late"] is not None:
            totals["members"] += 1
            totals["pool_fen"] += self._stake_fen
            totals["late"] += user["late"]
        if user["rank"] is not None:
            totals["winners"] += 1
        if user["packet_fen"] is not None:
            totals["claimed"] += 1
            totals["claimed_fen"] += user["packet_fen"]
        return record_of(user, number)


class Shard(msgspec.Struct):
    """All that goes into one shard besides the round's rules."""

    tally: Tally
    members: dict[int, bytes]
    payments: dict[str, str]
    packets: list[int]
    packets_fen: dict[int, int] = msgspec.field(default_factory=dict)
    """What users have claimed."""
    late_uids: set[int] = msgspec.field(default_factory=set)
    checking: dict[str, int] = msgspec.field(default_factory=dict)
    """Refused payments of unpaid orders, as in :data:`clock.game.keys.NOUNS`: 1 until they are decided, then 0."""
    extended_ms: int = 0
    """By how much its check-in is longer than the rules say."""


def state_in_redis(state: State, closed: bool) -> str:
    """The state of a shard of a round in ``state``; ``closed``: the books have what the shard said when it closed.
    A round that was being closed when Redis was lost is closed shard by shard as its work is taken up again."""
    if state == "open":
        return "closed" if closed else "open"
    if state == "voiding":
        return "void" if closed else "open"
    return IN_REDIS[state]


async def contents_of(store: Store, round_: Recorded) -> dict[int, Shard]:
    """All of a round, as the books have it, in memory: for mending alone, which compares and corrects it in turns."""
    day, shards = round_.day, round_.rules.shards
    contents = {shard: Shard(Tally(round_, shard), {}, {}, []) for shard in round_.shards}
    await measure(store, day)
    async for user in store.stream("rebuild_users", day=day, uids=None):
        uid = user["uid"]
        content = contents[keys.shard_of(uid, shards)]
        content.members[uid] = content.tally.take(user)
        if user["late"]:
            content.late_uids.add(uid)
        if user["packet_fen"] is not None:
            content.packets_fen[uid] = user["packet_fen"]
    async for payment in store.stream("rebuild_payments", day=day, order_nos=None):
        content = contents[keys.shard_of(payment["uid"], shards)]
        content.payments[payment_name(payment)] = payment["outcome"]
    for shard, refused in shards_of(await store.all("rebuild_checking", day=day, uids=None), shards).items():
        contents[shard].checking = looked_into(refused)
    for row in await store.all("extended_shards", day=day):
        contents[row["shard"]].extended_ms = row["extended_ms"]
    if round_.state in PUBLISHED_STATES:
        async for piece in store.stream("packet_pieces", day=day, piece=keys.PIECE):
            contents[piece["shard"]].packets += map(int, piece["fens"].split())
        for shard, sums in (await published(store, round_)).items():
            contents[shard].tally.totals.update(sums)
    return contents


async def published(store: Store, round_: Recorded) -> dict[int, dict[str, int]]:
    """What each shard counts of the packets that it has been given."""
    found = await store.all("manifest_sums", day=round_.day)
    return {row["shard"]: {"published": row["packets"], "published_fen": row["fen"]} for row in found}


def payment_name(payment: dict[str, Any]) -> str:
    """The field of a refused payment, a row of ``rebuild_payments``."""
    return f"{payment['order_no']}:{payment['transaction_id']}"


def looked_into(refused: Collection[dict[str, Any]]) -> dict[str, int]:
    """The fields of callbacks that are looked into, rows of ``rebuild_checking``. Bodies that differ in unreadable
    bytes alone have one field."""
    found: dict[str, int] = {}
    for row in refused:
        callback = f"{order_no.tail_of(row['order_no'])}:{body_sha1(row['raw'])}"
        found[callback] = max(int(row["waits"]), found.get(callback, 0))
    return found


def stage_of(record: bytes | None) -> int:
    """How far a user is in a round."""
    return STAGES.get(record[:1], 0) if record else 0


def packed_rank(rank: int) -> bytes:
    """A rank as the scripts write it: MessagePack's number of four bytes, always; 0 until check-in."""
    return struct.pack(">BI", 0xCE, rank)


def record_of(user: dict[str, Any], number: int) -> bytes:
    """A user's record, as the scripts' prelude describes it; ``number`` is the order's within its shard."""
    tail, open_id, rank, late = order_no.tail_of(user["order_no"]), user["open_id"], user["rank"], user["late"]
    claimed = user["packet_fen"] is not None
    if late is None:
        letter = b"O" if rank is None and not claimed else INCONSISTENT.encode()
        return letter + _pack((tail, number, open_id))[1:]
    if rank is None:
        letter = INCONSISTENT.encode() if claimed else b"L" if late else b"M"
    else:
        letter = b"P" if claimed else b"C"
    return letter + _pack((tail, number, open_id, user["transaction_id"]))[1:] + packed_rank(rank or 0)


def shards_of(rows: Collection[dict[str, Any]], shards: int) -> dict[int, list[dict[str, Any]]]:
    """Rows of users by their shard."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[keys.shard_of(row["uid"], shards)].append(row)
    return found


def flags_of(user: dict[str, Any]) -> str:
    """A user's record, as ``lua/flags.lua`` describes it."""
    last, acked = user["last_day"], user["acked_day"]
    alert = last is not None and (acked is None or acked < last)
    latest = max((day for day in (last, acked) if day is not None), default=None)
    return f"{int(user['remind'])}{int(alert)}{'' if latest is None else day_number(latest)}"
