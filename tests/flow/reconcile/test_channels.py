"""Several channels: each line is compared with its own channel's bills, which come late, and do not say everything."""

import time
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clock.channels import BillLine, NoBill, NotYet, Result
from clock.domain import order_no
from tests.conftest import DAY, at
from tests.flow.reconcile.channels import Late, Stage
from tests.flow.reconcile.stage import named


def today() -> date:
    return datetime.now(ZoneInfo("Asia/Shanghai")).date()


async def test_each_line_is_looked_for_in_its_own_channels_bills(stage: Stage) -> None:
    report = await stage.report()
    assert (report.differences, report.bill_lines) == ([], 2)
    stage.platform.lines, stage.alipay.lines = stage.alipay.lines, stage.platform.lines
    assert await stage.differences() == [
        ("payment_not_billed", "books 100 fen", "platform: transaction T1"),
        ("payment_not_billed", "books 100 fen", "alipay: transaction T2"),
    ]


async def test_a_bill_with_another_amount_is_named_with_its_channel(stage: Stage) -> None:
    stage.billed(stage.alipay, stage.paid(2))
    assert await stage.differences() == [("payment_amount", "books 100 fen", "alipay: bill 200 fen")]


async def test_a_channel_that_cannot_be_asked_is_not_compared(stage: Stage) -> None:
    """Its payments are in no bill, and nobody misses them."""
    stage.platform.ready = False  # a platform without a URL
    stage.platform.lines = None
    report = await stage.report()
    assert (report.differences, report.bill_lines, stage.platform.calls) == ([], 1, [])


async def test_a_channel_that_is_not_configured_any_more_is_named(stage: Stage) -> None:
    del stage.people.service.channels["alipay"]
    report = await stage.report()
    assert [(one.what, one.subject, one.one) for one in report.differences] == [
        ("bill_missing", str(DAY), "alipay: not configured")
    ]
    assert report.bill_lines == 1


async def test_of_a_channel_without_a_bill_nothing_counts_and_the_others_are_compared(stage: Stage) -> None:
    stage.alipay.lines = None
    stage.billed(stage.platform, stage.paid(1, "open-1", "T1"))
    assert await stage.differences() == [
        ("bill_missing", f"alipay: none of {DAY} to be had", ""),
        ("payment_amount", "books 100 fen", "platform: bill 200 fen"),
    ]


async def test_a_channel_is_asked_whose_orders_nobody_has_heard_paid(stage: Stage) -> None:
    """All its callbacks were lost."""
    await stage.people.tamper("DELETE FROM payments WHERE channel = 'alipay'")
    number = order_no.make("TTC", order_no.Place(DAY, 0, 2, order_no.new_tail("alipay")))
    await stage.people.tamper("UPDATE orders SET order_no = %s WHERE uid = 2", number)
    report = await stage.report()
    assert ("bill", str(DAY)) in stage.alipay.calls
    assert ("payment_unheard", f"order {stage.people.orders[2]}") in named(report)


async def test_lines_of_a_channel_of_which_a_bill_is_missing_count_for_nothing(stage: Stage) -> None:
    """Also those of the dates whose bills are there."""
    stage.alipay.missing = {str(DAY + timedelta(days=1)): NoBill}
    report = await stage.report()
    assert (named(report), report.bill_lines) == ({("bill_missing", str(DAY))}, 1)


@pytest.mark.parametrize(
    ("days_ago", "why", "rings"), [(0, NoBill, False), (1, NotYet, False), (1, NoBill, True), (2, NotYet, True)]
)
async def test_a_bill_that_is_not_there_yet_is_waited_for(
    stage: Stage, days_ago: int, why: type[NoBill], rings: bool
) -> None:
    """For a day: the bill of yesterday may come in the course of the morning. A payment of that date is compared as
    soon as it does, and one of an earlier date meanwhile."""
    late = today() - timedelta(days=days_ago)
    then_ms = int((time.time() - days_ago * 86_400) * 1000) - 1
    stage.alipay.missing, stage.alipay.lines = {str(late): why}, {}
    await stage.people.tamper("UPDATE payments SET paid_at_ms = %s WHERE uid = 2", then_ms)
    assert [what for what, *_ in await stage.differences()] == (["bill_missing"] if rings else [])
    if not rings:
        await stage.people.tamper("UPDATE payments SET paid_at_ms = %s WHERE uid = 2", at("20:00"))
        assert [what for what, *_ in await stage.differences()] == ["payment_not_billed"]
        stage.alipay.missing = {}
        await stage.people.tamper("UPDATE payments SET paid_at_ms = %s WHERE uid = 2", then_ms - 60_000)
        assert [what for what, *_ in await stage.differences()] == ["payment_not_billed"]


