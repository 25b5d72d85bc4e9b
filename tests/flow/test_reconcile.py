"""Every book against the others: a clean round agrees, and whatever is planted is named with its order or user."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import msgspec
import pytest

from clock.audit.contents import contents_of
from clock.audit.reconcile import reconcile
from clock.audit.report import Report
from clock.channels import BillLine
from clock.config import Settings
from clock.game import keys
from clock.payments import outgoing
from clock.runtime import worker
from clock.runtime.supervise import environment
from tests.conftest import DAY, Api, Servers, at
from tests.flow.stage import IN_TIME, NEXT_DAY, People, Sandbox, Scripted, bill, move, one_database, sandbox
from tests.model.world import new_world

TABLES = (
    "rounds",
    "orders",
    "payments",
    "members",
    "check_ins",
    "packets",
    "claims",
    "refunds",
    "transfers",
    "outgoing",
)
MEMBERS = keys.name(DAY, 0, "members")


@dataclass
class Ended:
    """A round of every kind of user: 1, 2, 3 win and are paid, 1 has paid twice, 4, 5, 6 sleep, 7 is a late member
    who sleeps, 8 has ordered and not paid. A fee of 10 %. All money has left."""

    people: People
    channel: Sandbox

    def order(self, uid: int) -> str:
        return self.people.orders[uid]

    def payout(self, uid: int) -> str:
        return f"P{DAY:%Y%m%d}{uid}"

    async def report(self) -> Report:
        report = await reconcile(self.people.service, DAY)
        assert report is not None
        return report

    async def save(self) -> None:
        await self.people.rows("CREATE SCHEMA saved")
        for table in TABLES:
            await self.people.rows(f"CREATE TABLE saved.{table} AS TABLE {table}")
        redis = self.people.service.redis
        self.redis = {name: await redis.dump(name) async for name in redis.scan_iter()}
        self.sqlite = "\n".join(self.channel.provider.books.db.iterdump())

    async def restore(self) -> None:
        """As it was when it ended."""
        async with self.people.service.store.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute("DELETE FROM reconciliations")
            for table in TABLES:
                await connection.execute(f"DELETE FROM {table}".encode())
                await connection.execute(f"INSERT INTO {table} SELECT * FROM saved.{table}".encode())
        redis = self.people.service.redis
        await redis.flushall()
        for name, value in self.redis.items():
            await redis.restore(name, 0, value)
        db = self.channel.provider.books.db
        for table in ("payments", "closed", "movements", "reminders"):
            db.execute(f"DROP TABLE {table}")
        db.executescript(self.sqlite)


async def play(people: People, channel: Sandbox) -> None:
    await people.join(*range(1, 9))
    for uid in (1, 2, 3, 4, 5, 6):
        bill(channel, people.orders[uid], f"S{people.orders[uid]}0", uid)
        assert await people.pay(uid, paid_at=IN_TIME) == "paid"
    bill(channel, people.orders[1], "T-second", 1)
    assert await people.pay(1, "T-second", paid_at=IN_TIME) == "refund_due"
    await people.morning(winners=3)
    bill(channel, people.orders[7], f"S{people.orders[7]}0", 7)
    assert await people.pay(7, paid_at=IN_TIME) == "paid"
    await people.settle()
    await people.claim(1, 2)


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("reconcile")) as settings:
        yield settings


@pytest.fixture(scope="module")
async def played(shared: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ended]:
    path = tmp_path_factory.mktemp("provider") / "sandbox.sqlite"
    async with (
        sandbox(path) as channel,
        new_world(shared, fee_bps=1000, platform_url="http://provider") as service,
    ):
        people = People(service)
        people.use(channel)
        await play(people, channel)
        await people.finish()
        while await outgoing.send_some(service.store, service.channels):
            pass
        ended = Ended(people, channel)
        await ended.save()
        yield ended


@pytest.fixture
async def ended(played: Ended) -> AsyncIterator[Ended]:
    await played.restore()
    yield played


def named(report: Report) -> set[tuple[str, str]]:
    return {(difference.what, difference.subject) for difference in report.differences}


async def test_the_books_of_a_clean_round_agree(ended: Ended) -> None:
    assert await ended.people.balances() == {"channel:platform": -30, "fee": 30}
    report = await ended.report()
    assert (report.differences, report.mended) == ([], [])
    assert report.bill_lines == 8 + 3 + 2  # payments, payouts, refunds


async def test_a_round_in_the_middle_of_its_life_agrees(
    shared: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with money on its way, and on eight shards, for which the books are read once."""
    contents = Mock(side_effect=contents_of)
    monkeypatch.setattr("clock.audit.reconcile.contents_of", contents)
    async with (
        sandbox(tmp_path / "sandbox.sqlite") as channel,
        new_world(shared, shards=8, platform_url="http://provider") as service,
    ):
        people = People(service)
        people.use(channel)
        await play(people, channel)
        channel.trouble(processing=1, processing_ms=60_000)
        await outgoing.send_some(service.store, service.channels)
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.differences == []
        assert contents.call_count == 1


