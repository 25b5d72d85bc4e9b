"""Partitions are made and entries drained while somebody reads all tables, dumps them or tidies them up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import psycopg
import pytest

from clock.books.partitions import PARTITIONED, add_partitions, last_of, months_ahead, partition_of
from clock.books.store import Store
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.rounds.opening import PREPARED_MONTHS
from clock.runtime import worker
from clock.runtime.postgres_install import installation
from clock.service import Service, end
from tests.conftest import DAY, at
from tests.flow.stage import People

Connection = psycopg.AsyncConnection[tuple[object, ...]]

AHEAD = [months_ahead(DAY, months) for months in range(PREPARED_MONTHS + 1)]


async def all_tables(connection: Connection) -> list[str]:
    found = await connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    return [str(row[0]) for row in await found.fetchall()]


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[None]:
    """A transaction that has read every table, and stays open: a report, or somebody at lunch."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        for table in await all_tables(connection):
            await connection.execute(f"SELECT count(*) FROM {table}".encode())
        yield


@asynccontextmanager
async def locking(url: str) -> AsyncIterator[None]:
    """What pg_dump does first."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for table in await all_tables(connection):
            await connection.execute(f"LOCK TABLE ONLY {table} IN ACCESS SHARE MODE".encode())
        yield


@asynccontextmanager
async def dumping(url: str) -> AsyncIterator[None]:
    """pg_dump itself, one after the other. Each dump can be read back to its end."""
    program = installation(None) / "bin" / "pg_dump"
    over = asyncio.Event()

    async def dump() -> None:
        while not over.is_set():
            process = await asyncio.create_subprocess_exec(program, url, stdout=asyncio.subprocess.PIPE)
            text, _ = await process.communicate()
            assert process.returncode == 0 and b"PostgreSQL database dump complete" in text

    task = asyncio.create_task(dump())
    yield
    over.set()
    await task


@asynccontextmanager
async def tidying(url: str) -> AsyncIterator[None]:
    """VACUUM FULL without end: it locks each table against everybody, one after the other."""

    async def tidy() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                await connection.execute("VACUUM FULL")

    task = asyncio.create_task(tidy())
    yield
    await end([task])


async def partitions(url: str) -> set[str]:
    """Those that are attached."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        return {str(row[0]) for row in await found.fetchall()}


async def tried_again(work: Callable[[], Awaitable[object]]) -> int:
    """As the worker does, until nothing is in the way; how often something was."""
    waits = 0
    while True:
        try:
            await work()
            return waits
        except Unavailable:
            waits += 1


@pytest.mark.parametrize("meanwhile", [reading, locking, dumping, tidying])
async def test_midnight_passes_whatever_is_done_with_the_tables(
    service: Service, direct_url: str, meanwhile: Callable[[str], AbstractAsyncContextManager[None]]
) -> None:
    """First as it should be, two months ahead; then the round of a day that nobody has prepared."""
    people = People(service)
    await people.members(1)
    async with asyncio.timeout(30), meanwhile(direct_url):
        waits = await tried_again(lambda: service.opener.prepare(DAY))
        await people.members(2)
        waits += await tried_again(people.drain)
        people.day = last_of(AHEAD[-1]) + timedelta(2)
        people.it_is("20:00")
        waits += await tried_again(lambda: service.opener.open_around(people.day))
        await people.members(3)
        waits += await tried_again(people.drain)
    assert waits == 0 or meanwhile is tidying
    assert await people.rows("SELECT uid FROM members ORDER BY uid") == [{"uid": 1}, {"uid": 2}, {"uid": 3}]
    assert {partition_of(table, day) for table in PARTITIONED for day in AHEAD} <= await partitions(direct_url)


async def test_the_worker_prepares_two_months(service: Service, direct_url: str) -> None:
    assert worker.prepare in worker.SELDOM
    service.time.stop_at(at("20:00"))
    await worker.prepare({"service": service})
    assert await partitions(direct_url) == {partition_of(table, day) for table in PARTITIONED for day in AHEAD}


async def test_many_at_once_make_each_partition_once(settings: Settings, direct_url: str) -> None:
    stores = [Store(settings.database_url) for _ in range(4)]
    for store in stores:
        await store.open()
    days = AHEAD
    made = await asyncio.gather(*(add_partitions(store, days) for store in stores for _ in range(2)))
    assert max(made) == len(days) * len(PARTITIONED)
    assert await partitions(direct_url) == {partition_of(table, day) for table in PARTITIONED for day in days}
    assert await add_partitions(stores[0], days) == 0
    for store in stores:
        await store.close()


async def test_a_partition_has_everything_that_its_table_has(settings: Settings, direct_url: str) -> None:
    """The same indexes, constraints and triggers as one that was made in place."""
    store = Store(settings.database_url)
    await store.open()
    await add_partitions(store, [DAY])
    await store.close()
    other = last_of(DAY) + timedelta(1)
    async with await psycopg.AsyncConnection.connect(direct_url, autocommit=True) as connection:
        for table in PARTITIONED:
            ours, theirs = partition_of(table, DAY), f"{table}_other"
            await connection.execute(f"CREATE TABLE {theirs} PARTITION OF {table} FOR VALUES IN ('{other}')".encode())
            assert await shape(connection, ours) == await shape(connection, theirs)
        found = await connection.execute(
            "SELECT tgname, tgtype FROM pg_trigger WHERE tgrelid = 'transfers_202611'::regclass ORDER BY 1"
        )
        assert [row[0] for row in await found.fetchall()] == ["immutable", "kept"]
        with pytest.raises(psycopg.errors.RestrictViolation):
            await connection.execute("TRUNCATE transfers_202611")


async def shape(connection: Connection, table: str) -> list[str]:
    """Columns, constraints, indexes with their parents, and row triggers, without the partition's name."""
    found = await connection.execute(
        "SELECT format('%%s %%s %%s %%s', attname, atttypid::regtype, attnotnull, pg_get_expr(adbin, adrelid))"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = %(table)s::regclass AND attnum > 0"
        " UNION ALL SELECT format('%%s %%s %%s %%s', conname, pg_get_constraintdef(oid), coninhcount, conislocal)"
        " FROM pg_constraint WHERE conrelid = %(table)s::regclass"
        " UNION ALL SELECT format('%%s of %%s', pg_get_indexdef(indexrelid),"
        " (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = indexrelid))"
        " FROM pg_index WHERE indrelid = %(table)s::regclass"
        " UNION ALL SELECT format('%%s %%s', tgname, tgparentid <> 0)"
        " FROM pg_trigger WHERE tgrelid = %(table)s::regclass AND tgname <> 'kept' ORDER BY 1",
        {"table": table},
    )
    return sorted(str(row[0]).replace(table, "…") for row in await found.fetchall())
