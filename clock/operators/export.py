"""A round's books as CSV for the accountant (RFC 4180), in pages of bounded size, whatever the round's.

UTF-8 with a byte order mark, without which spreadsheets take it for another encoding. Amounts in fen and in yuan, times
in the round's zone. A cell that a spreadsheet would take for a formula, or for a number that it cannot hold, begins
with an apostrophe.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from clock.books.store import Store

What = Literal["orders", "payments", "payouts", "refunds", "ledger"]

ROWS_AT_ONCE = 5_000
BOM = "\ufeff"
LONGEST_NUMBER = 15
"""Digits that a spreadsheet keeps."""


class Table(NamedTuple):
    """``columns``: name of a column to its heading in Chinese. ``…_fen`` is money, ``…_ms`` an instant. ``key``: by
    which the next page is asked for, and what is before the first page's."""

    read: Callable[..., Awaitable[list[Any]]]
    columns: dict[str, str]
    key: dict[str, int | str]


SENT = {
    "uid": "用户",
    "sent_as": "单号",
    "order_no": "订单号",
    "transaction_id": "交易号",
    "amount_fen": "金额",
    "state": "状态",
    "reason": "渠道答复",
    "again_of": "代替",
    "at_ms": "应付时间",
    "ended_ms": "完成时间",
}

TABLES: dict[What, Table] = {
    "orders": Table(
        lambda store, **of: store.all("export_orders", **of),
        {
            "uid": "用户",
            "order_no": "订单号",
            "order_id": "订单编号",
            "amount_fen": "金额",
            "at_ms": "下单时间",
            "late": "迟到支付",
            "member_ms": "成为成员时间",
            "checked_in_ms": "打卡时间",
            "packet_fen": "红包",
            "claimed_ms": "领取时间",
        },
        {"uid": 0},
    ),
    "payments": Table(
        lambda store, **of: store.all("export_payments", **of),
        {
            "uid": "用户",
            "order_no": "订单号",
            "transaction_id": "交易号",
            "channel": "渠道",
            "amount_fen": "金额",
            "paid_at_ms": "支付时间",
            "at_ms": "收到时间",
            "outcome": "结果",
        },
        {"order_no": "", "transaction_id": ""},
    ),
    "payouts": Table(lambda store, **of: store.all("export_outgoing", **of), SENT, {"no": ""}),
    "refunds": Table(lambda store, **of: store.all("export_outgoing", **of), SENT, {"no": ""}),
    "ledger": Table(
        lambda store, **of: store.all("export_ledger", **of),
        {
            "kind": "种类",
            "cause": "原由",
            "uid": "用户",
            "from_account": "转出账户",
            "to_account": "转入账户",
            "amount_fen": "金额",
            "at_ms": "时间",
        },
        {"kind": "", "cause": ""},
    ),
}


async def csv(store: Store, day: date, what: What, zone: str) -> AsyncIterator[bytes]:
    """The file, in pieces of at most :data:`ROWS_AT_ONCE` rows, each read when the one before it has been taken. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    table, local = TABLES[what], ZoneInfo(zone)
    heads = [head for name, said in table.columns.items() for head in _heads(name, said)]
    text = BOM + _line(heads)
    last: dict[str, Any] = table.key
    while True:
        after = dict(zip(("first", "second"), [last[name] for name in table.key], strict=False))
        found = await table.read(store, day=day, kind=what.removesuffix("s"), limit=ROWS_AT_ONCE, **after)
        text += "".join(
            _line([cell for name in table.columns for cell in _cells(name, row[name], local)]) for row in found
        )
        yield text.encode()
        if len(found) < ROWS_AT_ONCE:
            return
        text, last = "", found[-1]


def _heads(name: str, said: str) -> list[str]:
    if name.endswith("_fen"):
        return [f"{name} {said}（分）", f"{name.removesuffix('_fen')}_yuan {said}（元）"]
    return [f"{name.removesuffix('_ms')} {said}"]


def _cells(name: str, value: Any, zone: ZoneInfo) -> list[str]:
    if name.endswith("_fen"):
        return ["", ""] if value is None else [str(value), f"{value // 100}.{value % 100:02}"]
    if value is None:
        return [""]
    if name.endswith("_ms"):
        instant = datetime.fromtimestamp(value // 1000, zone)
        return [f"{instant:%Y-%m-%d %H:%M:%S}.{value % 1000:03}"]
    if isinstance(value, bool):
        return [str(int(value))]
    return [defused(str(value))]


def defused(text: str) -> str:
    """Text that a spreadsheet shows as it is."""
    is_formula = text.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return f"'{text}" if is_formula or (text.isdigit() and len(text) > LONGEST_NUMBER) else text


def _line(cells: list[str]) -> str:
    return ",".join(_quoted(cell) for cell in cells) + "\r\n"


def _quoted(cell: str) -> str:
    if any(mark in cell for mark in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
