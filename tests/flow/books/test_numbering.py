"""Entries that come again, under new or lower numbers."""

from typing import Any

import msgspec
import pytest

from clock.books import outbox
from clock.service import Service
from tests.conftest import DAY
from tests.flow.books.stage import SHARD, STREAM, add, crowd, entries_of, expected_tables, read_tables, same, server


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
    await server(process).delete(STREAM)
    for number, entry in enumerate(entries[3:], 1):
        await server(process).xadd(STREAM, {"e": msgspec.msgpack.encode(entry)}, id=f"1-{number}")
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))
    assert await process.redis.xlen(STREAM) == 0


async def test_only_what_was_read_is_trimmed(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica is promoted between the commit and the trim, and has numbered a new entry below what is trimmed."""
    entries = entries_of(crowd(2), 9)
    await add(process, entries[:-1])
    real, promoted = server(process).execute_command, False

    async def execute_command(*args: Any, **options: Any) -> Any:
        nonlocal promoted
        if args[0] in ("XTRIM", "XDEL") and not promoted:
            promoted = True
            await real("DEL", STREAM)
            await real("XADD", STREAM, "1-1", "e", msgspec.msgpack.encode(entries[-1]))
        return await real(*args, **options)

    monkeypatch.setattr(process.redis, "execute_command", execute_command)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))