async def test_there_is_no_report_about_a_round_that_never_was(ended: Ended) -> None:
    assert await reconcile(ended.people.service, NEXT_DAY.replace(year=2030)) is None


# -- what is planted is named


Plant = Callable[[Ended], Awaitable[None]]


def changed(statement: str, *parameters: Any) -> Plant:
    async def plant(ended: Ended) -> None:
        await ended.people.tamper(statement, *parameters)

    return plant


def record(uid: int, value: bytes | None) -> Plant:
    """A user's record in Redis is replaced; ``None``: removed."""

    async def plant(ended: Ended) -> None:
        redis: Any = ended.people.service.redis
        if value is None:
            assert await redis.hdel(MEMBERS, str(uid)) == 1
        else:
            old: bytes = await redis.hget(MEMBERS, uid) or b"O"
            await redis.hset(MEMBERS, uid, value + old[1:])

    return plant


async def another_packet(ended: Ended) -> None:
    """What a user who asks again is told of the packet."""
    redis: Any = ended.people.service.redis
    [row] = await ended.people.rows("SELECT packet_fen FROM claims WHERE uid = 1")
    old = await redis.hget(MEMBERS, 1)
    packet = msgspec.msgpack.encode(row["packet_fen"])
    assert old.endswith(packet)
    await redis.hset(MEMBERS, 1, old.removesuffix(packet) + msgspec.msgpack.encode(99_999))


async def payout_never_queued(ended: Ended) -> None:
    """The books owe it, and nobody is going to send it."""
    await ended.people.tamper("DELETE FROM outgoing WHERE no = %s", ended.payout(3))
    await ended.people.tamper("DELETE FROM transfers WHERE kind = 'payout_sent' AND cause = %s", ended.payout(3))
    ended.channel.provider.books.db.execute("DELETE FROM movements WHERE no = ?", (ended.payout(3),))


async def another_pool(ended: Ended) -> None:
    redis: Any = ended.people.service.redis
    await redis.hincrby(keys.name(DAY, 0, "totals"), "pool_fen", 100)


