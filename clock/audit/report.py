"""What a comparison found: each difference is named with its order, user or number."""

from datetime import date

import msgspec
import structlog

from clock.books.store import Store

log = structlog.get_logger()

MOST = 1_000
"""Differences listed of one kind."""


class Difference(msgspec.Struct, frozen=True):
    """``one`` and ``other`` are what two places say of ``subject``."""

    what: str
    subject: str
    one: str
    other: str


class Report(msgspec.Struct, kw_only=True):
    """``mended``: payments that the bill had and the books have now."""

    day: str
    differences: list[Difference] = []
    mended: list[str] = []
    bill_lines: int | None = None
    """``None``: no platform is configured that could be asked."""


async def record(store: Store, day: date, report: Report) -> None:
    """Save the report as the newest of its round, and log each difference."""
    await store.all(
        "save_reconciliation",
        day=day,
        differences=msgspec.json.encode(report.differences).decode(),
        mended=msgspec.json.encode(report.mended).decode(),
    )
    for difference in report.differences:
        log.error("books_differ", day=report.day, **msgspec.to_builtins(difference))
