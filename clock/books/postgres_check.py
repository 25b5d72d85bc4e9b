"""What the Postgres server must be, and what this role must be allowed to do there.

The migrations that the database must have are in :mod:`clock.books.migrations`.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from clock.books.partitions import PARTITIONED
from clock.books.store import NO_ANSWER, Connection, one, rows
from clock.config import BadSetting
from clock.domain.outcomes import Unavailable

OLDEST = 150_000
"""``server_version_num``: the migrations use UNIQUE NULLS NOT DISTINCT, which came with Postgres 15."""

CONNECT_SECONDS = 2
"""For each host of the URL: the next one is tried within the time of the start check."""

REFUSED = re.compile(r"FATAL|certificate|SSL (?!SYSCALL)")
PASSING = re.compile(
    r"starting up|shutting down|not yet accepting|recovery mode|too many|connection slots|connect failed|wait_timeout"
)
"""A server that refuses a login answers, unless it or the pooler before it says that this will pass."""


class Facts(msgspec.Struct, frozen=True):
    """A row of the query ``server``. Settings are as in effect for this role in this database."""

    version_num: int
    version: str
    standby: bool
    server_encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    role: str
    database: str
    schema: str | None
    """Where new tables go; None: no schema of the search path exists, or the role may not use it."""
    search_path: str
    may_create: bool
    short_timeouts: list[str]
    """Settings that end a statement or a transaction within five minutes."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection in a transaction. Raises :class:`BadSetting` where the login is refused, :class:`Unavailable` where
    Postgres is away."""
    try:
        async with await AsyncConnection.connect(
            url,
            row_factory=dict_row,
            connect_timeout=CONNECT_SECONDS,
            client_encoding="utf8",  # a database in SQL_ASCII would answer bytes
            prepare_threshold=None,  # behind a pooler the next transaction may be on another server connection
        ) as connection:
            yield connection
    except NO_ANSWER as error:
        why = " ".join(str(error).split())
        if REFUSED.search(why) and not PASSING.search(why):
            raise BadSetting(f"Postgres refuses CLOCK_DATABASE_URL: {why}") from None
        raise Unavailable(f"Postgres: {why}") from error


async def facts(connection: Connection) -> Facts:
    return msgspec.convert(await one(connection, "server"), Facts)


def require_server(found: Facts) -> None:
    """Raises :class:`BadSetting` for a server or a database that the service cannot work with at all."""
    if found.version_num < OLDEST:
        raise BadSetting(
            f"Postgres is version {found.version}; clock needs {OLDEST // 10_000} or newer: upgrade the server, or set "
            "CLOCK_DATABASE_URL to another"
        )
    if found.standby:
        raise BadSetting(
            "CLOCK_DATABASE_URL leads to a standby, which takes no writes: name the primary, or all hosts with "
            "?target_session_attrs=read-write"
        )
    if found.server_encoding != "UTF8":
        raise BadSetting(
            f"the database {found.database!r} has the encoding {found.server_encoding}, which cannot hold every name: "
            "create the database with ENCODING 'UTF8' (TEMPLATE template0), and set CLOCK_DATABASE_URL to it"
        )


def require_time(found: Facts) -> None:
    """Raises :class:`BadSetting` where Postgres would end the longest transactions of the service."""
    if found.short_timeouts:
        names = ", ".join(found.short_timeouts)
        remedy = "; ".join(
            f"ALTER ROLE {found.role} IN DATABASE {found.database} SET {name} = 0" for name in found.short_timeouts
        )
        raise BadSetting(
            f"Postgres has a short {names} for {found.role!r} in {found.database!r}, and would end settling or "
            f"rebuilding a large round; it must be off, or at least 5 minutes ({remedy})"
        )


def require_durability(found: Facts) -> None:
    """Raises :class:`BadSetting` for a Postgres that may forget what it has committed."""
    for name in ("fsync", "full_page_writes"):
        value = getattr(found, name)
        if value != "on":
            raise BadSetting(
                f"Postgres has {name}={value!r}, and may lose or damage the books when it dies; it must be 'on' "
                "(postgresql.conf, then reload)"
            )
    if found.synchronous_commit == "off":
        raise BadSetting(
            f"Postgres has synchronous_commit='off' for {found.role!r} in {found.database!r}, and may lose what it has "
            "committed; it must be 'on' (postgresql.conf, ALTER ROLE or ALTER DATABASE)"
        )


def require_place(found: Facts) -> None:
    """Raises :class:`BadSetting` where this role cannot create a table."""
    if found.schema is None:
        raise BadSetting(
            f"role {found.role!r} may use no schema of its search_path ({found.search_path}) in the database "
            f"{found.database!r}: CREATE SCHEMA, GRANT USAGE, CREATE ON SCHEMA … TO {found.role}, or ALTER ROLE "
            f"{found.role} SET search_path"
        )
    if not found.may_create:
        raise BadSetting(
            f"role {found.role!r} may not create tables in the schema {found.schema!r}, and each round has partitions "
            f"of its own: GRANT CREATE ON SCHEMA {found.schema} TO {found.role}"
        )


async def require_rights(connection: Connection, found: Facts, tables: list[str]) -> None:
    """Raises :class:`BadSetting` unless this role may do what the service does at run time: read and write ``tables``,
    and add partitions."""
    role = found.role
    rights = await rows(connection, "rights", tables=tables)
    if poor := ", ".join(row["name"] for row in rights if not row["may_write"]):
        raise BadSetting(
            f"role {role!r} may not read and write the tables {poor}: "
            f"run as the role that migrated, or GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "
            f"{found.schema} TO {role}"
        )
    for row in rights:
        owner = row["owner"]
        if row["name"] in PARTITIONED and not row["owns"]:
            raise BadSetting(
                f"role {role!r} may not add partitions to the table {row['name']!r}, which belongs to {owner!r}: "
                f"run as {owner!r} (CLOCK_DATABASE_URL), or GRANT {owner} TO {role} and "
                f"ALTER ROLE {role} SET role TO {owner}"
            )
    require_place(found)


def lacks_rights(error: psycopg.Error) -> BadSetting:
    """What to say where Postgres forbids a statement of a migration."""
    why = str(error).splitlines()[0]
    return BadSetting(
        f"the role of CLOCK_DATABASE_URL may not change the tables of clock ({why}): run clock migrate as the role "
        "that owns them"
    )
