"""What a crowd's day leaves in the stream, and the tables that must come of it."""

import base64
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec

from clock.game import keys
from clock.service import Service
from tests.conftest import DAY, at

STREAM = keys.name(DAY, 0, "outbox")
POSITION = keys.name(DAY, 0, "position")
SHARD = 0

COLUMNS = {
    "orders": "uid order_no order_id amount_fen open_id at_ms",
    "payments": "order_no transaction_id uid amount_fen paid_at_ms at_ms outcome raw",
    "members": "uid stake_fen late at_ms",
    "check_ins": "uid at_ms rank",
    "claims": 'uid shard "index" packet_fen stake_fen "by" at_ms',
    "refunds": "order_no transaction_id refund_no uid amount_fen reason at_ms",
    "quarantine": "at_ms channel reason order_no raw",
    "closings": "shard at_ms why members winners late pool_fen",
    "profiles": "uid open_id mobile nickname at_ms",
}

Entry = list[Any]
Tables = dict[str, set[tuple[Any, ...]]]


@dataclass(frozen=True)
class Person:
    """What one user's day leaves in the stream."""

    outcomes: tuple[str, ...] = ("paid",)
    """What became of each payment."""
    wakes: bool = True
    packet_fen: int | None = 7
    """Claimed, unless ``None``."""
    by: str = "user"
    nickname: str = "早"
    raw: str = "{}"


def ordered(uid: int, person: Person) -> list[Any]:
    return [uid, f"N{uid}", 1000 + uid, 100, f"open-{uid}", f"138{uid:08}", person.nickname]


def payments(uid: int, person: Person) -> list[list[Any]]:
    return [
        [uid, f"N{uid}", f"T{n}", 100, at("20:00"), outcome, "platform", person.raw]
        for n, outcome in enumerate(person.outcomes)
    ]


def chunks(rows: list[Any], size: int) -> list[list[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def entries_of(people: list[Person], size: int) -> list[Entry]:
    """The entries of a round in which these people took part; ``size`` users to an entry."""
    named = list(enumerate(people, 1))
    moment = iter(range(at("20:00"), at("24:00")))
    entries: list[Entry] = []
    for rows in chunks([ordered(uid, person) for uid, person in named], size):
        entries.append(["ordered", next(moment), rows])
    for rows in chunks([row for uid, person in named for row in payments(uid, person)], size):
        entries.append(["payment", next(moment), rows])
    awake = [(uid, person) for uid, person in named if person.wakes and {*person.outcomes} & {"paid", "paid_late"}]
    for start in range(0, len(awake), size):
        entries.append(["checked_in", next(moment), start + 1, [uid for uid, _ in awake[start : start + size]]])
    members = sum(len({*p.outcomes} & {"paid", "paid_late"}) for p in people)
    late = sum("paid_late" in person.outcomes for person in people)
    entries.append(["closed", next(moment), "settle", members, len(awake), late, members * 100])
    claimed = [(uid, person) for uid, person in awake if person.packet_fen is not None]
    for index, (uid, person) in enumerate(claimed):
        entries.append(["claimed", next(moment), person.by, 100, index, [uid], [person.packet_fen]])
    for uid, person in named:
        raw = base64.b64encode(f"{uid}{person.raw}".encode()).decode()
        entries.append(["quarantined", next(moment), [["platform", "buyer_mismatch", f"N{uid}", raw]]])
    entries.append(["profiled", next(moment), [[uid, "", f"139{uid:08}", ""] for uid, _ in named[:2]]])
    return entries


def expected_tables(entries: list[Entry]) -> Tables:
    """What the entries mean, read anew from ``lua/``."""
    tables: Tables = defaultdict(set)
    profiles: dict[int, tuple[Any, ...]] = {}
    for kind, at_ms, *rest in entries:
        if kind == "ordered":
            for uid, number, order_id, amount, open_id, mobile, nickname in rest[0]:
                tables["orders"].add((uid, number, order_id, amount, open_id, at_ms))
                profiles[uid] = (uid, open_id, mobile, nickname, at_ms)
        elif kind == "payment":
            for uid, number, transaction, amount, paid_at, outcome, _, raw in rest[0]:
                tables["payments"].add((number, transaction, uid, amount, paid_at, at_ms, outcome, raw))
                if outcome in ("paid", "paid_late"):
                    tables["members"].add((uid, amount, outcome == "paid_late", at_ms))
                else:
                    digest = hashlib.sha256(f"{number}:{transaction}".encode()).hexdigest()
                    tables["refunds"].add((number, transaction, "R" + digest[:31], uid, amount, outcome, at_ms))
        elif kind == "checked_in":
            first, uids = rest
            tables["check_ins"] |= {(uid, at_ms, first + n) for n, uid in enumerate(uids)}
        elif kind == "claimed":
            by, stake, first, uids, packets = rest
            for n, (uid, fen) in enumerate(zip(uids, packets, strict=True)):
                tables["claims"].add((uid, SHARD, first + n, fen, stake, by, at_ms))
        elif kind == "quarantined":
            tables["quarantine"] |= {(at_ms, c, why, number, base64.b64decode(raw)) for c, why, number, raw in rest[0]}
        elif kind == "closed":
            tables["closings"].add((SHARD, at_ms, *rest))
        else:
            for uid, _, mobile, _ in rest[0]:
                profiles[uid] = (uid, profiles[uid][1], mobile, profiles[uid][3], at_ms)
    tables["profiles"] = set(profiles.values())
    return tables


async def read_tables(service: Service) -> Tables:
    found: Tables = defaultdict(set)
    async with service.store.transaction() as connection:
        for table, columns in COLUMNS.items():
            query = f"SELECT {', '.join(columns.split())} FROM {table}"
            rows = await (await connection.execute(query.encode())).fetchall()
            if rows:
                found[table] = {tuple(row.values()) for row in rows}
                assert len(found[table]) == len(rows)
    return found


async def add(service: Service, entries: list[Entry], stream: str = STREAM) -> None:
    for entry in entries:
        await server(service).xadd(stream, {"e": msgspec.msgpack.encode(entry)})


def server(service: Service) -> Any:
    """Its client of Redis, whose stubs do not know all of its types."""
    return service.redis


def same(real: Tables, expected: Tables) -> None:
    for table in COLUMNS:
        assert real.get(table, set()) == expected.get(table, set()), table


def crowd(size: int) -> list[Person]:
    return [Person(outcomes=("paid",) if n % 3 else ("refund_late", "paid_late"), packet_fen=n) for n in range(size)]