@pytest.mark.parametrize("billed_on", ["2019-05-01", "2019-05-02", "2019-05-03"])
async def test_a_refund_is_found_whatever_date_its_provider_gives_it(stage: Stage, billed_on: str) -> None:
    """Taken up on one date, ended on another: a provider may bill it on either."""
    number = await stage.refund("done", "2019-05-03 12:00+08")
    assert await stage.differences() == [("refund_not_as_billed", "books 100 fen sent", "alipay: bill None fen")]
    order = stage.people.orders[2]
    stage.billed(stage.alipay, BillLine("refund", number, order, 100, 0), on=date.fromisoformat(billed_on))
    assert await stage.differences() == []


async def test_a_refund_that_ended_at_the_end_of_a_date_may_be_billed_on_the_next(stage: Stage) -> None:
    """The provider's clock may be 5 s off."""
    number = await stage.refund("done", "2019-05-03 23:59:58+08")
    line = BillLine("refund", number, stage.people.orders[2], 100, 0)
    stage.billed(stage.alipay, line, on=date(2019, 5, 4))
    assert await stage.differences() == []


async def test_of_a_refund_that_was_billed_and_has_failed_the_provider_has_the_last_word(stage: Stage) -> None:
    """A bill may have it from when it was taken up, before it failed."""
    number = await stage.refund("failed", "2019-05-03 12:00+08")
    stage.billed(stage.alipay, BillLine("refund", number, stage.people.orders[2], 100, 0), on=date(2019, 5, 1))
    assert await stage.differences() == [("refund_not_as_billed", "books None fen sent", "alipay: bill 100 fen")]

    async def failed(action: str, no: str) -> Result:
        return Result("failed" if (action, no) == ("query_refund", number) else "done")

    stage.alipay.result = failed
    assert await stage.differences() == []


async def test_what_a_channels_bills_never_have_is_not_missed_in_them(stage: Stage) -> None:
    """Transfers of alipay here. Of the platform they are missed."""
    people = stage.people
    await people.morning(winners=2)
    await people.settle()
    await people.claim(1, 2)
    await people.drain()
    await people.rows("UPDATE outgoing SET state = 'done', ended_at = '2019-05-03 12:00+08'")
    await people.rows(
        "INSERT INTO transfers SELECT day, 'payout_sent', no, uid, 'owed:payout',"
        " CASE uid WHEN 1 THEN 'channel:platform' ELSE 'channel:alipay' END, amount_fen, 0 FROM outgoing"
    )
    assert await stage.differences() == [("payout_not_as_billed", "books 100 fen sent", "platform: bill None fen")]
    stage.billed(stage.platform, BillLine("transfer", f"P{DAY:%Y%m%d}1", "", 100, 0))
    assert await stage.differences() == []
    stage.billed(stage.alipay, BillLine("transfer", f"P{DAY:%Y%m%d}2", "", 50, 0))
    assert await stage.differences() == [("payout_not_as_billed", "books 100 fen sent", "alipay: bill 50 fen")]


async def test_a_movement_through_another_channel_than_the_books_say_is_named(stage: Stage) -> None:
    number = await stage.refund("done", "2019-05-03 12:00+08")
    line: Any = BillLine("refund", number, stage.people.orders[2], 100, 0)
    stage.billed(stage.platform, line, on=date(2019, 5, 2))
    assert sorted(await stage.differences()) == [
        ("movement_not_as_billed", "books None fen sent", "platform: bill 100 fen"),
        ("refund_not_as_billed", "books 100 fen sent", "alipay: bill None fen"),
    ]


