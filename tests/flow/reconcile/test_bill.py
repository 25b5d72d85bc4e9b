"""The provider's bill: what we never heard of is mended, what moved otherwise is named."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from clock.audit.reconcile import reconcile
from clock.channels import BillLine, NoBill
from clock.config import Settings
from tests.conftest import DAY, at
from tests.flow.reconcile.stage import Ended, named
from tests.flow.stage import IN_TIME, People, Sandbox, Scripted, bill, sandbox
from tests.model.world import new_world

PAYOUT_99 = f"P{DAY:%Y%m%d}99"


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

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        if day >= datetime.now(ZoneInfo("Asia/Shanghai")).date().isoformat():
            raise NoBill
        async for page in super().bill(day):
            yield page


class MovedAllTwice(Sandbox):
    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        async for page in super().bill(day):
            yield 2 * page


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


class BreaksOff(Sandbox):
    """The connection is lost behind the first lines of every bill."""

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        async for page in super().bill(day):
            yield page
            raise NoBill("broken off")


async def test_of_a_bill_that_breaks_off_nothing_counts(ended: Ended) -> None:
    bill(ended.channel, ended.order(8), "T8", 8)
    async with billed_by(ended, BreaksOff):
        report = await ended.report()
        assert named(report) == {("bill_missing", str(DAY))}
        assert (report.mended, report.bill_lines) == ([], None)
    assert (await ended.report()).mended == [f"order {ended.order(8)} transaction T8: refund_due"]


async def test_of_a_bill_of_today_that_breaks_off_nothing_counts(shared: Settings) -> None:
    """All dates before it are compared all the same."""

    class BreaksOffToday(Scripted):
        async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
            yield (self.lines or {}).get(day, [])
            if day == datetime.now(ZoneInfo("Asia/Shanghai")).date().isoformat():
                yield [BillLine("payment", "T-today", "TTCnobody", 100, 0), BillLine("transfer", PAYOUT_99, "", 1, 0)]
                raise NoBill("broken off")

    async with new_world(shared, platform_url="http://provider") as service:
        people, channel = People(service), BreaksOffToday()
        people.use(channel)
        await people.join(1)
        assert await people.pay(1, "T1", paid_at=IN_TIME) == "paid"
        channel.lines = {str(DAY): [BillLine("payment", "T1", people.orders[1], 100, at("20:00"), "open-1")]}
        report = await reconcile(service, DAY)
        assert report is not None
        assert (report.differences, report.bill_lines) == ([], 1)


async def test_a_line_may_hold_what_no_table_can(shared: Settings) -> None:
    """A character that is none, in a text; a sum that no account can hold makes the bill unreadable."""
    async with new_world(shared, platform_url="http://provider") as service:
        people = People(service)
        channel = await bill_dates(people)
        await people.join(1)
        assert await people.pay(1, "T1", paid_at=IN_TIME) == "paid"
        good = BillLine("payment", "T1", people.orders[1], 100, at("20:00"), "a\0b\ud83d")
        channel.lines = {str(DAY): [good, BillLine("refund", "R\0\ud83d", "", 100, 0)]}
        report = await reconcile(service, DAY)
        assert report is not None
        assert (report.differences, report.bill_lines) == ([], 1)
        channel.lines = {str(DAY): [good, BillLine("refund", "R1", people.orders[1], 2**70, 0)]}
        report = await reconcile(service, DAY)
        assert report is not None
        assert named(report) == {("bill_missing", str(DAY))}
