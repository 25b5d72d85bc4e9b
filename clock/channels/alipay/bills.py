"""The bills of a day, ``trade`` (payments and refunds) and ``signcustomer`` (transfers): zipped tables in GBK.

Both are fetched into temporary files before the first line is handed on, and read line by line: memory is bounded.
"""

import csv
import time
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import IO
from zipfile import BadZipFile, ZipFile

from clock.channels import BillLine, NoBill, NotYet, TooManyCalls
from clock.channels.alipay.gateway import Gateway
from clock.channels.alipay.texts import BEIJING, fen, instant_ms
from clock.channels.calls import FAULTS, MOST_BILL, pieces
from clock.channels.lines import UnreadableLines

METHOD = "alipay.data.dataservice.bill.downloadurl.query"
KINDS = ("trade", "signcustomer")

MADE_HOURS = 34
"""From the day's beginning: bills are made until about 10 in the next morning."""

LATE_HOURS = 48
"""From the day's beginning: whoever then says that there is no bill means that nothing moved."""

MISSING = ("BILL_NOT_EXIST", "NO_BILL_DATA")
"""Endings of the ``sub_code`` of a bill that is not made yet, or never."""

IN_MEMORY = 1 << 22
MOST_TEXT = 1 << 32
"""Bytes of all tables of a bill."""
MOST_LINE = 1 << 16
PAGE = 500

UNREADABLE = (BadZipFile, zlib.error, csv.Error, EOFError, NotImplementedError, RuntimeError, UnicodeError)
"""What reading a damaged bill raises."""

NOT_TRANSFERS = ("退款", "收费", "服务费", "手续费")
"""Expenses of the account that are refunds or fees; their lines have the number of what they belong to."""

Rows = Iterator[BillLine | None]


async def pages_of(gateway: Gateway, day: str, *, moved: bool) -> AsyncGenerator[list[BillLine], None]:
    """``moved``: in development, where the clock may be moved, only Alipay says what there is. Raises
    :class:`NoBill`."""
    begun = datetime.fromisoformat(day).replace(tzinfo=BEIJING)
    hours = (datetime.fromtimestamp(time.time(), BEIJING) - begun) / timedelta(hours=1)
    if hours < MADE_HOURS and not moved:
        raise NotYet("bills are made by 10:00 Beijing time of the next day")
    with ExitStack() as opened:
        files = {kind: await _fetched(gateway, kind, day, opened, empty=hours >= LATE_HOURS) for kind in KINDS}
        for kind, file in files.items():
            page: list[BillLine] = []
            for number, line in enumerate(_read(kind, file) if file else ()):
                if line:
                    page.append(line)
                if number % PAGE == PAGE - 1:
                    yield page  # also an empty one: others have their turn
                    page = []
            if page:
                yield page


async def _fetched(gateway: Gateway, kind: str, day: str, opened: ExitStack, *, empty: bool) -> IO[bytes] | None:
    """The bill; ``None``: nothing moved. Its URL is valid for 30 s, so each is fetched as soon as it is known."""
    try:
        heard = await gateway.ask(METHOD, {"bill_type": kind, "bill_date": day})
    except TooManyCalls as error:
        raise NoBill(f"too many calls: {error}") from error
    fields = heard.fields or {}
    if fields.get("code") != "10000":
        if fields.get("sub_code", "").upper().endswith(MISSING):
            if empty:
                return None
            raise NotYet(f"{kind}: {heard.reason}")
        raise NoBill(f"{kind}: {heard.reason}")
    file = opened.enter_context(SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed with the others
    try:
        async with gateway.calls.long("GET", fields.get("bill_download_url", "")) as reply:
            if reply.status != 200:
                raise NoBill(f"{kind}: HTTP {reply.status}")
            async for piece in pieces(reply, MOST_BILL):
                file.write(piece)
    except (*FAULTS, ValueError, UnreadableLines) as error:
        raise NoBill(f"{kind}: {type(error).__name__}") from error
    return file


def _read(kind: str, file: IO[bytes]) -> Rows:
    """Its lines, ``None`` for one that does not concern us. Raises :class:`NoBill` where no table is found."""
    read, columns = (_moved_in_trade, TRADE) if kind == "trade" else (_sent, SIGNCUSTOMER)
    tables = 0
    try:
        with ZipFile(file, metadata_encoding="gbk") as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_TEXT:
                raise NoBill(f"{kind}: too large")
            for member in archive.infolist():
                with archive.open(member) as raw, TextIOWrapper(raw, "gbk", errors="replace", newline="") as text:
                    for row in _table(text, columns):
                        tables += not row
                        yield read(row) if row else None
    except UNREADABLE as error:
        raise NoBill(f"{kind}: {type(error).__name__}") from error
    if not tables:
        raise NoBill(f"{kind}: no table with the columns {', '.join(columns)}")


def _table(text: TextIOWrapper, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Its rows by the names of the columns; the first is empty and says that the table has begun. Nothing of a file
    that has other columns: the sums."""
    names: list[str] = []
    for cells in csv.reader(_lines(text)):
        values = [cell.strip() for cell in cells]
        if names:
            yield dict(zip(names, values, strict=False))
            continue
        found = [value.replace("（", "(").partition("(")[0] for value in values]
        if set(columns) <= set(found):
            names = found
            yield {}


def _lines(text: TextIOWrapper) -> Iterator[str]:
    """Without the comments around the table."""
    while line := text.readline(MOST_LINE):
        if len(line) == MOST_LINE:
            raise csv.Error("a line without end")
        if line.strip() and not line.startswith("#"):
            yield line


TRADE = ("支付宝交易号", "商户订单号", "业务类型", "完成时间", "订单金额", "退款批次号/请求号")
SIGNCUSTOMER = ("商户订单号", "发生时间", "支出金额")


def _moved_in_trade(row: Mapping[str, str]) -> BillLine | None:
    kind, trade_no, order_no = row.get("业务类型", ""), row.get("支付宝交易号", ""), row.get("商户订单号", "")
    amount_fen, at_ms = _amount(row.get("订单金额", "")), _time(row.get("完成时间", ""))
    if kind == "交易":
        return BillLine("payment", trade_no, order_no, amount_fen, at_ms)
    if kind == "退款":
        return BillLine("refund", row.get("退款批次号/请求号", ""), order_no, abs(amount_fen), at_ms)
    return None


def _sent(row: Mapping[str, str]) -> BillLine | None:
    """Transfers are the expenses of the account that are nothing else. A number that is not ours is nobody's."""
    no, kind, expense = row.get("商户订单号", ""), row.get("业务类型", ""), row.get("支出金额", "")
    if not no or expense in ("", "0") or any(word in kind for word in NOT_TRANSFERS):
        return None
    amount_fen = abs(_amount(expense))
    return BillLine("transfer", no, "", amount_fen, _time(row.get("发生时间", ""))) if amount_fen else None


def _amount(text: str) -> int:
    amount_fen = fen(text)
    if amount_fen is None:
        raise csv.Error("an amount that is none")
    return amount_fen


def _time(text: str) -> int:
    at_ms = instant_ms(text)
    if at_ms < 0:
        raise csv.Error("a time that is none")
    return at_ms
