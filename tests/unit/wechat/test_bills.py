"""Both bills of a day, or none: hashes, totals, amounts, and what is left out."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pytest

from clock.channels import BillLine, NoBill, NotYet
from clock.channels.wechat import WeChat, bills
from tests.unit.wechat import paper
from tests.unit.wechat.stage import ORDER, REFUND, Asked, Double, Reply, Waits, settings, signed

DAY = "2026-11-26"
SEVEN_MS = 1_795_647_600_000
ROWS = [
    paper.payment("4200001", ORDER, "1.00"),
    paper.payment("4200002", "TTC2", "12.3"),
    paper.refund(REFUND, ORDER, "0.60"),
    paper.refund("R2", "TTC2", "2.00", "FAIL"),
    paper.refund("R3", "TTC2", "0.01", "PROCESSING"),
]
TRADES = paper.trades(ROWS, "13.3", "2.61")
MOVEMENTS = [
    paper.movement("W42N7", "0.30"),
    paper.movement("1000107101", "5.00"),
    paper.movement("W43N1", "1.30"),
    paper.movement("W43N1", "1.30", "收入", "2026-11-26 23:00:00"),
    paper.movement("", "100.00", "收入"),
]
FUNDS = paper.funds(MOVEMENTS, "101.30", "6.60")
LINES = [
    BillLine("payment", "4200001", ORDER, 100, SEVEN_MS, "oUpF8"),
    BillLine("payment", "4200002", "TTC2", 1230, SEVEN_MS, "oUpF8"),
    BillLine("refund", REFUND, ORDER, 60, SEVEN_MS + 3_600_000),
    BillLine("refund", "R3", "TTC2", 1, SEVEN_MS + 3_600_000),
    BillLine("transfer", "W42N7", "", 30, SEVEN_MS + 7_200_000),
    BillLine("transfer", "W43N1", "", 130, SEVEN_MS + 7_200_000),
    BillLine("transfer", "W43N1", "", -130, SEVEN_MS + 16 * 3_600_000),
]


async def lines_of(channel: WeChat, day: str = DAY) -> list[BillLine]:
    return [line async for page in channel.bill(day) for line in page]


def changing(double: Double, change: Callable[[Asked, Reply], Reply], trades: bytes = TRADES) -> None:
    double.reply = lambda asked: change(asked, double.bills(asked, trades, FUNDS))


async def test_a_day(channel: WeChat, double: Double) -> None:
    changing(double, lambda _, reply: reply)
    assert await lines_of(channel) == LINES
    announced = [asked.target for asked in double.asked if asked.target.startswith("/v3/bill/")]
    assert announced == [
        f"/v3/bill/tradebill?bill_date={DAY}&bill_type=ALL&tar_type=GZIP",
        f"/v3/bill/fundflowbill?bill_date={DAY}&account_type=OPERATION&tar_type=GZIP",
    ]


async def test_a_day_on_which_nothing_moved(channel: WeChat, double: Double) -> None:
    double.says(400, {"code": "NO_STATEMENT_EXIST"})
    assert await lines_of(channel) == []


@pytest.mark.parametrize("missing", ["trade", "fundflow"])
async def test_one_bill_is_there_and_the_other_says_that_nothing_moved(
    channel: WeChat, double: Double, missing: str
) -> None:
    changing(
        double, lambda asked, reply: Reply(400, {"code": "NO_STATEMENT_EXIST"}) if missing in asked.target else reply
    )
    kinds = {line.kind for line in await lines_of(channel)}
    assert kinds == ({"transfer"} if missing == "trade" else {"payment", "refund"})


@pytest.mark.parametrize("late", ["trade", "fundflow"])
@pytest.mark.parametrize(
    ("answer", "error"), [(Reply(400, {"code": "STATEMENT_CREATING"}), NotYet), (Reply(500, b"<html>"), NoBill)]
)
async def test_both_or_neither(channel: WeChat, double: Double, late: str, answer: Reply, error: type[NoBill]) -> None:
    changing(double, lambda asked, reply: answer if late in asked.target and "/bill/" in asked.target else reply)
    async with aclosing(channel.bill(DAY)) as pages:
        with pytest.raises(error):
            await anext(pages)


async def test_before_ten_o_clock_in_beijing_nobody_is_asked(
    double: Double, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the provider says then is not that nothing moved."""
    channel = WeChat(settings(env="prod", wechat_url=double.url), waits)
    ten = datetime.fromisoformat("2026-11-27T10:00:00+08:00").timestamp()
    changing(double, lambda _, reply: reply)
    monkeypatch.setattr("clock.channels.wechat.time.time", lambda: ten - 1)
    with pytest.raises(NotYet):
        await lines_of(channel)
    assert double.asked == []
    monkeypatch.setattr("clock.channels.wechat.time.time", lambda: ten)
    monkeypatch.setattr("tests.unit.wechat.stage.time.time", lambda: ten)
    assert await lines_of(channel) == LINES
    await channel.close()


