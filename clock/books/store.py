"""Postgres: the pool, transactions that end in time, the named queries of ``sql/``."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, LiteralString, cast

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from clock.domain.outcomes import Unavailable
from clock.files import folder

Connection = AsyncConnection[DictRow]

MIGRATION_LOCK = 0x636C6F63
"""Advisory lock under which migrations run."""

SETTLEMENT_LOCK = 0x636C6F64
"""Advisory lock of whoever ends rounds: shared by those who settle, void or finish one, taken alone by whoever rebuilds
or mends."""

ROUND_LOCK = 0x636C6F69
"""First of the two numbers of the lock of whoever settles, voids or finishes a round; the second is its day's."""

RELEASE_LOCK = 0x636C6F67
"""Advisory lock of whoever decides about a quarantined callback."""

RULES_LOCK = 0x636C6F68
"""Advisory lock of whoever plans rules, or takes those of a new round from the book."""

STATEMENTS_LOCK = 0x636C6F6A
"""Advisory lock of whoever writes a statement that names the one before it."""

LOG_LOCK = 0x636C6F6C
"""Advisory lock of whoever takes statements into their log."""

OUTBOX_LOCK = 0x636C6F65
"""First of the two numbers of a shard's drain lease; the second is :func:`~clock.books.outbox.lease_of`."""

ANSWER_SECONDS = 3.0
"""How long whoever asks waits for Postgres: for a connection, and for all of a transaction."""

CHECK_SECONDS = 1.0
"""How long a connection of the pool is asked whether it still works."""

TURN_SECONDS = 5.0
"""How long a connection is waited for where nobody is in a hurry."""

IDLE_SECONDS = 20
"""After so long without a statement Postgres ends a transaction, and lets go of its locks: its client has vanished."""

LOCK_SECONDS = 5
"""How long a statement waits for a lock: others wait behind it. The work is tried again."""

PAGE = 5_000
"""Rows that a stream reads at once."""

CONNECTING: dict[str, Any] = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's parameters, unless the URL has them: a server that vanished from the network is noticed within 25 s."""

NO_SESSION: dict[str, Any] = {"prepare_threshold": None}
"""No prepared statements: behind PgBouncer in transaction mode the next transaction has another server connection,
where the same name may mean another process' statement (docs/decisions/0037)."""

NO_ANSWER = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    PoolTimeout,
)
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


_unhurried: ContextVar[bool] = ContextVar("unhurried", default=False)


@contextmanager
def unhurried() -> Iterator[None]:
    """Transactions of this task, and of those that it starts, take as long as they need: settling a million takes
    minutes, whoever has asked for it."""
    before = _unhurried.set(True)
    try:
        yield
    finally:
        _unhurried.reset(before)


@contextmanager
def cut_off(connection: Connection, seconds: float | None) -> Iterator[None]:
    """After so many seconds the connection ends as if the server had closed it, which psycopg reports at once. If the
    task were cancelled, psycopg would ask the server to cancel the statement, and wait for ten seconds."""
    if seconds is None:
        yield
        return
    timer = asyncio.get_running_loop().call_later(max(seconds, 0), _shut_down, connection)
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(connection: Connection) -> None:
    with suppress(OSError, psycopg.Error):  # it is closed already
        line = socket.socket(fileno=connection.fileno())
        try:
            line.shutdown(socket.SHUT_RDWR)
        finally:
            line.detach()


def _begin() -> bytes:
    """One message, so no round trip more than BEGIN alone. Postgres gives up a client that has vanished, with its
    locks: while it waits for a statement by its own clock, while it executes one or sends rows by TCP's. For this
    transaction alone: behind PgBouncer the next one is another client's."""
    settings = {
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "client_connection_check_interval": "5s",
        "tcp_keepalives_idle": "10s",
        "tcp_keepalives_interval": "5s",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "20s",
    }
    return "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())]).encode()


