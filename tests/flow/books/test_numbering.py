"""Entries that come again, under new or lower numbers."""

from typing import Any

import msgspec
import pytest

from clock.books import outbox
from clock.service import Service
from tests.conftest import DAY
from tests.flow.books.stage import (
    COLUMNS,
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


async def test_entries_that_come_again_under_new_numbers_change_nothing(process: Service) -> None:
    entries = entries_of(crowd(9), 4)
    for _ in range(2):
        await add(process, entries)
        await outbox.drain(process.store, process.redis, DAY, SHARD)
        same(await read_tables(process), expected_tables(entries))


async def test_an_entry_numbered_below_the_stored_position_is_not_lost(process: Service) -> None:
    """A promoted replica whose clock is behind numbers its entries anew."""
    entries = entries_of(crowd(9), 4)
    await add(process, entries[:3])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    await server(process).delete(STREAM, POSITION)
    for number, entry in enumerate(entries[3:], 1):
        await server(process).xadd(STREAM, {"e": msgspec.msgpack.encode(entry)}, id=f"1-{number}")
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))
    assert await outbox.depth(process.redis, DAY, 1) == 0


async def test_a_position_is_noted_on_the_server_that_was_read_only(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica is promoted between the commit and the note, and has numbered a new entry below the one drained."""
    entries = entries_of(crowd(2), 9)
    await add(process, entries[:-1])
    real, promoted = server(process).execute_command, False

    async def execute_command(*args: Any, **options: Any) -> Any:
        nonlocal promoted
        if args[0] == "EVALSHA" and not promoted:
            promoted = True
            await real("DEL", STREAM, POSITION)
            await real("XADD", STREAM, "1-1", "e", msgspec.msgpack.encode(entries[-1]))
        return await real(*args, **options)

    monkeypatch.setattr(process.redis, "execute_command", execute_command)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


async def test_books_that_went_back_get_again_what_they_lost(process: Service) -> None:
    """An asynchronous standby is promoted, or a backup restored: rows and position are those of an earlier moment."""
    entries = entries_of(crowd(9), 4)
    await add(process, entries[:3])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    async with process.store.transaction() as connection:
        await connection.execute("CREATE TABLE before AS TABLE outbox_positions")
    await add(process, entries[3:])
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    async with process.store.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table in (*COLUMNS, "transfers", "outgoing", "outbox_positions"):
            await connection.execute(f"DELETE FROM {table}".encode())
        await connection.execute("INSERT INTO outbox_positions TABLE before")
    assert await outbox.align(process.store, process.redis, DAY, [SHARD]) == [SHARD]
    assert await outbox.depth(process.redis, DAY, 1) == len(entries) - 3
    await outbox.go_back(process.redis, DAY, SHARD)
    assert await outbox.drain(process.store, process.redis, DAY, SHARD) == len(entries)
    same(await read_tables(process), expected_tables(entries))
    assert await outbox.align(process.store, process.redis, DAY, [SHARD]) == []
