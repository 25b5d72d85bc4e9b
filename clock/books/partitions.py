"""The partitions of a round's tables, a month each: made long ahead, without holding up whoever reads or writes."""

from calendar import monthrange
from collections.abc import Iterable
from datetime import date, timedelta

from psycopg import sql

from clock.books.store import Connection, Store, rows

PARTITIONED = (
    "orders",
    "payments",
    "members",
    "check_ins",
    "packets",
    "claims",
    "refunds",
    "transfers",
    "outgoing",
)
"""Tables of a round: one partition a month."""

PARTITION_LOCK = 0x636C6F66
"""Advisory lock under which partitions are added and merged: two that look at once would both find one missing."""


def partition_of(table: str, day: date) -> str:
    """The partition of the day's month, as ``orders_202611``."""
    return f"{table}_{day:%Y%m}"


def day_partition_of(table: str, day: date) -> str:
    """The partition that earlier versions made of this day alone, as ``orders_20261122``."""
    return f"{table}_{day:%Y%m%d}"


def month_of(day: date) -> date:
    """The first day of the day's month."""
    return day.replace(day=1)


def last_of(day: date) -> date:
    """The last day of the day's month."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def days_of(day: date) -> list[date]:
    """All days of the day's month."""
    first = month_of(day)
    return [first + timedelta(days) for days in range(last_of(day).day)]


def only(days: Iterable[date]) -> list[date]:
    """These days as ``day = ANY(…)`` takes them. An empty array would not say that no partition is asked for: Postgres
    would lock all."""
    return [*days] or [date.min]


def months_ahead(day: date, months: int) -> date:
    """The first day of the month so many months after the day's; negative: before it."""
    number = day.year * 12 + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


async def months_played(store: Store) -> list[list[date]]:
    """The days of each month that rounds were played in, newest first: for statements that look into all, one month
    after the other. A first and a last day would do as well to name the partition; but Postgres would take the days
    between them for a few of its rows, and read these."""
    played = await store.one("played_days")
    if played is None or played["first"] is None:
        return []
    month, found = month_of(played["last"]), []
    while month >= month_of(played["first"]):
        found.append(days_of(month))
        month = months_ahead(month, -1)
    return found


async def add_partitions(store: Store, days: Iterable[date]) -> int:
    """Make what the days' months lack, each partition in a transaction of its own; how many there were. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    wanted = [(table, month) for month in sorted({month_of(day) for day in days}) for table in PARTITIONED]
    names = [name for table, month in wanted for name in _names(table, month)]
    there = {row["name"] for row in await store.all("known_tables", names=names)}
    lacking = [(table, month) for table, month in wanted if _uncovered(there, table, month)]
    for table, month in lacking:
        await _add(store, table, month)
    return len(lacking)


def _names(table: str, month: date) -> list[str]:
    """What the partitions of a month may be called."""
    return [partition_of(table, month), *(day_partition_of(table, day) for day in days_of(month))]


def _uncovered(there: set[str], table: str, month: date) -> list[date]:
    """Days of a month without a partition, given the tables that are there. A month's partition has every day that has
    none of its own."""
    if partition_of(table, month) in there:
        return []
    return [day for day in days_of(month) if day_partition_of(table, day) not in there]


async def _add(store: Store, table: str, month: date) -> None:
    """CREATE TABLE … PARTITION OF would lock the table against everybody, and wait for whoever reads it: a dump takes
    hours. Attaching lets others read and write meanwhile, and an empty table need not be looked through."""
    async with store.transaction() as connection:
        await rows(connection, "lock_partitions", lock=PARTITION_LOCK)
        there = {row["name"] for row in await rows(connection, "known_tables", names=_names(table, month))}
        if days := _uncovered(there, table, month):
            name = partition_of(table, month)
            await create_like(connection, table, name)
            await attach(connection, table, name, days)


async def create_like(connection: Connection, table: str, name: str) -> None:
    """Make a table that can become a partition of ``table``.

    Its days have no statistics: a day that came since the last ANALYZE would be planned as if it had no rows, and
    joined by nested loops. Without them Postgres takes each day for the 200th part of the partition.
    """
    names = {"name": sql.Identifier(name), "table": sql.Identifier(table)}
    await connection.execute(sql.SQL("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)").format(**names))
    await connection.execute(sql.SQL("ALTER TABLE {name} ALTER COLUMN day SET STATISTICS 0").format(**names))
    if table == "transfers":  # a statement trigger of the parent does not speak for its partitions
        await connection.execute(
            sql.SQL(
                "CREATE TRIGGER kept BEFORE TRUNCATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            ).format(**names)
        )


async def attach(connection: Connection, table: str, name: str, days: Iterable[date]) -> None:
    """Make the table ``name`` the partition of these days."""
    values = sql.SQL(", ").join(sql.Literal(day.isoformat()) for day in days)
    await connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(
            sql.Identifier(table), sql.Identifier(name), values
        )
    )


async def measure(store: Store, day: date) -> None:
    """Tell Postgres how large the partitions of the day are. It looks by itself once a minute at most, and only after
    a tenth of a partition has changed, which in the third week is more than a round."""
    async with store.transaction() as connection:
        names = [name for table in PARTITIONED for name in (partition_of(table, day), day_partition_of(table, day))]
        there = {row["name"] for row in await rows(connection, "known_tables", names=names)}
        for table in PARTITIONED:
            own = day_partition_of(table, day)
            name = own if own in there else partition_of(table, day)
            await connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
