"""A large round is reconciled and rebuilt in memory that its size does not change, and everything is still found."""

import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.million import FIRST_UID, provider, write_bill, write_day
from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import reconcile
from clock.audit.report import Report
from clock.books import outbox
from clock.config import Settings
from clock.domain import order_no, progress
from clock.game import keys
from clock.game.client.calls import call
from clock.game.scripts import Value, load, of_users
from clock.runtime.ports import free_port
from clock.service import Service
from tests.conftest import DAY, Servers, at
from tests.flow.stage import People, one_database
from tests.model.world import new_world
from tests.raw import raw

pytestmark = pytest.mark.long

MEMBERS = 20_000
FEW = 5_000
DAY_BEFORE = DAY - timedelta(days=1)
SHARDS = 2


@dataclass
class Crowd:
    """Two days that are over, of :data:`FEW` members and of :data:`MEMBERS`, in the books and in Redis; ``bill``
    is the provider's of the second."""

    people: People
    bill: Path
    lines: int

    @property
    def service(self) -> Service:
        return self.people.service

    async def uids(self, rows: str, count: int, shard: int) -> list[int]:
        """The first users of these rows who are in the shard."""
        found = await self.people.rows(f"SELECT DISTINCT uid FROM {rows} ORDER BY uid")
        return [row["uid"] for row in found if keys.shard_of(row["uid"], SHARDS) == shard][:count]


@asynccontextmanager
async def crowd(settings: Settings, folder: Path) -> AsyncIterator[Crowd]:
    port, bill = free_port(), folder / "bill.json"
    async with (
        new_world(settings, shards=SHARDS, platform_url=f"http://127.0.0.1:{port}") as service,
        provider({str(DAY_BEFORE): folder / "before.json", str(DAY): bill}, port),
    ):
        people = People(service)
        for day, members in ((DAY_BEFORE, FEW), (DAY, MEMBERS)):
            async with service.store.transaction() as connection:
                await write_day(service, connection, day, members)
        async with service.store.transaction() as connection:
            await write_bill(connection, DAY_BEFORE, folder / "before.json")
            lines = await write_bill(connection, DAY, bill)
        await raw(service.redis).flushall()
        assert len(await rebuild_lost(service)) == 2 * SHARDS
        people.it_is("12:00", 1)
        yield Crowd(people, bill, lines)


async def report_of(service: Service, day: Any) -> Report:
    report = await reconcile(service, day)
    assert report is not None
    return report


# -- what differs


async def planted(played: Crowd) -> set[tuple[str, str]]:
    """One of each kind of difference; users' in shard 0, so that what they add up to is compared in shard 1. What must
    be named, and nothing else."""
    people, redis = played.people, raw(played.service.redis)
    members = [keys.name(DAY, shard, "members") for shard in range(SHARDS)]
    sleeping = f"members WHERE day = '{DAY}' AND uid > {FIRST_UID + MEMBERS * 9 // 10}"
    ordered = f"orders WHERE day = '{DAY}' AND uid > {FIRST_UID + MEMBERS}"
    [sleeper], [unpaid] = await played.uids(sleeping, 1, 0), await played.uids(ordered, 1, 0)
    awake, gone, ranked = await played.uids(f"check_ins WHERE day = '{DAY}'", 3, 0)
    # users, in Redis and in the books
    await people.tamper("DELETE FROM members WHERE day = %s AND uid = %s", DAY, sleeper)
    records = {uid: await redis.hget(members[0], uid) or b"" for uid in (awake, ranked, unpaid)}
    await redis.hset(members[0], awake, b"M" + records[awake][1:])
    assert await redis.hdel(members[0], str(gone)) == 1
    await redis.hset(members[0], ranked, records[ranked][:-1] + b"\xff")
    await redis.hset(members[0], 99, b"M")
    await redis.hset(members[0], unpaid, b"M" + records[unpaid][1:])
    users = {("user_state", f"user {uid}") for uid in (sleeper, awake, gone, ranked, unpaid, 99)}
    # refused payments: one that Redis has forgotten, one that it alone has, so that it has as many as it should
    payments = keys.name(DAY, 1, "payments")
    refused = (await redis.hkeys(payments))[7].decode()
    await redis.hdel(payments, refused)
    await redis.hset(payments, "TTCnobody:T1", "refund_late")
    refusals = {("payment_refused", refused), ("payment_refused", "TTCnobody:T1")}
    # totals and packets
    await redis.hincrby(keys.name(DAY, 1, "totals"), "late", 1)
    await redis.lset(keys.piece(keys.name(DAY, 1, "packets"), 3), 5, 99_999)
    memory = {("total", "late of shard 1"), ("packets", "shard 1")}
    return users | refusals | memory | await in_the_ledger(played) | await at_the_provider(played)


