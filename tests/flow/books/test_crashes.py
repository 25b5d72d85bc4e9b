"""Whoever dies on the way: an entry is in the stream or in the books, and is written once."""

from typing import Any

import pytest

from clock.books import outbox
from clock.books.entries import write as write_entries
from clock.books.store import rows as run_query
from clock.domain.outcomes import Unavailable
from clock.service import Service
from tests.conftest import DAY
from tests.flow.books.stage import (
    POSITION,
    SHARD,
    STREAM,
    add,
    crowd,
    entries_of,
    expected_tables,
    read_tables,
    same,
    server,
)


def fail_on(monkeypatch: pytest.MonkeyPatch, service: Service, *commands: str) -> None:
    """The connection breaks when one of these commands is sent."""
    real = server(service).execute_command

    async def execute_command(*args: Any, **options: Any) -> Any:
        if args[0] in commands:
            raise ConnectionError("cut on purpose")
        return await real(*args, **options)

    monkeypatch.setattr(service.redis, "execute_command", execute_command)


async def test_what_was_committed_but_not_noted_is_written_once(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    with monkeypatch.context() as patch:
        fail_on(patch, process, "EVALSHA")
        with pytest.raises(ConnectionError):
            await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert await outbox.depth(process.redis, DAY, 1) == len(entries)
    same(await read_tables(process), expected_tables(entries))
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))
    assert await outbox.depth(process.redis, DAY, 1) == 0


@pytest.mark.parametrize("moment", ["after the rows", "before the commit", "the server ends the session"])
async def test_a_crash_before_the_commit_trims_nothing_and_loses_nothing(
    process: Service, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    with monkeypatch.context() as patch:
        crash_at(patch, moment)
        with pytest.raises((RuntimeError, Unavailable)):
            await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert await outbox.depth(process.redis, DAY, 1) == len(entries)
    same(await read_tables(process), {})
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


def crash_at(patch: pytest.MonkeyPatch, moment: str) -> None:
    async def crashing_write(connection: Any, *args: Any) -> None:
        await write_entries(connection, *args)
        if moment == "after the rows":
            raise RuntimeError(moment)
        if moment == "the server ends the session":
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def crashing_rows(connection: Any, query: str, **parameters: object) -> Any:
        found = await run_query(connection, query, **parameters)
        if moment == "before the commit" and query == "save_position":
            raise RuntimeError(moment)
        return found

    patch.setattr("clock.books.entries.write", crashing_write)
    patch.setattr(outbox, "rows", crashing_rows)


async def test_nothing_is_noted_as_drained_before_its_transaction_is_committed(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at from outside, at every command that the drainer sends."""
    entries = entries_of(crowd(6), 3)
    await add(process, entries)
    real, watched = server(process).execute_command, 0

    async def execute_command(*args: Any, **options: Any) -> Any:
        nonlocal watched
        reply = await real(*args, **options)
        if await real("EXISTS", POSITION):
            watched += 1
            same(await read_tables(process), expected_tables(entries))
        return reply

    monkeypatch.setattr(process.redis, "execute_command", execute_command)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert watched


async def test_what_was_drained_stays_in_the_stream(process: Service) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    assert len(await process.redis.xrange(STREAM)) == len(entries)
    assert await outbox.drain(process.store, process.redis, DAY, SHARD) == 0
