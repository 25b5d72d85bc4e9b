"""Bills: both or neither, from 10:00 Beijing time of the next day, in pages; damaged ones are none."""

import io
import time
import tracemalloc
from collections.abc import Iterable
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from clock.channels import BillLine, NoBill, NotYet, TooManyCalls
from clock.channels.alipay import Alipay
from clock.channels.alipay.bills import MOST_LINE
from clock.channels.alipay.texts import instant_ms
from tests.unit.alipay.stage import ORDER, TRADE, Double, channel, reply, settings

DAY = "2026-11-27"
METHOD = "alipay.data.dataservice.bill.downloadurl.query"
AT_MS = instant_ms(f"{DAY} 10:00:01")

TRADE_NAMES = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
SENT_NAMES = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,"
    "交易渠道,业务类型,备注"
)


def traded(kind: str, amount: str, number: str = "", order: str = ORDER, at: str = f"{DAY} 10:00:01") -> str:
    return (
        f"{TRADE}\t,{order}\t,{kind},早起打卡,{DAY} 10:00:00,{at},,,,,159****5620\t,{amount},{amount},"
        f"0.00,0.00,0.00,0.00,0.00,,0.00,0.00,{number}\t,-0.01,0.00,"
    )


def moved(no: str, out: str, kind: str = "转账", came: str = "0.00") -> str:
    return f"1\t,2\t,{no}\t,早起红包\t,{DAY} 10:00:01,某人 (159****5620)\t,{came},{out},99.00,支付宝,{kind},"


def table(names: str, lines: Iterable[str], title: str = "业务明细") -> bytes:
    text = [
        f"#支付宝{title}查询",
        "#账号：[20880000000000010156]",
        "#起始日期：[2026年11月27日 00:00:00]   终止日期：[2026年11月28日 00:00:00]",
        f"#-----------------------------------------{title}列表----------------------------------------",
        names,
        *lines,
        f"#-----------------------------------------{title}列表结束------------------------------------",
        "#交易合计：1笔，商家实收共1.00元，商家优惠共0.00元",
        "#导出时间：[2026年11月28日 09:00:00]",
    ]
    return "\r\n".join([*text, ""]).encode("gbk")


SUMS = (
    "#支付宝业务汇总查询\r\n门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）\r\n合计,,1,0,1.00\r\n"
).encode("gbk")


def zipped(detail: bytes, name: str = "业务明细") -> bytes:
    """The sums come first, and the names are in GBK without saying so."""
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for title, content in ((f"20880000_{DAY}_{name}(汇总).csv", SUMS), (f"20880000_{DAY}_{name}.csv", detail)):
            archive.writestr(GbkName(title), content, ZIP_DEFLATED)
    return file.getvalue()


class GbkName(ZipInfo):
    """As older programs write it: no flag for UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("gbk"), self.flag_bits


GOOD = {
    "trade": zipped(
        table(
            TRADE_NAMES,
            [traded("交易", "1.00"), traded("退款", "-0.40", "R1"), traded("转账到银行卡", "5.00")],
        )
    ),
    "signcustomer": zipped(
        table(
            SENT_NAMES,
            [
                moved(ORDER, "0.00", "在线支付", "1.00"),
                moved(ORDER, "-0.40", "交易退款"),
                moved(ORDER, "-0.01", "收费"),
                moved("P1", "-1.23"),
                moved("P1", "-0.01", "转账服务费"),
                moved("P2", "-0.10", "现金红包"),
                moved("", "-5.00", "提现"),
            ],
            "账务明细",
        ),
        "账务明细",
    ),
}

LINES = [
    BillLine("payment", TRADE, ORDER, 100, AT_MS),
    BillLine("refund", "R1", ORDER, 40, AT_MS),
    BillLine("transfer", "P1", "", 123, AT_MS),
    BillLine("transfer", "P2", "", 10, AT_MS),
]


def asked(gateway: Double, **missing: str) -> None:
    """``missing``: by the kind of bill, the ``sub_code``."""

    def says(form: dict[str, str]) -> bytes:
        kind = "signcustomer" if '"signcustomer"' in form["biz_content"] else "trade"
        if kind in missing:
            return reply(METHOD, {"code": "40004", "sub_code": missing[kind]})
        return reply(METHOD, {"code": "10000", "bill_download_url": f"{gateway.url}?kind={kind}&downloadFileName=x"})

    gateway.says[METHOD] = says
    gateway.files = dict(GOOD)


def at(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(time, "time", lambda: instant_ms(text) / 1000)


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "2026-11-28 10:00:00")


async def read(alipay: Alipay) -> list[BillLine]:
    return [line async for page in alipay.bill(DAY) for line in page]


async def test_the_lines_of_both_bills_are_read(alipay: Alipay, gateway: Double) -> None:
    asked(gateway)
    assert await read(alipay) == LINES
    assert [form["biz_content"] for form in gateway.forms] == [
        f'{{"bill_type":"{kind}","bill_date":"{DAY}"}}' for kind in ("trade", "signcustomer")
    ]


async def test_before_ten_nobody_is_asked(alipay: Alipay, gateway: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "2026-11-28 09:59:59")
    with pytest.raises(NotYet):
        await read(alipay)
    assert gateway.forms == []


async def test_in_development_only_alipay_says_what_there_is(gateway: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "2026-11-20 00:00:00")
    asked(gateway)
    moved_clock = channel(settings(env="dev", alipay_url=gateway.url))
    assert await read(moved_clock) == LINES
    asked(gateway, trade="isp.bill_not_exist")
    with pytest.raises(NotYet):
        await read(moved_clock)
    await moved_clock.close()


@pytest.mark.parametrize("sub_code", ["isp.bill_not_exist", "BILL_NOT_EXIST", "NO_BILL_DATA"])
@pytest.mark.parametrize("kind", ["trade", "signcustomer"])
async def test_both_or_neither_until_the_day_after(
    kind: str, sub_code: str, alipay: Alipay, gateway: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alipay says the same of a bill that is late and of one that will never be."""
    asked(gateway, **{kind: sub_code})
    at(monkeypatch, "2026-11-28 23:59:59")
    pages = alipay.bill(DAY)
    with pytest.raises(NotYet):
        await anext(pages)
    at(monkeypatch, "2026-11-29 00:00:00")
    gone = ("payment", "refund") if kind == "trade" else ("transfer",)
    assert await read(alipay) == [line for line in LINES if line.kind not in gone]


