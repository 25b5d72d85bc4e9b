"""Which months may leave the database, and why others may not."""

from typing import Any

from clock.books.months import Month
from clock.books.partitions import PARTITIONED
from clock.books.store import Connection, Store, rows
from clock.config import Settings


async def due_months(store: Store, settings: Settings) -> list[str]:
    """Months that ``clock archive`` would take now, ``YYYY-MM``, oldest first. Asks about months that are in the
    database and old enough: some twenty rows of the catalogue, and of old months only what is open. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    return [str(month) for month in await old_months(store, settings) if not await held_by(store, month)]


async def old_months(store: Store, settings: Settings) -> list[Month]:
    """Months in the database that are past ``CLOCK_KEEP_MONTHS``, oldest first."""
    first = await store.one("first_kept_month", zone=settings.timezone, keep=settings.keep_months)
    assert first is not None
    return [Month.of(row["month"]) for row in await store.all("kept_months") if row["month"] < first["month"]]


async def held_by(place: Store | Connection, month: Month) -> list[dict[str, Any]]:
    """Why a month cannot leave: ``why``, the ``day`` of the round, how many (``count``); at most a hundred."""
    of: dict[str, Any] = {"first": month.first, "last": month.last, "tables": list(PARTITIONED)}
    found = await (place.all("month_holds", **of) if isinstance(place, Store) else rows(place, "month_holds", **of))
    return [{**row, "day": row["day"].isoformat()} for row in found]
