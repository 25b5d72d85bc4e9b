"""A month's rows of the tables of rounds: read in one order, kept from changing, let go, taken back.

A month is *sealed* while it is copied: its rows change no more, so that a copy stays true without a lock that others
would wait for. The locks that letting go needs are held for a moment, and asked for again where somebody has them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import date
from typing import LiteralString, NamedTuple, TypeVar

from psycopg import sql
from psycopg.rows import DictRow

from clock.books.partitions import (
    PARTITION_LOCK,
    PARTITIONED,
    attach,
    create_like,
    days_of,
    last_of,
    month_of,
    partition_of,
)
from clock.books.store import Connection, Store, one, rows
from clock.domain import progress
from clock.domain.outcomes import Unavailable

Done = TypeVar("Done")

LOCK_TRIES = 20
LOCK_PAUSE_SECONDS = 0.5
LOCK_MS = 300
"""How long others may wait behind us for a table."""

NAMES: dict[str, frozenset[str]] = {
    "orders": frozenset({"open_id"}),
    "payments": frozenset({"raw"}),
    "outgoing": frozenset({"open_id"}),
}
"""Columns that say who a user is, by table. They leave as an empty text, unless they are NULL: nobody is paid from an
archive."""


class Month(NamedTuple):
    """Shown as ``YYYY-MM``."""

    first: date
    last: date

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(month_of(day), last_of(day))

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Raises :class:`ValueError` for anything but ``YYYY-MM``."""
        if not re.fullmatch(r"\d{4}-\d\d", text, re.ASCII):
            raise ValueError("must be YYYY-MM")
        return cls.of(date.fromisoformat(f"{text}-01"))

    @property
    def days(self) -> list[date]:
        return days_of(self.first)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


class Column(NamedTuple):
    """``place``: in the table's key, or None."""

    name: str
    place: int | None
    is_text: bool


async def archive_of(store: Store, day: date) -> DictRow | None:
    """The archive of a day's month: ``month``, since when its rows change no more, and ``left_at``, since when they are
    in files alone (None: not yet). None for a month that is only in the database."""
    return await store.one("archive_of", day=day)


async def has_left(store: Store, day: date) -> bool:
    """Whether the rows of a day are in files alone: what reads them answers ``archived``."""
    archive = await archive_of(store, day)
    return archive is not None and archive["left_at"] is not None


async def columns_of(connection: Connection, table: str) -> list[Column]:
    """A table's columns, in order."""
    found = await rows(connection, "columns_of", table=table)
    return [Column(row["name"], row["place"], row["is_text"]) for row in found]


async def read(store: Store, table: str, month: Month) -> AsyncIterator[bytes]:
    """A month's rows of a table as CSV with a head, a row a piece, as COPY writes it: the rounds in order, and each by
    the table's key. The same rows are the same bytes, in any session and under any collation. A statement a day: none
    sorts more than that, and between them nothing keeps old rows of other tables."""
    async with store.transaction() as connection, connection.cursor() as cursor:
        await connection.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'")
        columns = await columns_of(connection, table)
        for number, day in enumerate(month.days):
            progress.at(f"read {table} of {month}", number, len(month.days))
            async with cursor.copy(_reading(table, columns, day, head=number == 0)) as copy:
                async for row in copy:
                    yield bytes(row)


def _reading(table: str, columns: Sequence[Column], day: date, *, head: bool) -> sql.Composed:
    emptied = "left({0}, 0) AS {0}"
    shown = [
        sql.SQL(emptied if column.name in NAMES.get(table, ()) else "{0}").format(sql.Identifier(column.name))
        for column in columns
    ]
    key = sorted((column.place, column.name, column.is_text) for column in columns if column.place is not None)
    order = [sql.SQL('{} COLLATE "C"' if is_text else "{}").format(sql.Identifier(name)) for _, name, is_text in key]
    return sql.SQL(
        "COPY (SELECT {shown} FROM {partition} WHERE day = {day} ORDER BY {order}) TO STDOUT"
        " (FORMAT csv, HEADER {head}, ENCODING 'UTF8')"
    ).format(
        shown=sql.SQL(", ").join(shown),
        partition=sql.Identifier(partition_of(table, day)),
        day=sql.Literal(day),
        order=sql.SQL(", ").join(order),
        head=sql.SQL("true" if head else "false"),
    )


