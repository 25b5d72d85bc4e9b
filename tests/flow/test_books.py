"""From the outbox to the tables: what the stream said, all of it, once, whoever dies on the way."""

import asyncio
import base64
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import hypothesis
import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from clock.books import outbox
from clock.books.entries import write as write_entries
from clock.books.store import rows as run_query
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.domain.shapes import Extra, PaymentCallback
from clock.game import keys
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY, at
from tests.model.world import arrived, forgetful, new_world, service_with

STREAM = keys.name(DAY, 0, "outbox")
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


def fail_on(monkeypatch: pytest.MonkeyPatch, service: Service, *commands: str) -> None:
    """The connection breaks when one of these commands is sent."""
    real = server(service).execute_command

    async def execute_command(*args: Any, **options: Any) -> Any:
        if args[0] in commands:
            raise ConnectionError("cut on purpose")
        return await real(*args, **options)

    monkeypatch.setattr(service.redis, "execute_command", execute_command)


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[Service]:
    """A process with the round of :data:`DAY` open."""
    async with new_world(settings, shards=2) as service:
        await service.opener.open_round(DAY)
        yield service


people = st.builds(
    Person,
    outcomes=st.sampled_from(
        [
            (),
            ("paid",),
            ("paid_late",),
            ("paid", "refund_second"),
            ("refund_late", "paid"),
            ("refund_closed",),
            ("refund_void", "refund_void"),
        ]
    ),
    wakes=st.booleans(),
    packet_fen=st.none() | st.integers(0, 10**12),
    by=st.sampled_from(["user", "system"]),
    nickname=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
    raw=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
)


@hypothesis.settings(
    max_examples=20, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(people=st.lists(people, max_size=12), size=st.integers(1, 5))
async def test_the_tables_hold_exactly_what_the_stream_said(
    settings: Settings, people: list[Person], size: int
) -> None:
    async with forgetful(settings), new_world(settings) as service:
        await service.opener.open_round(DAY)
        entries = entries_of(people, size)
        await add(service, entries)
        assert await outbox.drain(service.store, service.redis, DAY, SHARD) == len(entries)
        same(await read_tables(service), expected_tables(entries))
        assert await service.redis.xlen(STREAM) == 0


async def money(service: Service) -> dict[str, list[tuple[Any, ...]]]:
    """What follows from the rows of the books."""
    queries = {
        "transfers": "SELECT kind, cause, uid, from_account, to_account, amount_fen FROM transfers ORDER BY 1, 2",
        "outgoing": "SELECT no, kind, uid, amount_fen FROM outgoing ORDER BY 1",
        "steps": "SELECT step, sum(count)::int FROM steps GROUP BY 1 ORDER BY 1",
    }
    async with service.store.transaction() as connection:
        return {
            name: [tuple(row.values()) for row in await (await connection.execute(query.encode())).fetchall()]
            for name, query in queries.items()
        }


async def test_what_follows_from_a_row_happens_once_beside_rows_that_are_new(process: Service) -> None:
    """Entries that come again share a transaction with entries that nobody has read."""
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    once = await money(process)
    # 9 stakes, 3 unwanted payments, 9 stakes back, 8 packets (one has 0 fen), 9 payouts; 9 payouts and 3 refunds.
    assert {name: len(found) for name, found in once.items()} == {"transfers": 38, "outgoing": 12, "steps": 4}
    fresh = [
        ["payment", at("22:00"), payments(77, Person())],
        ["checked_in", at("22:00"), 78, [77]],
        ["claimed", at("22:00"), "user", 100, 77, [77], [3]],
    ]
    await add(process, entries + fresh)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    after = await money(process)
    added = {name: sorted(set(after[name]) - set(once[name])) for name in ("transfers", "outgoing")}
    assert [(kind, fen) for kind, _, _, _, _, fen in added["transfers"]] == [
        ("packet", 3),
        ("payout", 103),
        ("stake", 100),
        ("stake_back", 100),
    ]
    assert added["outgoing"] == [(f"P{DAY:%Y%m%d}77", "payout", 77, 103)]
    assert [len(after[name]) - len(once[name]) for name in ("transfers", "outgoing")] == [4, 1]
    steps = dict(once["steps"])
    assert dict(after["steps"]) == steps | {step: steps[step] + 1 for step in ("paid", "checked_in", "claimed")}


async def test_a_packet_that_two_users_claim_is_paid_to_the_first(process: Service) -> None:
    """Redis has lost a claim and given its packet again: the books keep what they have, and reconciling will say it."""
    claims: list[Entry] = [["claimed", at("22:00", n), "user", 100, 0, [uid], [5]] for n, uid in enumerate((1, 2))]
    await add(process, claims)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    found = await money(process)
    assert {row[2] for row in found["transfers"]} == {1} and len(found["transfers"]) == 3
    assert found["outgoing"] == [(f"P{DAY:%Y%m%d}1", "payout", 1, 105)]


async def test_a_payment_that_counted_is_not_given_back_because_redis_forgot_it(process: Service) -> None:
    """Redis has fallen behind the books, and says of a callback that comes again that it came too late."""
    again = Person(outcomes=("refund_closed",))
    await add(process, [["payment", at("20:00"), payments(1, Person())]])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    before = await money(process)
    await add(process, [["payment", at("22:00"), payments(1, again) + payments(2, again)]])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    after = await money(process)
    assert [row[:3] for row in set(after["transfers"]) - set(before["transfers"])] == [("unwanted", "N2:T0", 2)]
    assert [(kind, uid) for _, kind, uid, _ in after["outgoing"]] == [("refund", 2)]


async def test_a_long_stream_is_carried_over_in_several_transactions(process: Service) -> None:
    entries = entries_of(crowd(250), 1)
    await add(process, entries)
    assert len(entries) > 4 * outbox.ENTRIES_AT_ONCE
    assert await outbox.drain_some(process.store, process.redis, DAY, SHARD) == outbox.ENTRIES_AT_ONCE
    assert await process.redis.xlen(STREAM) == len(entries) - outbox.ENTRIES_AT_ONCE
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


async def test_what_was_committed_but_not_trimmed_is_written_once(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    with monkeypatch.context() as patch:
        fail_on(patch, process, "XTRIM", "XDEL")
        with pytest.raises(ConnectionError):
            await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert await process.redis.xlen(STREAM) == len(entries)
    same(await read_tables(process), expected_tables(entries))
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))
    assert await process.redis.xlen(STREAM) == 0