async def in_the_ledger(played: Crowd) -> set[tuple[str, str]]:
    people = played.people
    of_day = "FROM transfers WHERE day = %s AND kind"
    moved, kept, stray, unqueued, other = await played.uids(f"claims WHERE day = '{DAY}'", 5, 1)
    numbers = {uid: f"P{DAY:%Y%m%d}{uid}" for uid in (moved, kept, stray, unqueued, other)}
    await people.tamper(
        "UPDATE transfers SET amount_fen = amount_fen + 1 WHERE day = %s AND kind = 'packet' AND uid = %s", DAY, moved
    )
    await people.tamper(f"DELETE {of_day} = 'payout_sent' AND cause = %s", DAY, numbers[kept])
    await people.tamper(
        f"INSERT INTO transfers SELECT day, kind, '4', 4, from_account, 'user:4', 1, at_ms {of_day} = 'packet'"
        " AND uid = %s",
        DAY,
        stray,
    )
    await people.tamper("DELETE FROM outgoing WHERE no = %s", numbers[unqueued])
    await people.tamper(f"DELETE {of_day} = 'payout_sent' AND cause = %s", DAY, numbers[unqueued])
    await people.tamper("UPDATE claims SET packet_fen = packet_fen + 1 WHERE day = %s AND uid = %s", DAY, other)
    await people.tamper("UPDATE rounds SET fee_fen = 1 WHERE day = %s", DAY)
    return {
        *(("ledger_packet", str(cause)) for cause in (moved, 4, other)),
        ("ledger_payout", str(other)),
        ("ledger_payout_sent", numbers[kept]),
        *(("queue", numbers[uid]) for uid in (unqueued, other)),
        ("movement_not_as_billed", numbers[unqueued]),
        ("claim_not_in_manifest", f"user {other}"),
        ("total", "claimed_fen of shard 1"),
        ("ledger_fee", "settlement"),
        ("pool_not_empty", f"pool:{DAY}"),
    }


async def at_the_provider(played: Crowd) -> set[tuple[str, str]]:
    """The bill has a line more and a line less, and some have another sum."""
    head, *lines, tail = played.bill.read_bytes().split(b"\n")
    payments = [place for place, line in enumerate(lines) if b'"payment"' in line]
    payouts = [place for place, line in enumerate(lines) if b'"transfer"' in line]
    missing, changed, twice, unpaid = payments[100], payments[200], payouts[300], payouts[400]
    said = [msgspec.json.decode(line.strip(b",")) for line in lines]
    more = {**said[changed], "amount_fen": 1}
    unheard = {**said[changed], "no": "T-unheard", "order_no": said[missing]["order_no"]}
    unknown = {
        "kind": "refund",
        "no": "R" + 31 * "f",
        "order_no": said[missing]["order_no"],
        "amount_fen": 1,
        "at_ms": 0,
    }
    played.bill.write_bytes(
        b"\n".join(
            [
                head,
                *(line for place, line in enumerate(lines) if place not in (missing, changed, unpaid)),
                *(b"," + msgspec.json.encode(one) for one in (said[twice], more, unheard, unknown)),
                tail,
            ]
        )
    )
    return {
        ("payment_not_billed", f"order {said[missing]['order_no']}"),
        ("payment_amount", f"order {said[changed]['order_no']}"),
        ("payment_unheard", f"order {said[missing]['order_no']}"),
        ("payout_not_as_billed", said[twice]["no"]),
        ("payout_not_as_billed", said[unpaid]["no"]),
        ("movement_not_as_billed", "R" + 31 * "f"),
    }


