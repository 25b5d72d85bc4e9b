"""An entry that cannot be read stops its shard loudly, and no other one."""

from contextlib import suppress

import msgspec
import psycopg
import pytest

from clock.books import outbox
from clock.game import keys
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY, at
from tests.flow.books.stage import SHARD, STREAM, add, crowd, entries_of, expected_tables, read_tables, same, server

POISON = {
    "not MessagePack": b"\xc1",
    "an event that nobody knows": msgspec.msgpack.encode(["invented", 1, []]),
    "a field too few": msgspec.msgpack.encode(["checked_in", 1, 1]),
    "a word that the rules do not have": msgspec.msgpack.encode(["claimed", 1, "nobody", 100, 0, [1], [1]]),
    "a packet below zero": msgspec.msgpack.encode(["claimed", 1, "user", 100, 0, [1], [-1]]),
    "text that Postgres cannot hold": msgspec.msgpack.encode(["profiled", 1, [[10**6, "\0", "", ""]]]),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
async def test_an_entry_that_cannot_be_read_stops_its_shard_loudly_and_loses_nothing(
    process: Service, poison: bytes
) -> None:
    entries = entries_of(crowd(9), 4)
    await add(process, entries[:3])
    entry_id = await server(process).xadd(STREAM, {"e": poison})
    await add(process, entries[3:])
    for _ in range(2):
        with pytest.raises((ValueError, psycopg.DataError, psycopg.IntegrityError)):
            await outbox.drain(process.store, process.redis, DAY, SHARD)
        assert await outbox.depth(process.redis, DAY, 1) == len(entries) + 1
    await server(process).xdel(STREAM, entry_id)
    await outbox.drain(process.store, process.redis, DAY, SHARD)
    same(await read_tables(process), expected_tables(entries))


async def test_an_entry_that_cannot_be_read_does_not_stop_the_other_shards(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.05)
    await server(process).xadd(STREAM, {"e": b"\xc1"})
    await add(process, [["checked_in", at("05:00", 1), 1, [1]]], keys.name(DAY, 1, "outbox"))
    with suppress(Exception):
        await worker.drain({"service": process})
    assert (await read_tables(process))["check_ins"] == {(1, at("05:00", 1), 1)}
    assert await outbox.depth(process.redis, DAY, 1) == 1