async def test_in_development_the_double_says_whether_there_is_a_bill(channel: WeChat, double: Double) -> None:
    changing(double, lambda _, reply: reply)
    assert await lines_of(channel, "2099-01-01") == LINES


def replaced(kind: str, **fields: str) -> Callable[[Asked, Reply], Reply]:
    return lambda asked, reply: (
        Reply(200, {**reply.body, **fields}) if asked.target.startswith(f"/v3/bill/{kind}") else reply
    )


def download(**fields: Any) -> Callable[[Asked, Reply], Reply]:
    return lambda asked, reply: (
        Reply(**{"status": 200, "body": reply.body, "headers": lambda _: {}, **fields})
        if "token=trades" in asked.target
        else reply
    )


WRONG: dict[str, Callable[[Asked, Reply], Reply]] = {
    "another hash of trades": replaced("tradebill", hash_value="0" * 40),
    "another hash of funds": replaced("fundflowbill", hash_value="0" * 40),
    "no hash": lambda asked, reply: (
        Reply(200, {"download_url": "http://127.0.0.1:9/"}) if "/bill/" in asked.target else reply
    ),
    "nobody at its address": replaced("tradebill", download_url="http://127.0.0.1:9/file"),
    "an address that is none": replaced("tradebill", download_url="file"),
    "an address that has run out": download(status=403),
    "an announcement that is not signed": lambda asked, reply: Reply(200, reply.body, lambda _: {}),
    "an announcement of a stranger's": lambda asked, reply: (
        Reply(200, reply.body, lambda raw: signed(raw, "stranger")) if "/bill/" in asked.target else reply
    ),
    "cut while zipped": lambda asked, reply: (
        Reply(200, reply.body[:-20], lambda _: {}) if "token=trades" in asked.target else reply
    ),
    "damaged while zipped": lambda asked, reply: (
        Reply(200, reply.body[:20] + b"\0\0\0\0" + reply.body[24:], lambda _: {})
        if "token=trades" in asked.target
        else reply
    ),
    "not the bill": download(body=b"<html>"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_bill_that_is_not_what_was_announced(channel: WeChat, double: Double, name: str) -> None:
    changing(double, WRONG[name])
    async with aclosing(channel.bill(DAY)) as pages:
        with pytest.raises(NoBill):
            await anext(pages)


def broken(text: bytes) -> dict[str, bytes]:
    lines = text.split(b"\r\n")
    return {
        "without its totals": b"\r\n".join(lines[:-3]),
        "without the line of totals": b"\r\n".join(lines[:-2]),
        "with a row less": b"\r\n".join([*lines[:1], *lines[2:]]),
        "with a row more": b"\r\n".join([*lines[:2], lines[1], *lines[2:]]),
        "with something after its totals": text + lines[1],
        "with a row that is cut": text.replace(lines[1], lines[1].rpartition(b",`")[0]),
        "with a column less": text.replace("商户订单号,".encode(), b""),
        "with an amount that is none": text.replace(b"`1.00,", b"`1.0a,"),
        "with an amount of three places": text.replace(b"`1.00,", b"`1.005,"),
        "with a time that is none": text.replace(b"2026-11-26 07", b"2026-11-26 27"),
        "with a day without a time": text.replace(b"2026-11-26 07:00:00", b"2026-11-26"),
        "with another amount": text.replace(b"`1.00,", b"`1.01,"),
        "with another count": text.replace(b"`5.0,", b"`6.0,"),
        "with another total of refunds": text.replace(b"`2.61\r\n", b"`2.62\r\n"),
        "with a total that is none": text.replace(b"`13.3,", b"`,"),
        "with a line without end": text.replace(b"oUpF8", b"o" * (1 << 17)),
        "empty": b"",
        "headings alone": lines[0] + b"\r\n",
    }


@pytest.mark.parametrize("name", broken(TRADES))
async def test_a_bill_that_does_not_add_up_counts_for_nothing(channel: WeChat, double: Double, name: str) -> None:
    """Its hash is right: it is the provider's own mistake, or a form that it has changed."""
    text = broken(TRADES)[name]
    assert text != TRADES
    changing(double, lambda _, reply: reply, text)
    with pytest.raises(NoBill):
        await lines_of(channel)


FUNDS_WRONG = {
    "another way": paper.funds([paper.movement("W1N1", "1.00", "冻结")], "0.00", "1.00"),
    "another total": paper.funds([paper.movement("W1N1", "1.00")], "0.00", "1.01"),
    "another count": paper.funds([paper.movement("W1N1", "1.00")], "0.00", "1.00").replace(b"`1,`0,", b"`2,`0,"),
    "another total of what came": paper.funds([paper.movement("W1N1", "1.00", "收入")], "2.00", "0.00"),
}


@pytest.mark.parametrize("name", FUNDS_WRONG)
async def test_a_flow_of_funds_that_does_not_add_up(channel: WeChat, double: Double, name: str) -> None:
    double.reply = lambda asked: double.bills(asked, TRADES, FUNDS_WRONG[name])
    with pytest.raises(NoBill):
        await lines_of(channel)


@pytest.mark.parametrize("encoded", [False, True])
async def test_a_bill_that_comes_unzipped_or_is_unzipped_by_http(
    channel: WeChat, double: Double, encoded: bool
) -> None:
    """It is not documented which of them a server's headers make of a ``.gz``."""
    headers = {"content-encoding": "gzip"} if encoded else {}
    body = gzip.compress(TRADES) if encoded else TRADES
    changing(double, download(body=body, headers=lambda _: headers))
    assert await lines_of(channel) == LINES


@pytest.mark.usefixtures("thrifty")
def test_many_rows_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bills, "IN_MEMORY", 1 << 18)
    monkeypatch.setattr(bills, "UNZIPPED", 1 << 16)
    few = 1_000
    head, row, *_ = paper.trades([paper.payment("42", ORDER, "1.00")], "1.00", "0.0").split(b"\r\n")
    totals = paper.trades([], "30000.0", "0.0", "3.0E4").split(b"\r\n", 1)[1]
    zipping = zlib.compressobj(wbits=31)
    pieces = [zipping.compress(head + b"\r\n")]
    pieces += [zipping.compress((row + b"\r\n") * few) for _ in range(30)]
    pieces += [zipping.compress(totals), zipping.flush()]
    tracemalloc.start()
    try:
        with bills.Paper() as made:
            for piece in pieces:
                made.add(piece)
            sizes = [len(page) for page in bills.pages(bills.trades(made.lines()))]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == [bills.PAGE] * 15
    assert most < 3 << 20 < 30 * few * len(row) // 2


async def test_whoever_stops_reading_leaves_nothing_behind(channel: WeChat, double: Double) -> None:
    changing(double, lambda _, reply: reply)
    async with aclosing(channel.bill(DAY)) as pages:
        await anext(pages)


def test_a_bill_that_unzips_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bills, "MOST_BILL", 1 << 22)
    bomb = gzip.compress(bytes(1 << 24))
    with bills.Paper() as made, pytest.raises(NoBill, match="too large"):
        made.add(bomb)


@pytest.mark.parametrize(
    ("yuan", "fen"), [("0", 0), ("0.0", 0), ("1.00", 100), ("12.3", 1230), ("0.01000", 1), ("-0.05", -5), ("007", 700)]
)
def test_yuan_are_fen_without_a_float(yuan: str, fen: int) -> None:
    assert bills.fen(yuan) == fen


@pytest.mark.parametrize("yuan", ["", "1.005", "1,00", "1e2", "NaN", "１", " 1", "--1", "9" * 13])
def test_what_is_no_amount(yuan: str) -> None:
    with pytest.raises(NoBill):
        bills.fen(yuan)
