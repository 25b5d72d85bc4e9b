"""Earlier versions made a partition a day. Those of a month that is over are merged into one.

Each day's rows are copied into a table beside, some days of a table a transaction, which keeps writers from these
days as long as it takes. What is written to a day later is noticed by a trigger, and the day is copied again. When the
table beside has all days as they stand, it takes the place of their partitions, in one transaction. Whoever is killed
has copied whole days. Readers go on but for the moment of the exchange, which gives up where it would have to wait.
"""

from collections.abc import Iterable
from datetime import date
from time import monotonic
from typing import LiteralString

import structlog
from psycopg import sql

from clock.books.partitions import (
    PARTITION_LOCK,
    PARTITIONED,
    attach,
    create_like,
    day_partition_of,
    days_of,
    last_of,
    month_of,
    partition_of,
)
from clock.books.store import Connection, Store, one, rows
from clock.domain import progress

log = structlog.get_logger()

QUIET_DAYS = 3
"""A month is merged when its last round has been over for so long."""

PIECE_SECONDS = 1.0
"""How long one transaction copies days, but for its last one."""

COPY: tuple[LiteralString, ...] = (
    "LOCK TABLE ONLY {old} IN SHARE ROW EXCLUSIVE MODE",
    "CREATE OR REPLACE TRIGGER merging AFTER INSERT OR UPDATE OR DELETE ON {old}"
    " FOR EACH ROW EXECUTE FUNCTION forget_merged({table})",
    "DELETE FROM {whole} WHERE day = {day}",
    "INSERT INTO {whole} SELECT * FROM {old} WHERE day = {day}",
)


def beside(table: str, month: date) -> str:
    """The table into which the days are copied."""
    return f"{partition_of(table, month)}_whole"


async def merge_some(store: Store) -> bool:
    """Do the next step: copy some days of a table, or put a month of a table into the place of its days. Whether there
    was one. Raises :class:`~clock.domain.outcomes.Unavailable`, also where others are in the way for now."""
    async with store.transaction() as connection:
        await rows(connection, "lock_partitions", lock=PARTITION_LOCK)
        month = await _next_month(connection)
        if month is None:
            return False
        there = await _there(connection, month)
        for number, table in enumerate(PARTITIONED):
            old = sources(there, table, month)
            if set(old.values()) - {partition_of(table, month)}:
                progress.at(f"merging {month:%Y-%m}", number, len(PARTITIONED))
                if beside(table, month) not in there:
                    await _create(connection, table, month)
                await _step(connection, table, month, old)
                return True
    return False


async def _next_month(connection: Connection) -> date | None:
    """The oldest month with partitions of days, if all its rounds have been over for some days and are in the
    accounts."""
    if await rows(connection, "uncarried"):
        return None
    oldest = (await one(connection, "oldest_day_partition", tables=list(PARTITIONED)))["day"]
    if oldest is None:
        return None
    month = month_of(oldest)
    busy = await one(connection, "month_is_busy", first=month, last=last_of(month), days=QUIET_DAYS)
    return None if busy["busy"] else month


async def _there(connection: Connection, month: date) -> set[str]:
    names = []
    for table in PARTITIONED:
        names += [partition_of(table, month), beside(table, month)]
        names += [day_partition_of(table, day) for day in days_of(month)]
    return {row["name"] for row in await rows(connection, "known_tables", names=names)}


def sources(there: Iterable[str], table: str, month: date) -> dict[date, str]:
    """The partition of each day of a month, given the tables that are there."""
    whole, found = partition_of(table, month), {}
    for day in days_of(month):
        if (own := day_partition_of(table, day)) in there:
            found[day] = own
        elif whole in there:
            found[day] = whole
    return found


async def _step(connection: Connection, table: str, month: date, old: dict[date, str]) -> None:
    merged = {row["day"] for row in await rows(connection, "merged_days", table=table, days=list(old))}
    missing, until = [day for day in old if day not in merged], monotonic() + PIECE_SECONDS
    for day in missing:
        await _copy(connection, table, day, old[day])
        if monotonic() > until:
            return
    if not missing:
        await _exchange(connection, table, month, old)


async def _create(connection: Connection, table: str, month: date) -> None:
    """The table beside, whose check says what its bound will say: attaching it needs no scan then."""
    name, days = sql.Identifier(beside(table, month)), sql.SQL(", ").join(map(sql.Literal, days_of(month)))
    await rows(connection, "forget_merged_days", table=table, days=days_of(month))
    await create_like(connection, table, beside(table, month))
    await connection.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT whole CHECK (day IN ({}))").format(name, days))


async def _copy(connection: Connection, table: str, day: date, name: str) -> None:
    """Copy a day anew. The lock lets whoever has written to it end first; others wait, or try again."""
    names = {
        "old": sql.Identifier(name),
        "whole": sql.Identifier(beside(table, day)),
        "day": sql.Literal(day),
        "table": sql.Literal(table),
    }
    for statement in COPY:
        await connection.execute(sql.SQL(statement).format(**names))
    await rows(connection, "mark_merged", table=table, day=day)


async def _exchange(connection: Connection, table: str, month: date, old: dict[date, str]) -> None:
    """The table beside takes the place of the partitions. Whoever asks for any round waits meanwhile, so this waits for
    others for a moment only. Who locks a partition has locked its table before, but for a vacuum."""
    partitions = sorted(set(old.values()))
    await connection.execute("SET LOCAL lock_timeout = '500ms'")
    await connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
    for partition in partitions:
        lock = "LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE NOWAIT"
        await connection.execute(sql.SQL(lock).format(sql.Identifier(partition)))
    if len(await rows(connection, "merged_days", table=table, days=list(old))) < len(old):
        return  # a day has changed meanwhile
    await _drop(connection, table, partitions)
    whole, name = sql.Identifier(beside(table, month)), sql.Identifier(partition_of(table, month))
    await attach(connection, table, beside(table, month), days_of(month))
    await connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT whole").format(whole))
    await connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(whole, name))
    await rows(connection, "forget_merged_days", table=table, days=days_of(month))
    log.info("partitions_merged", table=table, month=f"{month:%Y-%m}", days=len(old))


async def _drop(connection: Connection, table: str, names: list[str]) -> None:
    for name in names:
        parts = {"table": sql.Identifier(table), "name": sql.Identifier(name)}
        await connection.execute(sql.SQL("ALTER TABLE {table} DETACH PARTITION {name}").format(**parts))
        await connection.execute(sql.SQL("DROP TABLE {name}").format(**parts))