@pytest.mark.usefixtures("thrifty")
async def test_many_take_no_more_memory_than_few_and_one_of_each_difference_is_found(
    servers: Servers, tmp_path: Path
) -> None:
    async with one_database(servers, tmp_path) as settings, crowd(settings, tmp_path) as played:
        peaks = []
        for day in (DAY_BEFORE, DAY):
            said: dict[str, int] = {}
            with progress.heard(lambda step, done, _, said=said: said.update({step: done})):  # type: ignore[misc]
                tracemalloc.start()
                report = await report_of(played.service, day)
                peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
                tracemalloc.stop()
            assert (report.differences, report.mended) == ([], [])
        assert report.bill_lines == played.lines == MEMBERS + MEMBERS * 9 // 10 + 2 * MEMBERS // 100
        parts = ("bill", "members", "payments", "ledger", "accounts", "packets")
        assert said.keys() == {f"reconcile_{part}" for part in parts}
        assert said["reconcile_members"] == MEMBERS * 21 // 20
        assert peaks[1] < peaks[0] + 2.5, peaks

        expected = await planted(played)
        report = await report_of(played.service, DAY)
        found = {(one.what, one.subject) for one in report.differences}
        assert found == expected, (found - expected, expected - found)
        assert len(report.differences) == len(found)
        assert report.mended == []


# -- a rebuild


VECTOR = 500
PLAYERS = 20_000


async def ask(service: Service, verb: str, uids: Sequence[int], now_ms: int, row: Any, fixed: Any = ()) -> set[Any]:
    """A verb of many users, as the batcher sends it; the words, or ranks."""
    script, words = load(verb), set()
    for shard in range(SHARDS):
        names = keys.names(DAY, shard, script.nouns)
        clock: list[Value] = [f"={now_ms}", *((now_ms, 5_000) if "expected_ms" in script.fixed else ())]
        mine = [uid for uid in uids if keys.shard_of(uid, SHARDS) == shard]
        for start in range(0, len(mine), VECTOR):
            users = [row(uid, shard) for uid in mine[start : start + VECTOR]]
            _, *replies = await call(service.redis, script, names, [*clock, *fixed, *of_users(script, users)])
            words |= {reply[0] if isinstance(reply, list) else reply for reply in replies}
    return words


async def memory(service: Service) -> dict[str, Any]:
    """Every hash of the round, without what a rebuild does not know."""
    redis, found = raw(service.redis), {}
    for shard in range(SHARDS):
        for noun in ("round", "members", "totals", "payments", "checking"):
            found[f"{noun} {shard}"] = await redis.hgetall(keys.name(DAY, shard, noun))
        for forgotten in (b"server", b"touched_ms"):
            found[f"round {shard}"].pop(forgotten, None)
        totals = found[f"totals {shard}"]
        found[f"totals {shard}"] = {name: count for name, count in totals.items() if count != b"0"}
    return found


async def test_a_rebuild_of_many_is_what_redis_had(servers: Servers, tmp_path: Path) -> None:
    async with (
        one_database(servers, tmp_path) as settings,
        new_world(settings, shards=SHARDS, touched=False) as service,
    ):
        await service.opener.open_round(DAY)
        service.time.stop_at(at("20:00"))
        uids = range(1, PLAYERS + 1)
        numbers = {
            uid: order_no.make("TTC", order_no.Place(DAY, keys.shard_of(uid, SHARDS), uid, order_no.new_tail()))
            for uid in uids
        }

        def ordering(uid: int, _: int) -> tuple[Value, ...]:
            return uid, 0, numbers[uid], numbers[uid][-12:], f"open-{uid}", "13800000000", "早起"

        def paying(transaction: str) -> Any:
            def row(uid: int, _: int) -> tuple[Value, ...]:
                number = numbers[uid]
                said = f"{transaction}{uid}", f"open-{uid}", at("20:00"), "platform", "{}"
                return uid, 0, number, number[-12:], 100, *said

            return row

        assert await ask(service, "join", uids, at("20:00"), ordering, [await service.redis.server()]) == {b"ordered"}
        assert await ask(service, "pay", uids[: PLAYERS * 9 // 10], at("20:00"), paying("T")) == {b"paid"}
        assert await ask(service, "pay", uids[: PLAYERS // 10], at("20:00"), paying("again")) == {b"refund_due"}
        ranks = await ask(service, "check_in", uids[::2][: PLAYERS // 4], at("06:00", 1), lambda uid, _: (uid, 0))
        assert ranks == set(range(1, len(ranks) + 1))
        for shard in range(SHARDS):
            await outbox.drain(service.store, service.redis, DAY, shard)
        before = await memory(service)
        assert sum(len(before[f"members {shard}"]) for shard in range(SHARDS)) == PLAYERS
        await raw(service.redis).flushall()
        assert await rebuild_lost(service) == [f"{DAY}.{shard}" for shard in range(SHARDS)]
        assert await memory(service) == before