async def payment_not_billed(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("DELETE FROM payments WHERE payer = 'open-4'")


async def payment_with_another_amount(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("UPDATE payments SET amount = 99 WHERE payer = 'open-4'")


async def payment_of_a_wrong_amount_unheard(ended: Ended) -> None:
    bill(ended.channel, ended.order(8), "T8", 8, amount=1)


async def payout_not_billed(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("DELETE FROM movements WHERE no = ?", (ended.payout(2),))


async def payout_twice_as_large(ended: Ended) -> None:
    ended.channel.provider.books.db.execute("UPDATE movements SET amount = 2 * amount WHERE no = ?", (ended.payout(2),))


async def payout_unknown_to_the_books(ended: Ended) -> None:
    move(ended.channel, ended.payout(77), "transfer", 500)


async def refund_unknown_to_the_books(ended: Ended) -> None:
    move(ended.channel, "R" + 31 * "f", "refund", 100, ended.order(4))


async def a_payment_that_only_redis_knows(ended: Ended) -> None:
    """The row and its transfer are gone; Redis says that it has been dealt with."""
    await ended.people.tamper("DELETE FROM payments WHERE transaction_id = 'T-second'")
    await ended.people.tamper("DELETE FROM transfers WHERE kind = 'unwanted'")


PLANTED: dict[str, tuple[Plant, str, str]] = {
    # what is wrong                                  how                      what must be named, of whom
    "an order is missing": (changed("DELETE FROM orders WHERE uid = 8"), "user_state", "user 8"),
    "a member is missing": (changed("DELETE FROM members WHERE uid = 4"), "user_state", "user 4"),
    "a winner's membership is missing": (changed("DELETE FROM members WHERE uid = 1"), "user_state", "user 1"),
    "a check-in is missing": (changed("DELETE FROM check_ins WHERE uid = 1"), "user_state", "user 1"),
    "a claim is missing": (changed("DELETE FROM claims WHERE uid = 1"), "user_state", "user 1"),
    "a payment is missing": (
        changed("DELETE FROM payments WHERE uid = 4"),
        "ledger_stake",
        "{order 4}:S{order 4}0",
    ),
    "a payment is missing everywhere but in Redis": (a_payment_that_only_redis_knows, "payment_unheard", "{order 1}"),
    "a refund is missing": (changed("DELETE FROM refunds WHERE uid = 7"), "ledger_refund", "{order 7}:S{order 7}0"),
    "a refund of a second payment is missing": (changed("DELETE FROM refunds WHERE uid = 1"), "", "{refund 1}"),
    "a payment has another amount": (
        changed("UPDATE payments SET amount_fen = 99 WHERE uid = 4"),
        "payment_amount",
        "order {order 4}",
    ),
    "a claim has another packet": (
        changed("UPDATE claims SET packet_fen = packet_fen + 1 WHERE uid = 1"),
        "claim_not_in_manifest",
        "user 1",
    ),
    "a packet has another sum": (
        changed("UPDATE packets SET fen = fen + 1 WHERE index = 0"),
        "manifest",
        "2026-11-22",
    ),
    "the fee has another sum": (changed("UPDATE rounds SET fee_fen = fee_fen + 1"), "ledger_fee", "settlement"),
    "a transfer is missing": (changed("DELETE FROM transfers WHERE kind = 'packet' AND uid = 1"), "ledger_packet", "1"),
    "a transfer that says that money was sent is missing": (
        changed("DELETE FROM transfers WHERE kind = 'payout_sent' AND uid = 1"),
        "ledger_payout_sent",
        "{payout 1}",
    ),
    "a transfer has another amount": (
        changed("UPDATE transfers SET amount_fen = amount_fen + 1 WHERE kind = 'packet' AND uid = 1"),
        "ledger_packet",
        "1",
    ),
    "a transfer went to somebody else": (
        changed("UPDATE transfers SET to_account = 'user:666' WHERE kind = 'packet' AND uid = 1"),
        "ledger_packet",
        "1",
    ),
    "a transfer has no row that it follows from": (
        changed(
            "INSERT INTO transfers SELECT day, kind, '4', 4, from_account, 'user:4', 1, at_ms FROM transfers"
            " WHERE kind = 'packet' AND uid = 1"
        ),
        "ledger_packet",
        "4",
    ),
    "what is owed was never queued": (payout_never_queued, "", "{payout 3}"),
    "a payout has another amount": (
        changed("UPDATE outgoing SET amount_fen = amount_fen + 1 WHERE uid = 2"),
        "payout_not_as_billed",
        "{payout 2}",
    ),
    "a record in Redis is another": (record(4, b"C"), "user_state", "user 4"),
    "a record in Redis is missing": (record(4, None), "user_state", "user 4"),
    "a record in Redis is nobody's": (record(99, b"M"), "user_state", "user 99"),
    "a packet in Redis is another": (another_packet, "user_state", "user 1"),
    "a total in Redis is another": (another_pool, "", "pool_fen"),
    "a payment is not billed": (payment_not_billed, "payment_not_billed", "order {order 4}"),
    "a payment is billed with another amount": (payment_with_another_amount, "payment_amount", "order {order 4}"),
    "a payment of a wrong amount is billed": (payment_of_a_wrong_amount_unheard, "payment_unheard", "order {order 8}"),
    "a payout is not billed": (payout_not_billed, "payout_not_as_billed", "{payout 2}"),
    "a payout is billed twice as large": (payout_twice_as_large, "payout_not_as_billed", "{payout 2}"),
    "a payout is billed that the books do not have": (payout_unknown_to_the_books, "", "{payout 77}"),
    "a refund is billed that the books do not have": (refund_unknown_to_the_books, "", "R" + 31 * "f"),
}
"""``{order 4}`` stands for that user's order, and so on. No name: any, as long as the subject is there."""


@pytest.mark.parametrize("name", PLANTED)
async def test_what_does_not_agree_is_named(ended: Ended, name: str) -> None:
    plant, what, subject = PLANTED[name]
    for uid in (1, 2, 3, 4, 7, 8, 77):
        subject = subject.replace(f"{{order {uid}}}", ended.people.orders.get(uid, ""))
        subject = subject.replace(f"{{payout {uid}}}", ended.payout(uid))
    [second] = await ended.people.rows("SELECT refund_no FROM refunds WHERE transaction_id = 'T-second'")
    subject = subject.replace("{refund 1}", second["refund_no"])
    await plant(ended)
    found = named(await ended.report())
    assert any(one.startswith(what) and subject in other for one, other in found), found


async def test_nothing_that_agrees_is_named(ended: Ended) -> None:
    await ended.people.tamper("UPDATE transfers SET amount_fen = amount_fen + 1 WHERE kind = 'packet' AND uid = 1")
    assert named(await ended.report()) == {("ledger_packet", "1"), ("pool_not_empty", f"pool:{DAY}")}


async def test_a_live_round_that_redis_has_lost_is_named(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.members(1, 2)
        await people.drain()
        await service.redis.flushall()
        report = await reconcile(service, DAY)
        assert report is not None
        assert named(report) == {("round_missing", "shard 0")}


async def test_a_finished_round_may_have_expired_from_redis(ended: Ended) -> None:
    await ended.people.service.redis.flushall()
    assert (await ended.report()).differences == []


# -- the provider's bill


async def test_a_billed_payment_that_we_never_heard_of_is_mended(ended: Ended) -> None:
    bill(ended.channel, ended.order(8), "T8", 8)
    report = await ended.report()
    assert report.differences == []
    assert report.mended == [f"order {ended.order(8)} transaction T8: refund_due"]
    owed = await ended.people.rows("SELECT uid, amount_fen, state FROM outgoing WHERE transaction_id = 'T8'")
    assert [(row["uid"], row["amount_fen"], row["state"]) for row in owed] == [(8, 100, "owed")]
    again = await ended.report()
    assert (again.differences, again.mended) == ([], [])


async def test_a_billed_payment_makes_a_member_while_the_round_still_takes_them(
    shared: Settings, tmp_path: Path
) -> None:
    async with (
        sandbox(tmp_path / "sandbox.sqlite") as channel,
        new_world(shared, platform_url="http://provider") as service,
    ):
        people = People(service)
        people.use(channel)
        await people.join(1)
        bill(channel, people.orders[1], "T1", 1)
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.mended == [f"order {people.orders[1]} transaction T1: paid"]
        assert [row["uid"] for row in await people.rows("SELECT uid FROM members")] == [1]


async def test_a_bill_that_is_not_to_be_had_is_said(ended: Ended) -> None:
    ended.people.use(Scripted())
    try:
        assert named(await ended.report()) == {("bill_missing", str(DAY))}
    finally:
        ended.people.use(ended.channel)


class HasNotToday(Sandbox):
    """Most providers have the bill of a date when it is over."""

    async def bill(self, day: str) -> list[BillLine] | None:
        today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
        return None if day >= today.isoformat() else await super().bill(day)


class MovedAllTwice(Sandbox):
    async def bill(self, day: str) -> list[BillLine] | None:
        return 2 * (await super().bill(day) or [])


@asynccontextmanager
async def billed_by(ended: Ended, kind: type[Sandbox]) -> AsyncIterator[None]:
    """The same provider, whose bills are of another kind."""
    channel = kind(ended.channel.provider, int(ended.channel._url.rsplit(":", 1)[1]))
    ended.people.use(channel)
    yield
    ended.people.use(ended.channel)
    await channel.close()


async def test_what_moved_twice_under_one_number_is_named(ended: Ended) -> None:
    async with billed_by(ended, MovedAllTwice):
        found = [what for what, _ in named(await ended.report())]
    assert sorted(found) == 7 * ["payment_amount"] + 3 * ["payout_not_as_billed"] + 2 * ["refund_not_as_billed"]


async def test_one_transaction_that_paid_two_orders_is_named(shared: Settings) -> None:
    """No script sees both orders. The provider has been paid once, and its bill says for which one."""
    async with new_world(shared, platform_url="http://provider") as service:
        people = People(service)
        channel = await bill_dates(people)
        await people.join(1, 2)
        for uid in (1, 2):
            assert await people.pay(uid, "T1", paid_at=IN_TIME) == "paid"
        channel.lines = {str(DAY): [BillLine("payment", "T1", people.orders[1], 100, at("20:00"), "open-1")]}
        report = await reconcile(service, DAY)
        assert report is not None
        assert named(report) == {("payment_not_billed", f"order {people.orders[2]}")}


async def test_the_bill_of_a_date_that_is_not_over_may_be_missing(ended: Ended) -> None:
    """What is in it is compared when it is there; everything before is compared all the same."""
    async with billed_by(ended, HasNotToday):
        assert (await ended.report()).differences == []
        bill(ended.channel, ended.order(8), "T8", 8, at_ms=int((time.time() - 86_400) * 1000))
        await ended.people.tamper(
            "UPDATE outgoing SET ended_at = ended_at - interval '1 day' WHERE no = %s", ended.payout(2)
        )
        report = await ended.report()
        assert report.mended == [f"order {ended.order(8)} transaction T8: refund_due"]
        assert named(report) == {("payout_not_as_billed", ended.payout(2))}


async def bill_dates(people: People) -> Scripted:
    """A provider whose bills have, on every date of 2019, nothing."""
    channel = Scripted()
    channel.lines = {}
    people.use(channel)
    return channel


async def test_a_payment_of_another_date_is_looked_for_in_that_dates_bill(shared: Settings) -> None:
    """An order that was left lying is paid two days later: that money is in the bill of two days later."""
    async with new_world(shared, platform_url="http://provider") as service:
        people = People(service)
        channel = await bill_dates(people)
        await people.join(1)
        people.it_is("12:00", 9)
        paid_at = at("12:00", 9)
        assert await people.pay(1, "T1", paid_at="2026-12-01 12:00:00") == "refund_due"
        channel.lines = {"2026-12-01": [BillLine("payment", "T1", people.orders[1], 100, paid_at, "open-1")]}
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.differences == []


async def test_money_that_left_between_two_dates_is_looked_for_in_all_of_them(shared: Settings) -> None:
    """Owed on one date, moved on the next when its answer got lost, known to have moved on the one after that."""
    async with new_world(shared, platform_url="http://provider") as service:
        people = People(service)
        channel = await bill_dates(people)
        await people.join(1)
        await people.pay(1, "T1", paid_at=IN_TIME)
        await people.pay(1, "T2", paid_at=IN_TIME)
        await people.drain()
        [row] = await people.rows(
            "UPDATE outgoing SET state = 'done', created_at = '2019-05-01 12:00+08', ended_at = '2019-05-03 12:00+08'"
            " RETURNING no"
        )
        await people.rows(
            "INSERT INTO transfers SELECT day, 'refund_sent', no, uid, 'owed:refund', 'channel:platform', amount_fen, 0"
            " FROM outgoing"
        )
        channel.lines = {
            str(DAY): [BillLine("payment", t, people.orders[1], 100, at("20:00"), "open-1") for t in ("T1", "T2")],
            "2019-05-02": [BillLine("refund", row["no"], people.orders[1], 100, 0)],
        }
        report = await reconcile(service, DAY)
        assert report is not None
        assert report.differences == []


# -- how it is asked for


@pytest.mark.long
async def test_the_command_ends_with_1_where_the_books_differ(ended: Ended, tmp_path: Path) -> None:
    def run() -> tuple[int, dict[str, Any]]:
        settings = msgspec.structs.replace(ended.people.service.settings, platform_url="", data_dir=tmp_path)
        command = [sys.executable, "-m", "clock", "reconcile", str(DAY)]
        done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    status, said = run()
    assert (status, said["code"]) == (0, "books_agree"), said
    await ended.people.tamper("DELETE FROM claims WHERE uid = 1")
    status, said = run()
    assert (status, said["code"]) == (1, "books_differ")
    assert "user 1" in {difference["subject"] for difference in said["reports"][0]["differences"]}


async def test_operators_ask_over_http(api: Api) -> None:
    people = People(api.service)
    await people.members(1, 2)
    operator = api.token(9, "operator")
    status, reply = await api.send("GET", f"/ops/reconcile/{DAY}", headers=operator)
    assert (status, reply["code"], reply["status"]) == (200, "books_agree", 1)
    assert reply["data"]["reports"][0]["differences"] == []
    await people.tamper("DELETE FROM members WHERE uid = 2")
    status, reply = await api.send("GET", f"/ops/reconcile/{DAY}", headers=operator)
    assert (status, reply["code"], reply["status"]) == (200, "books_differ", 0)
    [difference] = reply["data"]["reports"][0]["differences"]
    assert difference == {"what": "user_state", "subject": "user 2", "one": "Redis M", "other": "books O"}
    assert (await api.send("GET", "/ops/reconcile/2030-01-01", headers=operator))[0] == 404
    assert (await api.send("GET", "/ops/reconcile/today", headers=operator))[0] == 400
    assert (await api.send("GET", f"/ops/reconcile/{DAY}", headers=api.token(1)))[0] == 403
    assert (await api.send("GET", f"/ops/reconcile/{DAY}"))[0] == 401


async def saved(ended: Ended) -> list[dict[str, Any]]:
    return await ended.people.rows("SELECT * FROM reconciliations WHERE day = %s ORDER BY at", DAY)


async def test_the_worker_compares_each_ended_round_once_a_day_for_a_week(ended: Ended) -> None:
    """Money goes on moving after a round has ended: what came in or left yesterday is in yesterday's bill."""
    context = {"service": ended.people.service}
    for _ in range(3):
        await worker.compare(context)
    assert [row["differences"] for row in await saved(ended)] == [[]]
    yesterday = int((time.time() - 86_400) * 1000)
    bill(ended.channel, ended.order(8), "T8", 8, at_ms=yesterday)  # an old order, and its callback is lost
    move(ended.channel, "R" + "0" * 31, "refund", 100, ended.order(2))
    await ended.people.rows("UPDATE reconciliations SET at = at - interval '1 day'")
    await ended.people.rows("UPDATE rounds SET finished_at = finished_at - interval '2 days'")
    for _ in range(3):
        await worker.compare(context)
    [_, second] = await saved(ended)
    assert second["mended"] == [f"order {ended.order(8)} transaction T8: refund_due"]
    assert [one["what"] for one in second["differences"]] == ["movement_not_as_billed"]
    await ended.people.rows("UPDATE reconciliations SET at = at - interval '1 day'")
    await ended.people.rows("UPDATE rounds SET finished_at = finished_at - interval '6 days'")
    await worker.compare(context)
    assert len(await saved(ended)) == 2


async def test_the_worker_writes_down_what_differs(ended: Ended) -> None:
    await ended.people.tamper("DELETE FROM claims WHERE uid = 1")
    await worker.compare({"service": ended.people.service})
    [row] = await saved(ended)
    assert {"what": "user_state", "subject": "user 1", "one": "Redis P", "other": "books C"} in row["differences"]


async def test_the_worker_does_not_compare_a_round_that_goes_on(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.members(1, 2)
        await people.settle()
        await worker.compare({"service": service})
        assert await people.rows("SELECT * FROM reconciliations") == []


async def test_the_worker_compares_again_once_the_bill_is_to_be_had(ended: Ended) -> None:
    """Real providers have the bill of a day hours after its end."""
    service = ended.people.service
    ended.people.use(Scripted())
    try:
        for _ in range(3):
            await worker.compare({"service": service})
        assert len(await saved(ended)) == 1  # not every second
    finally:
        ended.people.use(ended.channel)
    await ended.people.rows("UPDATE reconciliations SET at = at - interval '1 hour'")
    await ended.people.rows("UPDATE rounds SET finished_at = finished_at - interval '2 hours'")
    await worker.compare({"service": service})
    assert [row["differences"] for row in (await saved(ended))[1:]] == [[]]