async def withdrawn(stage: Stage, billed_fen: int, on: date, state: str = "done") -> str:
    """User 1, who paid through the platform, has withdrawn 100 fen through wechat on the round's date. Its number."""
    wechat = Late()
    wechat.name, wechat.lines = "wechat", {}
    stage.people.service.channels["wechat"] = wechat
    stage.billed(wechat, BillLine("transfer", "W1N1", "", billed_fen, at("12:00", (on - DAY).days)), on=on)
    await stage.people.rows("INSERT INTO withdrawals VALUES (1, 1, %s, 'W1N1')", DAY)
    await stage.people.rows(
        "INSERT INTO outgoing (day, no, kind, uid, amount_fen, channel, open_id, state, created_at, ended_at, handled)"
        " VALUES (%s, 'W1N1', 'withdrawal', 1, 100, 'wechat', 'open-1', %s, '2019-05-01', '2019-05-03', %s)",
        *(DAY, state, "returned" if state == "failed" else None),
    )
    account = "channel:wechat" if state == "done" else "user:1"
    what = "withdrawal_sent" if state == "done" else "withdrawal_failed"
    await stage.people.rows(
        "INSERT INTO transfers VALUES (%s, 'withdrawal', 'W1N1', 1, 'user:1', 'owed:withdrawal', 100, 0),"
        " (%s, %s, 'W1N1', 1, 'owed:withdrawal', %s, 100, 0)",
        *(DAY, DAY, what, account),
    )
    return "W1N1"


async def test_a_withdrawal_is_looked_for_in_the_bills_of_its_own_channel(stage: Stage) -> None:
    """Which may have none of the round's payments. It is in the books of the date on which it was asked for."""
    await withdrawn(stage, 100, date(2019, 5, 2))
    report = await stage.report()
    assert (report.differences, report.bill_lines) == ([], 3)
    assert (stage.platform.calls.count(("bill", "2019-05-02")), len(await stage.differences())) == (1, 0)


@pytest.mark.parametrize(("billed_fen", "state", "sent"), [(90, "done", "100"), (100, "failed", "None")])
async def test_a_withdrawal_that_the_bill_knows_otherwise_is_named(
    stage: Stage, billed_fen: int, state: str, sent: str
) -> None:
    number = await withdrawn(stage, billed_fen, date(2019, 5, 2), state)
    report = await stage.report()
    assert [(one.what, one.subject, one.one, one.other) for one in report.differences] == [
        ("withdrawal_not_as_billed", number, f"books {sent} fen sent", f"wechat: bill {billed_fen} fen")
    ]


async def test_what_a_withdrawal_took_and_gave_back_is_nothing(stage: Stage) -> None:
    """It failed, and came back on a later date. Until that date's bill is there nothing is said of it."""
    await withdrawn(stage, 100, date(2019, 5, 2), "failed")
    await stage.people.tamper("UPDATE outgoing SET ended_at = now() WHERE no = 'W1N1'")
    wechat: Any = stage.people.service.channels["wechat"]
    for late in (today(), today() - timedelta(days=1)):
        wechat.missing = {str(late): NotYet}
        assert await stage.differences() == []
    wechat.missing = {}
    assert await stage.differences() == [("withdrawal_not_as_billed", "books None fen sent", "wechat: bill 100 fen")]
    stage.billed(wechat, BillLine("transfer", "W1N1", "", -100, at("12:00")), on=today())
    assert await stage.differences() == []


async def test_a_withdrawal_that_no_bill_has_is_named(stage: Stage) -> None:
    await withdrawn(stage, 100, date(2019, 6, 2))
    assert await stage.differences() == [("withdrawal_not_as_billed", "books 100 fen sent", "wechat: bill None fen")]


async def test_a_withdrawal_whose_transfers_differ_is_named(stage: Stage) -> None:
    await withdrawn(stage, 100, date(2019, 5, 2))
    await stage.people.tamper("UPDATE transfers SET amount_fen = 99 WHERE kind = 'withdrawal_sent'")
    await stage.people.tamper("DELETE FROM transfers WHERE kind = 'withdrawal'")
    found = sorted(what for what, *_ in await stage.differences())
    assert found == ["account", "ledger_withdrawal", "ledger_withdrawal_sent", "queue"]


async def test_a_withdrawal_whose_number_the_books_have_lost_is_named(stage: Stage) -> None:
    """With the round of the bill's date. One that was asked for on another date is known by its number."""
    await stage.people.rows("INSERT INTO withdrawals VALUES (1, 1, %s, 'W1N1')", DAY - timedelta(days=1))
    for no, days in (("W1N1", 0), ("W1N2", 0), ("W1N3", 1), ("WORK1N1", 0)):
        line = BillLine("transfer", no, "", 70, at("12:00", days))
        stage.billed(stage.platform, line, on=DAY + timedelta(days=days))
    report = await stage.report()
    assert [(one.what, one.subject, one.one, one.other) for one in report.differences] == [
        ("movement_not_as_billed", "W1N2", "books none", "platform: bill 70 fen")
    ]