async def test_what_is_no_answer_is_no_bill(alipay: Alipay, gateway: Double) -> None:
    asked(gateway, signcustomer="isv.invalid-arguments")
    pages = alipay.bill(DAY)
    with pytest.raises(NoBill) as caught:
        await anext(pages)
    assert not isinstance(caught.value, NotYet)
    gateway.says[METHOD] = reply(METHOD, {"code": "10000", "bill_download_url": gateway.url}, signer="app")
    with pytest.raises(NoBill, match="not verified"):
        await read(alipay)
    gateway.says[METHOD] = reply(METHOD, {"code": "10000", "bill_download_url": "no URL"})
    with pytest.raises(NoBill):
        await read(alipay)


DAMAGED: dict[str, bytes] = {
    "no archive": b"<html>expired</html>",
    "nothing": b"",
    "cut": GOOD["trade"][:-30],
    "a byte changed": GOOD["trade"][:700] + b"\xff" + GOOD["trade"][701:],
    "an archive of nothing": zipped(b""),
    "other columns": zipped(table("交易号,订单号", ["1,2"])),
    "an amount that is none": zipped(table(TRADE_NAMES, [traded("交易", "one")])),
    "parts of a fen": zipped(table(TRADE_NAMES, [traded("交易", "1.005")])),
    "a time that is none": zipped(table(TRADE_NAMES, [traded("交易", "1.00", at="yesterday")])),
    "half a line": zipped(table(TRADE_NAMES, [traded("交易", "1.00")[:40]])),
}


@pytest.mark.parametrize("file", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_bill_is_none(file: bytes, alipay: Alipay, gateway: Double) -> None:
    asked(gateway)
    gateway.files["trade"] = file
    with pytest.raises(NoBill):
        await read(alipay)


async def test_a_line_that_is_too_long_is_not_read_as_two(alipay: Alipay, gateway: Double) -> None:
    asked(gateway)
    gateway.files["signcustomer"] = zipped(table(SENT_NAMES, ["x" * MOST_LINE + moved("P9", "-1.00")]))
    with pytest.raises(NoBill):
        await read(alipay)


async def test_a_url_that_has_expired_is_no_bill(alipay: Alipay, gateway: Double) -> None:
    asked(gateway)
    says = gateway.says[METHOD]
    assert callable(says)

    def and_then(form: dict[str, str]) -> bytes:
        gateway.files = {}
        return says(form)

    gateway.says[METHOD] = and_then
    with pytest.raises(NoBill, match="HTTP 500"):
        await read(alipay)


async def test_a_limit_that_is_used_up_is_no_bill(gateway: Double) -> None:
    async def wait(endpoint: str, per_second: float) -> None:
        raise TooManyCalls(endpoint)

    with pytest.raises(NoBill):
        await read(Alipay(settings(alipay_url=gateway.url), wait))
    assert gateway.forms == []


@pytest.mark.usefixtures("thrifty")
async def test_a_large_bill_comes_in_pages_and_is_never_in_memory(alipay: Alipay, gateway: Double) -> None:
    asked(gateway)
    line = traded("交易", "1.00")
    gateway.files["trade"] = zipped(table(TRADE_NAMES, [line] * 20_000))
    largest = count = 0
    tracemalloc.start()
    async for page in alipay.bill(DAY):
        largest, count = max(largest, len(page)), count + len(page)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000 + 2
    assert largest <= 500
    assert peak < 2_500_000, peak  # a fifth of its text