class Store:
    """A pool of connections whose rows are dicts."""

    def __init__(
        self, url: str, answer_seconds: float | None = None, max_size: int = 8, *, tells: bool = False
    ) -> None:
        """``answer_seconds``: the longest that a transaction may take, the wait for a connection included. ``tells``:
        whether hosts are told what is written."""
        self.tells = tells
        given = conninfo_to_dict(url)
        connecting = {name: value for name, value in CONNECTING.items() if name not in given}
        self._answer_seconds = answer_seconds
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_size,
            reconnect_timeout=5.0,  # whoever comes after it tries anew, instead of waiting for a doubled delay
            open=False,
            kwargs={"row_factory": dict_row, "autocommit": True, **connecting, **NO_SESSION},
            check=self._check,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def _check(self, connection: Connection) -> None:
        """Where one connection is silent, somebody in between may have forgotten all: none is used again."""
        try:
            with cut_off(connection, CHECK_SECONDS):
                await self._pool.check_connection(connection)
        except psycopg.OperationalError:
            await self._pool.drain()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction, committed at the end. Raises :class:`Unavailable` where Postgres is away or
        takes too long: the one place that says so."""
        loop = asyncio.get_running_loop()
        began, limit = loop.time(), None if _unhurried.get() else self._answer_seconds
        turn = TURN_SECONDS if limit is None else limit - CHECK_SECONDS  # a check may begin when it is over
        try:
            connection = await self._pool.getconn(turn)
            try:
                with cut_off(connection, None if limit is None else began + limit - loop.time()):
                    async with connection:
                        await connection.execute(_begin())
                        yield connection
            finally:
                await self._pool.putconn(connection)
        except NO_ANSWER as error:
            raise Unavailable(f"Postgres: {error}") from error

    async def all(self, query: str, **parameters: object) -> list[DictRow]:
        """Rows of a named query, in a transaction of its own."""
        async with self.transaction() as connection:
            return await rows(connection, query, **parameters)

    async def page(self, query: str, **parameters: object) -> list[DictRow]:
        """Rows of a named query that finds them :func:`by_key`, in a transaction of its own."""
        async with self.transaction() as connection:
            await by_key(connection)
            return await rows(connection, query, **parameters)

    async def stream(self, query: str, **parameters: object) -> AsyncIterator[DictRow]:
        """Rows of a named query, a page at a time: for what may be a million rows."""
        async with aclosing(self.pages(query, PAGE, **parameters)) as pages:
            async for page in pages:
                for row in page:
                    yield row

    async def pages(self, query: str, size: int, **parameters: object) -> AsyncGenerator[list[DictRow], None]:
        """The same in lists of at most ``size`` rows, none empty."""
        async with (
            self.transaction() as connection,
            aclosing(pages_in(connection, query, size, **parameters)) as pages,
        ):
            async for page in pages:
                yield page

    async def one(self, query: str, **parameters: object) -> DictRow | None:
        found = await self.all(query, **parameters)
        return found[0] if found else None


async def end_half_sent(store: Store) -> int:
    """End sessions whose process stood still, or vanished behind a pooler, while it sent a message; how many."""
    return len(await store.all("end_half_sent", seconds=IDLE_SECONDS))


async def by_key(connection: Connection) -> None:
    """Statements of this transaction go from row to row by an index. Where Postgres takes a day for a few rows, it
    would rather read and sort all of them for each page."""
    ways = ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
    await connection.execute("; ".join(f"SET LOCAL enable_{way} = off" for way in ways).encode())


async def rows(connection: Connection, query: str, **parameters: object) -> list[DictRow]:
    """Run a named query; its rows, or none for a statement that returns nothing."""
    cursor = await connection.execute(queries()[query], parameters)
    return await cursor.fetchall() if cursor.description else []


async def pages_in(
    connection: Connection, query: str, size: int, **parameters: object
) -> AsyncGenerator[list[DictRow], None]:
    """Rows of a named query in lists of at most ``size``, none empty, one such query at a time in a transaction.

    Every row is read, so the plan is for all of them: by itself Postgres chooses the one that has a tenth of them
    soonest. Nor does it look up row by row what it joins: a day may have far more rows than it expects.
    """
    async with connection.cursor(name="stream") as cursor:
        # Whoever reads may take its time with a page: it holds no lock that others wait for.
        await connection.execute(
            "SET LOCAL cursor_tuple_fraction = 1; SET LOCAL enable_nestloop = off;"
            " SET LOCAL idle_in_transaction_session_timeout = 0"
        )
        await cursor.execute(queries()[query], parameters)
        coming = asyncio.create_task(cursor.fetchmany(size))
        try:
            while page := await coming:
                coming = asyncio.create_task(cursor.fetchmany(size))
                await asyncio.sleep(0)  # it is on its way while this page is worked on
                yield page
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            coming.cancelled() or coming.exception()  # whoever stopped reading is not told of it


async def run_many(connection: Connection, query: str, parameters: list[dict[str, Any]]) -> None:
    """Run a named statement once for each, in order."""
    await connection.cursor().executemany(queries()[query], parameters)


async def one(connection: Connection, query: str, **parameters: object) -> DictRow:
    found = await rows(connection, query, **parameters)
    return found[0]


def chained(insert: sql.Composable, follow: Sequence[sql.Composable]) -> sql.Composed:
    """An insert, and what follows from the rows that it has added (``added``), as one statement; how many rows."""
    parts = [sql.SQL("added AS ({} RETURNING *)").format(insert)]
    parts += [sql.SQL("{} AS ({})").format(sql.Identifier(f"follows_{n}"), one) for n, one in enumerate(follow)]
    return sql.SQL("WITH {} SELECT count(*) AS added FROM added").format(sql.SQL(", ").join(parts))


async def run_chained(
    connection: Connection, query: str, follow: Sequence[sql.Composable], **parameters: object
) -> int:
    """Run a named insert together with what follows from its rows (:func:`chained`); how many rows were added."""
    cursor = await connection.execute(chained(sql.SQL(queries()[query]), follow), parameters)
    return int((await cursor.fetchall())[0]["added"])


def unless_there(insert: sql.Composable) -> sql.Composed:
    """The insert, of those rows only whose keys are not there yet."""
    return sql.SQL("{} ON CONFLICT DO NOTHING").format(insert)
