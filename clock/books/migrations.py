"""The migrations of ``sql/migrations``: whether a database has exactly those of this version, and how they are applied.

A database records each with the checksum of its text.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from time import monotonic

import msgspec
import structlog
from psycopg.errors import InsufficientPrivilege, ProgrammingError

from clock.books.postgres_check import connected, facts, lacks_rights, require_place, require_server, require_time
from clock.books.store import MIGRATION_LOCK, Connection, Store, rows
from clock.config import BadSetting
from clock.domain.outcomes import Unavailable
from clock.files import folder

log = structlog.get_logger()

UNFIT = ProgrammingError
"""What psycopg raises where a table is missing, is another than this version's, or is not this role's to use."""


PAUSE_SECONDS = 0.5
"""Between two attempts to reach a Postgres that is still starting."""


class BadMigration(BadSetting):
    """The recorded migrations are not those of this version."""


class Migration(msgspec.Struct, frozen=True):
    """``name`` is that of the file, without its suffix."""

    name: str
    text: str
    checksum: str


@cache
def migrations() -> tuple[Migration, ...]:
    """Those of this version, in order."""
    files = sorted((folder("sql") / "migrations").glob("*.sql"))
    texts = [(file.stem, file.read_text("utf-8")) for file in files]
    return tuple(Migration(name, text, hashlib.sha256(text.encode()).hexdigest()) for name, text in texts)


def tables() -> list[str]:
    """The tables that the migrations make, and do not drop later."""
    text = "\n".join(one.text for one in migrations())
    dropped = re.findall(r"^DROP TABLE (\w+)", text, re.MULTILINE)
    return [name for name in re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE) if name not in dropped]


def missing(recorded: Mapping[str, str]) -> list[Migration]:
    """What a database with these checksums by name lacks, in order. Raises :class:`BadMigration` if it has others."""
    if unknown := recorded.keys() - {one.name for one in migrations()}:
        raise BadMigration(
            f"this version of clock is older than the database of CLOCK_DATABASE_URL: it does not know the migration "
            f"{', '.join(sorted(unknown))}; install the version that applied it"
        )
    for one in migrations():
        if recorded.get(one.name, one.checksum) != one.checksum:
            raise BadMigration(
                f"{one.name}.sql is not what was applied under that name to the database of CLOCK_DATABASE_URL: "
                "install the version that applied it"
            )
    return [one for one in migrations() if one.name not in recorded]


async def _recorded(connection: Connection) -> dict[str, str]:
    return {row["name"]: row["checksum"] for row in await rows(connection, "migrations")}


async def require_schema(connection: Connection) -> None:
    """Raises :class:`BadMigration` unless every migration of this version is applied, and no other."""
    found = await facts(connection)
    try:
        lacking = missing(await _recorded(connection))
    except InsufficientPrivilege:
        raise BadMigration(
            f"role {found.role!r} may not read the table migrations: run as the role that migrated, or GRANT SELECT, "
            f"INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {found.schema} TO {found.role}"
        ) from None
    except UNFIT:
        raise BadMigration(
            f"the database {found.database!r} has no tables of clock that role {found.role!r} can see (search_path "
            f"{found.search_path}): run clock migrate, or give the role the schema of the role that did"
        ) from None
    if lacking:
        names = ", ".join(one.name for one in lacking)
        raise BadMigration(f"the database {found.database!r} lacks the migration {names}: run clock migrate")


async def schema_fits(store: Store) -> bool:
    """Whether every migration of this version is applied, and no other. Raises
    :class:`~clock.domain.outcomes.Unavailable`."""
    try:
        recorded = {row["name"]: row["checksum"] for row in await store.all("migrations")}
    except UNFIT:
        return False
    return recorded == {one.name: one.checksum for one in migrations()}


async def migrate(url: str) -> list[str]:
    """Apply what is new under an advisory lock; names of the applied. Raises :class:`BadSetting` for a database that
    this version cannot use, before anything is created, and :class:`~clock.domain.outcomes.Unavailable`."""
    async with connected(url) as connection:
        found = await facts(connection)
        require_server(found)
        require_time(found)
        require_place(found)
        try:
            return await _apply(connection)
        except InsufficientPrivilege as error:
            raise lacks_rights(error) from None


async def migrate_once_there(url: str, seconds: float) -> list[str]:
    """The same with a Postgres that is not there yet, or is starting up: it is waited for, up to ``seconds``."""
    began, waits = monotonic(), False
    while True:
        try:
            return await migrate(url)
        except Unavailable as error:
            if monotonic() + PAUSE_SECONDS >= began + seconds:
                raise Unavailable(f"waited {seconds:.0f} s for the one of CLOCK_DATABASE_URL; {error}") from None
            if not waits:
                log.warning("postgres_waited_for", seconds=seconds, reason=str(error))
            waits = True
        await asyncio.sleep(PAUSE_SECONDS)


async def _apply(connection: Connection) -> list[str]:
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
    there = await connection.execute("SELECT to_regclass('migrations') AS found")
    if (await there.fetchone() or {}).get("found") is None:  # IF NOT EXISTS asks only the search path's first schema
        await connection.execute(
            "CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
    applied = []
    for one in missing(await _recorded(connection)):
        await connection.execute(one.text.encode())
        await connection.execute("INSERT INTO migrations (name, checksum) VALUES (%s, %s)", [one.name, one.checksum])
        applied.append(one.name)
        log.info("migrated", migration=one.name)
    return applied
