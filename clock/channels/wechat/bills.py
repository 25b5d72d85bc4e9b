"""The bills of a day: trades (payments and refunds), and the flow of funds of the operating account (transfers).

UTF-8 with a byte order mark; values are prefixed by a backtick and not quoted; amounts are in yuan. The last two lines
are totals. A bill is unzipped into a temporary file, so that its hash is known before its first line counts.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, cast

from clock.channels import BillLine, NoBill
from clock.channels.calls import MOST_BILL
from clock.channels.wechat.shapes import BEIJING

IN_MEMORY = 1 << 23
"""Bytes of a bill that are not on disk."""

UNZIPPED = 1 << 20
"""Bytes that are unzipped at once."""

MOST_LINE = 1 << 16
"""Bytes of a line."""

PAGE = 2_000
"""Lines of a page."""

GZIP = b"\x1f\x8b"

YUAN = re.compile(r"(-?\d{1,12})(?:\.(\d\d?)0*)?", re.A)

OURS = re.compile(r"W\d+N\d+", re.A)
"""Numbers of our transfers."""


class Paper:
    """A bill's unzipped bytes, in a temporary file."""

    def __init__(self) -> None:
        self._file = cast(IO[bytes], SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115 - closed by __exit__
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._unzip: Callable[[bytes], Iterator[bytes]] | None = None
        self._size = 0

    def __enter__(self) -> "Paper":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, piece: bytes) -> None:
        """A piece as it came: zipped, unless HTTP has unzipped it. Raises :class:`NoBill`."""
        if self._unzip is None:
            self._unzip = _gunzip() if piece.startswith(GZIP) else lambda plain: iter((plain,))
        try:
            for part in self._unzip(piece):
                self._size += len(part)
                if self._size > MOST_BILL:
                    raise NoBill("the bill is too large")
                self._sha1.update(part)
                self._file.write(part)
        except zlib.error as error:
            raise NoBill(f"the bill cannot be unzipped: {error}") from error

    def check(self, sha1: str) -> None:
        """Raises :class:`NoBill` if it is not the bill that was announced."""
        if self._sha1.hexdigest() != sha1.lower():
            raise NoBill("the bill's hash is another: it did not come whole")

    def lines(self) -> Iterator[str]:
        """Without their ends. A longer one than any row comes in pieces, which are no rows."""
        self._file.seek(0)
        while line := self._file.readline(MOST_LINE):
            yield line.decode("utf-8-sig", "replace").rstrip("\r\n")


def _gunzip() -> Callable[[bytes], Iterator[bytes]]:
    reader = zlib.decompressobj(wbits=31)

    def parts(piece: bytes) -> Iterator[bytes]:
        while part := reader.decompress(piece, UNZIPPED):
            yield part
            piece = reader.unconsumed_tail

    return parts


class Rows:
    """The rows of a bill, one after the other, and then its totals."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._columns = next(lines, "").split(",")
        self.count = 0
        self.totals: dict[str, str] = {}

    def column(self, name: str) -> int:
        """Where a value stands. Headings may go on with a unit."""
        for place, heading in enumerate(self._columns):
            if heading.startswith(name):
                return place
        raise NoBill(f"the bill has no column {name}")

    def __iter__(self) -> Iterator[list[str]]:
        """Raises :class:`NoBill` if the totals are missing: the bill was cut."""
        for line in self._lines:
            if not line.startswith("`"):
                break
            self.count += 1
            values = _values(line)
            if len(values) != len(self._columns):
                raise NoBill(f"row {self.count} of the bill has {len(values)} values, not {len(self._columns)}")
            yield values
        else:
            raise NoBill("the bill ends without totals")
        headings, values = line.split(","), _values(next(self._lines, ""))
        if len(headings) != len(values) or any(self._lines):
            raise NoBill("the bill does not end with its totals")
        self.totals = dict(zip(headings, values, strict=True))

    def agree(self, name: str, hundredths: int) -> None:
        """Raises :class:`NoBill` unless the total is as much."""
        said = next((value for heading, value in self.totals.items() if heading.startswith(name)), "none")
        try:
            agrees = Decimal(said) * 100 == hundredths  # maybe written as 1.0E7
        except InvalidOperation:
            agrees = False
        if not agrees:
            raise NoBill(f"the bill's total {name} is {said}, its rows add up to {hundredths} hundredths")


def _values(line: str) -> list[str]:
    return line[1:].split(",`") if line.startswith("`") else []


def fen(yuan: str) -> int:
    """Raises :class:`NoBill`."""
    found = YUAN.fullmatch(yuan)
    if not found:
        raise NoBill(f"{yuan[:40]!r} is not an amount in yuan")
    whole, part = found[1], (found[2] or "").ljust(2, "0")
    return int(whole + part)


def at_ms(text: str) -> int:
    """``2019-02-19 05:01:46`` in Beijing. Raises :class:`NoBill`."""
    try:
        if len(text) == len("2019-02-19 05:01:46"):
            return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()) * 1000
    except ValueError:
        pass
    raise NoBill(f"{text[:40]!r} is not an instant")


def trades(lines: Iterator[str]) -> Iterator[BillLine]:
    """Payments, and refunds at the time at which they were accepted. Raises :class:`NoBill`, maybe after some.

    A refund that has failed by the time of the bill moved nothing and is left out."""
    rows = Rows(lines)
    at, transaction, order, payer = map(rows.column, ("交易时间", "微信订单号", "商户订单号", "用户标识"))
    state, total = map(rows.column, ("交易状态", "订单金额"))
    refund, refund_state, back = map(rows.column, ("商户退款单号", "退款状态", "申请退款金额"))
    paid = returned = 0
    for row in rows:
        amount_fen, back_fen = fen(row[total]), fen(row[back])
        paid, returned = paid + amount_fen, returned + back_fen
        if row[state] == "SUCCESS":
            yield BillLine("payment", row[transaction], row[order], amount_fen, at_ms(row[at]), row[payer])
        elif row[state] == "REFUND" and row[refund_state] != "FAIL":
            yield BillLine("refund", row[refund], row[order], back_fen, at_ms(row[at]))
    rows.agree("总交易单数", rows.count * 100)
    rows.agree("订单总金额", paid)
    rows.agree("申请退款总金额", returned)


def transfers(lines: Iterator[str]) -> Iterator[BillLine]:
    """Transfers under numbers of ours, and with a minus what came back of them. Raises :class:`NoBill`, maybe after
    some.

    It is not confirmed that 业务凭证号 is our number. Movements without a number of ours are left out: the account may
    be used for other things, too. Were 业务凭证号 something else, the books would list every transfer as missing in the
    bill."""
    rows = Rows(lines)
    names = "记账时间", "收支类型", "收支金额", "业务凭证号"
    at, way, amount, number = map(rows.column, names)
    sums = {"收入": 0, "支出": 0}
    for row in rows:
        if row[way] not in sums:
            raise NoBill(f"{row[way][:40]!r} is neither income nor expense")
        moved_fen = fen(row[amount])
        sums[row[way]] += moved_fen
        if OURS.fullmatch(row[number]):
            sign = 1 if row[way] == "支出" else -1
            yield BillLine("transfer", row[number], "", sign * moved_fen, at_ms(row[at]))
    rows.agree("资金流水总笔数", rows.count * 100)
    rows.agree("收入金额", sums["收入"])
    rows.agree("支出金额", sums["支出"])


def pages(lines: Iterator[BillLine]) -> Iterator[list[BillLine]]:
    while page := list(islice(lines, PAGE)):
        yield page
