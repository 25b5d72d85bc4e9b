"""Amounts and times as Alipay writes them: yuan with two decimals, Beijing time without a zone."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")
"""Whatever ``CLOCK_TIMEZONE`` is."""

YUAN = re.compile(r"([+-]?)(\d{1,12})(?:\.(\d{1,2}))?", re.A)
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?", re.A)


def yuan(amount_fen: int) -> str:
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"


def fen(text: str) -> int | None:
    """``None``: not an amount."""
    found = YUAN.fullmatch(text)
    if found is None:
        return None
    sign, whole, parts = found.groups(default="")
    amount_fen = int(whole) * 100 + int(parts.ljust(2, "0"))
    return -amount_fen if sign == "-" else amount_fen


def beijing(at_ms: int) -> str:
    """Whole seconds, rounded down."""
    return datetime.fromtimestamp(at_ms // 1000, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def instant_ms(text: str) -> int:
    """-1: not a time."""
    if not TIME.fullmatch(text):
        return -1
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp() * 1000)
    except (ValueError, OverflowError):
        return -1