async def test_entries_that_come_again_under_new_numbers_change_nothing(process: Service) -> None:
    entries = entries_of(crowd(9), 4)
    for _ in range(2):
        await add(process, entries)
        await outbox.drain(process.store, process.redis, DAY, SHARD)
        same(await read_tables(process), expected_tables(entries))


@pytest.mark.parametrize("moment", ["after the rows", "before the commit", "the server ends the session"])
async def test_a_crash_before_the_commit_trims_nothing_and_loses_nothing(
    process: Service, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    with monkeypatch.context() as patch:
        crash_at(patch, moment)
        with pytest.raises((RuntimeError, Unavailable)):
            await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert await process.redis.xlen(STREAM) == len(entries)
    same(await read_tables(process), {})
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


def crash_at(patch: pytest.MonkeyPatch, moment: str) -> None:
    async def crashing_write(connection: Any, *args: Any) -> None:
        await write_entries(connection, *args)
        if moment == "after the rows":
            raise RuntimeError(moment)
        if moment == "the server ends the session":
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def crashing_rows(connection: Any, query: str, **parameters: object) -> Any:
        found = await run_query(connection, query, **parameters)
        if moment == "before the commit" and query == "save_position":
            raise RuntimeError(moment)
        return found

    patch.setattr("clock.books.entries.write", crashing_write)
    patch.setattr(outbox, "rows", crashing_rows)


async def test_nothing_leaves_the_stream_before_its_transaction_is_committed(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at from outside, at every command that the drainer sends: an entry is in the stream or in the books."""
    entries = entries_of(crowd(6), 3)
    await add(process, entries)
    real, watched = server(process).execute_command, 0

    async def execute_command(*args: Any, **options: Any) -> Any:
        nonlocal watched
        reply = await real(*args, **options)
        if not await real("XLEN", STREAM):
            watched += 1
            same(await read_tables(process), expected_tables(entries))
        return reply

    monkeypatch.setattr(process.redis, "execute_command", execute_command)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert watched


async def test_while_one_process_drains_a_shard_another_leaves_it_alone(
    process: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, write = entries_of(crowd(9), 4), write_entries
    reached, go_on = asyncio.Event(), asyncio.Event()
    await add(process, entries)

    async def slow_write(*args: Any) -> None:
        reached.set()
        await go_on.wait()
        await write(*args)

    monkeypatch.setattr("clock.books.entries.write", slow_write)
    async with service_with(settings) as other:
        first = asyncio.create_task(outbox.drain(process.store, process.redis, DAY, SHARD))
        await reached.wait()
        async with asyncio.timeout(20):  # without the lease it would write, and wait as the first one does
            assert await outbox.drain_some(other.store, other.redis, DAY, SHARD) is None
        assert await other.redis.xlen(STREAM) == len(entries)
        go_on.set()
        assert await first == len(entries)
    same(await read_tables(process), expected_tables(entries))


async def test_many_drainers_and_a_writer_at_once_lose_nothing(process: Service, settings: Settings) -> None:
    entries, writing = entries_of(crowd(60), 1), True

    async def keep_draining(service: Service) -> None:
        while writing or await service.redis.xlen(STREAM):
            await outbox.drain(service.store, service.redis, DAY, SHARD)
            await asyncio.sleep(0)

    async with service_with(settings) as other:
        drainers = [asyncio.create_task(keep_draining(service)) for service in (process, other, process)]
        await add(process, entries)
        writing = False
        await asyncio.gather(*drainers)
    same(await read_tables(process), expected_tables(entries))


async def test_an_entry_numbered_below_the_stored_position_is_not_lost(process: Service) -> None:
    """A promoted replica whose clock is behind numbers its entries anew."""
    entries = entries_of(crowd(9), 4)
    await add(process, entries[:3])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    await server(process).delete(STREAM)
    for number, entry in enumerate(entries[3:], 1):
        await server(process).xadd(STREAM, {"e": msgspec.msgpack.encode(entry)}, id=f"1-{number}")
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))
    assert await process.redis.xlen(STREAM) == 0


async def test_only_what_was_read_is_trimmed(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica is promoted between the commit and the trim, and has numbered a new entry below what is trimmed."""
    entries = entries_of(crowd(2), 9)
    await add(process, entries[:-1])
    real, promoted = server(process).execute_command, False

    async def execute_command(*args: Any, **options: Any) -> Any:
        nonlocal promoted
        if args[0] in ("XTRIM", "XDEL") and not promoted:
            promoted = True
            await real("DEL", STREAM)
            await real("XADD", STREAM, "1-1", "e", msgspec.msgpack.encode(entries[-1]))
        return await real(*args, **options)

    monkeypatch.setattr(process.redis, "execute_command", execute_command)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


POISON = {
    "not MessagePack": b"\xc1",
    "an event that nobody knows": msgspec.msgpack.encode(["invented", 1, []]),
    "a field too few": msgspec.msgpack.encode(["checked_in", 1, 1]),
    "a word that the rules do not have": msgspec.msgpack.encode(["claimed", 1, "nobody", 100, 0, [1], [1]]),
    "a packet below zero": msgspec.msgpack.encode(["claimed", 1, "user", 100, 0, [1], [-1]]),
    "text that Postgres cannot hold": msgspec.msgpack.encode(["profiled", 1, [[10**6, "\0", "", ""]]]),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
async def test_an_entry_that_cannot_be_read_stops_its_shard_loudly_and_loses_nothing(
    process: Service, poison: bytes
) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries[:3])
    entry_id = await server(process).xadd(STREAM, {"e": poison})
    await add(process, entries[3:])
    for _ in range(2):
        with pytest.raises((ValueError, psycopg.DataError, psycopg.IntegrityError)):
            await outbox.drain(process.store, process.redis, DAY, SHARD)
        assert await process.redis.xlen(STREAM) == len(entries) + 1
    await server(process).xdel(STREAM, entry_id)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


async def test_an_entry_that_cannot_be_read_does_not_stop_the_other_shards(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.05)
    await server(process).xadd(STREAM, {"e": b"\xc1"})
    await add(process, [["checked_in", at("05:00", 1), 1, [1]]], keys.name(DAY, 1, "outbox"))
    with suppress(Exception):
        await worker.drain({"service": process})
    assert (await read_tables(process))["check_ins"] == {(1, at("05:00", 1), 1)}
    assert await process.redis.xlen(STREAM) == 1


async def test_a_payment_whose_body_is_not_utf_8_reaches_the_books(process: Service) -> None:
    """Text in a field that nobody reads may be in another encoding; the parser does not look at it."""
    process.time.stop_at(at("20:00"))
    extra = Extra(mobile="13800000007", nickname="早", openId="open-7")
    number = (await process.verbs.join(7, extra, arrived())).data["order_no"].encode()
    paid = b'"amount": 100, "buyerId": "open-7", "transactionId": "T7"'
    raw = b'{"order_no": "%s", "extra": {%s, "memo": "%s"}}' % (number, paid, "你好".encode("gb18030"))
    callback = msgspec.json.decode(raw, type=PaymentCallback)
    assert (await process.incoming.pay(callback, "platform", raw, arrived())).word == "paid"
    for shard in range(2):
        await outbox.drain(process.store, process.redis, DAY, shard)
    assert [row[0] for row in (await read_tables(process))["members"]] == [7]
