"""A long stream, several drainers at once, and the lease of a shard."""

import asyncio
from typing import Any

import pytest

from clock.books import outbox
from clock.books.entries import write as write_entries
from clock.config import Settings
from clock.service import Service
from tests.conftest import DAY
from tests.flow.books.stage import SHARD, add, crowd, entries_of, expected_tables, read_tables, same
from tests.model.world import service_with


async def test_a_long_stream_is_carried_over_in_several_transactions(process: Service) -> None:
    entries = entries_of(crowd(250), 1)
    await add(process, entries)
    assert len(entries) > 4 * outbox.ENTRIES_AT_ONCE
    assert await outbox.drain_some(process.store, process.redis, DAY, SHARD) == outbox.ENTRIES_AT_ONCE
    assert await outbox.depth(process.redis, DAY, 1) == len(entries) - outbox.ENTRIES_AT_ONCE
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


async def test_while_one_process_drains_a_shard_another_leaves_it_alone(
    process: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, write = entries_of(crowd(9), 4), write_entries
    reached, go_on = asyncio.Event(), asyncio.Event()
    await add(process, entries)

    async def slow_write(*args: Any) -> None:
        reached.set()
        await go_on.wait()
        await write(*args)

    monkeypatch.setattr("clock.books.entries.write", slow_write)
    async with service_with(settings) as other:
        first = asyncio.create_task(outbox.drain(process.store, process.redis, DAY, SHARD))
        await reached.wait()
        async with asyncio.timeout(20):  # without the lease it would write, and wait as the first one does
            assert await outbox.drain_some(other.store, other.redis, DAY, SHARD) is None
        assert await outbox.depth(other.redis, DAY, 1) == len(entries)
        go_on.set()
        assert await first == len(entries)
    same(await read_tables(process), expected_tables(entries))


async def test_many_drainers_and_a_writer_at_once_lose_nothing(process: Service, settings: Settings) -> None:
    entries, writing = entries_of(crowd(60), 1), True

    async def keep_draining(service: Service) -> None:
        while writing or await outbox.depth(service.redis, DAY, 1):
            await outbox.drain(service.store, service.redis, DAY, SHARD)
            await asyncio.sleep(0)

    async with service_with(settings) as other:
        drainers = [asyncio.create_task(keep_draining(service)) for service in (process, other, process)]
        await add(process, entries)
        writing = False
        await asyncio.gather(*drainers)
    same(await read_tables(process), expected_tables(entries))