SEAL: LiteralString = (
    "CREATE OR REPLACE TRIGGER sealed BEFORE INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW"
    " EXECUTE FUNCTION refuse_change()"
)
UNSEAL: LiteralString = "DROP TRIGGER IF EXISTS sealed ON {}"


async def seal(
    store: Store, month: Month, by_whom: str, held_by: Callable[[Connection], Awaitable[list[DictRow]]]
) -> list[DictRow]:
    """From now on the month's rows do not change, unless ``held_by`` says what still has to: that, and nothing is done.
    Repeatable."""

    async def work(connection: Connection) -> list[DictRow]:
        await _trigger(connection, month, SEAL)
        if held := await held_by(connection):
            await _trigger(connection, month, UNSEAL)
            return held
        await rows(connection, "seal_month", month=month.first, by_whom=by_whom)
        return []

    return await _patiently(store, work)


async def unseal(store: Store, month: Month) -> None:
    """A sealed month that has not left may change again."""

    async def work(connection: Connection) -> None:
        await _trigger(connection, month, UNSEAL)
        await rows(connection, "unseal_month", month=month.first)

    await _patiently(store, work)


async def _trigger(connection: Connection, month: Month, statement: LiteralString) -> None:
    for table in PARTITIONED:
        await connection.execute(sql.SQL(statement).format(sql.Identifier(partition_of(table, month.first))))


async def leave(store: Store, month: Month, manifest_sha256: bytes) -> None:
    """The sealed month's tables go, in the transaction that says where their rows are now. Raises
    :class:`~clock.domain.outcomes.Unavailable` where somebody reads the tables all the time; a retry is safe."""

    async def work(connection: Connection) -> None:
        await rows(connection, "lock_partitions", lock=PARTITION_LOCK)
        tables = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(name)) for name in PARTITIONED)
        await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
        for table in PARTITIONED:
            names = {"table": sql.Identifier(table), "name": sql.Identifier(partition_of(table, month.first))}
            await connection.execute(sql.SQL("ALTER TABLE {table} DETACH PARTITION {name}").format(**names))
            await connection.execute(sql.SQL("DROP TABLE {name}").format(**names))
        await rows(connection, "drop_unsent", first=month.first, last=month.last)
        await rows(connection, "drop_trees", first=month.first, last=month.last)
        await rows(connection, "forget_callbacks", first=month.first, last=month.last)
        await one(connection, "month_left", month=month.first, manifest_sha256=manifest_sha256)

    await _patiently(store, work)


async def _patiently(store: Store, work: Callable[[Connection], Awaitable[Done]]) -> Done:
    """Do it in a transaction that waits for a lock for :data:`LOCK_MS` alone, up to :data:`LOCK_TRIES` times."""
    for tried in range(1, LOCK_TRIES + 1):
        try:
            async with store.transaction() as connection:
                await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_MS}ms")))
                return await work(connection)
        except Unavailable:
            if tried == LOCK_TRIES:
                raise
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
    raise AssertionError


async def fill(
    connection: Connection, month: Month, table: str, columns: Sequence[str], pieces: Iterable[bytes]
) -> None:
    """Make a table beside ``table`` and fill it from CSV whose head names the columns. What watches the inserts of
    ``table`` has counted these rows long ago, and does not see them."""
    name = partition_of(table, month.first)
    await create_like(connection, table, name)
    async with connection.cursor() as cursor:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER match, ENCODING 'UTF8')").format(
            sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        async with cursor.copy(statement) as copy:
            for piece in pieces:
                await copy.write(piece)


async def attach_all(connection: Connection, month: Month, tables: Sequence[str]) -> None:
    """The filled tables are the month's partitions from the end of the transaction on. Others read and write
    meanwhile."""
    await rows(connection, "lock_partitions", lock=PARTITION_LOCK)
    for table in tables:
        await attach(connection, table, partition_of(table, month.first), month.days)
    await rows(connection, "keep_unsent", first=month.first, last=month.last)
