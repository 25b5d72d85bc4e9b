"""Postgres: the pool, the named queries of ``sql/``, the partitions of a day."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from functools import cache
from typing import Any, LiteralString, cast

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from clock.domain.outcomes import Unavailable
from clock.files import folder

Connection = AsyncConnection[DictRow]

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
"""Tables of a round: one partition a day."""

MIGRATION_LOCK = 0x636C6F63
"""Advisory lock under which migrations run."""

SETTLEMENT_LOCK = 0x636C6F64
"""Advisory lock of whoever settles, voids or finishes a round."""

PARTITION_LOCK = 0x636C6F66
"""Advisory lock under which a partition is added: IF NOT EXISTS alone fails when two look at once."""

RELEASE_LOCK = 0x636C6F67
"""Advisory lock of whoever decides about a quarantined callback."""

OUTBOX_LOCK = 0x636C6F65
"""First of the two numbers of a shard's drain lease; the second is :func:`~clock.books.outbox.lease_of`."""

NO_SESSION: dict[str, Any] = {"prepare_threshold": None}
"""No prepared statements: behind PgBouncer in transaction mode the next transaction has another server connection,
where the same name may mean another process' statement (docs/decisions/0037)."""

NO_ANSWER = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
"""What psycopg raises where Postgres cannot answer now."""


@cache
def queries() -> dict[str, LiteralString]:
    """The named queries of ``sql/queries/``: ``-- name: sentence``, then the statement."""
    found: dict[str, LiteralString] = {}
    for file in sorted((folder("sql") / "queries").glob("*.sql")):
        for part in re.split(r"^-- (?=\w+: )", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            name, _, body = part.partition(":")
            assert name not in found, f"two queries are called {name}"
            found[name] = cast(LiteralString, body.partition("\n")[2].strip())
    return found


class Store:
    """A pool of connections whose rows are dicts."""

    def __init__(self, url: str, max_size: int = 8) -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=5.0,
            reconnect_timeout=5.0,  # whoever comes after it tries anew, instead of waiting for a doubled delay
            open=False,
            kwargs={"row_factory": dict_row, "connect_timeout": 5, **NO_SESSION},
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction, committed at the end. Raises :class:`Unavailable` where Postgres is away: the
        one place that says so."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except NO_ANSWER as error:
            raise Unavailable(f"Postgres: {error}") from error

    async def all(self, query: str, **parameters: object) -> list[DictRow]:
        """Rows of a named query, in a transaction of its own."""
        async with self.transaction() as connection:
            return await rows(connection, query, **parameters)

    async def stream(self, query: str, **parameters: object) -> AsyncIterator[DictRow]:
        """Rows of a named query, a page at a time: for what may be a million rows. Every row is read, so the plan is
        for all of them: by itself Postgres chooses the one that has a tenth of them soonest."""
        async with self.transaction() as connection, connection.cursor(name="stream") as cursor:
            await connection.execute("SET LOCAL cursor_tuple_fraction = 1")
            cursor.itersize = 10_000
            await cursor.execute(queries()[query], parameters)
            async for row in cursor:
                yield row

    async def one(self, query: str, **parameters: object) -> DictRow | None:
        found = await self.all(query, **parameters)
        return found[0] if found else None


async def rows(connection: Connection, query: str, **parameters: object) -> list[DictRow]:
    """Run a named query; its rows, or none for a statement that returns nothing."""
    cursor = await connection.execute(queries()[query], parameters)
    return await cursor.fetchall() if cursor.description else []


async def run_many(connection: Connection, query: str, parameters: list[dict[str, Any]]) -> None:
    """Run a named statement once for each, in order."""
    await connection.cursor().executemany(queries()[query], parameters)


async def one(connection: Connection, query: str, **parameters: object) -> DictRow:
    found = await rows(connection, query, **parameters)
    return found[0]


def unless_there(insert: sql.Composable) -> sql.Composed:
    """The insert, of those rows only whose keys are not there yet."""
    return sql.SQL("{} ON CONFLICT DO NOTHING").format(insert)


async def add_partitions(store: Store, day: date) -> None:
    """The day's partitions, each in a transaction of its own: no table is locked while waiting for another."""
    for table in PARTITIONED:
        name = sql.Identifier(f"{table}_{day:%Y%m%d}")
        async with store.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
            found = await connection.execute("SELECT to_regclass(%s) AS found", [name.as_string(connection)])
            if (await found.fetchone() or {}).get("found"):
                continue
            await connection.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES IN ({})").format(
                    name, sql.Identifier(table), sql.Literal(day.isoformat())
                )
            )
            if table == "transfers":  # a statement trigger of the parent does not speak for its partitions
                await connection.execute(
                    sql.SQL(
                        "CREATE TRIGGER kept BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
                    ).format(name)
                )


async def measure(store: Store, day: date) -> None:
    """Tell Postgres how large the day's partitions are. It looks by itself once a minute at most, and plans a join over
    rows that came since then as if there were a handful: ten thousand take seconds, a hundred thousand minutes."""
    async with store.transaction() as connection:
        for table in PARTITIONED:
            name = sql.Identifier(f"{table}_{day:%Y%m%d}")
            await connection.execute(sql.SQL("ANALYZE {}").format(name))
