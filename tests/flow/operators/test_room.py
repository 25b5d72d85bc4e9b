"""What grows is measured on the servers themselves, and rings before it is full."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

import psycopg
import pytest

from clock.books.partitions import add_partitions
from clock.operators.watch import room, watcher
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import codes, seen
from tests.raw import Redis


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


async def figure(connection: psycopg.AsyncConnection, query: str) -> int:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row
    return int(row[0])


async def test_a_lock_table_that_fills_rings_until_the_locks_are_gone(api: Api, database_url: str) -> None:
    before = (await seen(api))["room"]["postgres_locks"]
    async with connected(database_url) as connection:
        names = ("max_locks_per_transaction", "max_connections", "max_prepared_transactions")
        locks, *many = [await figure(connection, f"SHOW {name}") for name in names]
        assert before["most"] == locks * sum(many)
        async with connection.transaction():
            wanted = before["most"] * 17 // 20
            await connection.execute(b"SELECT pg_advisory_xact_lock(n) FROM generate_series(1, %d) n" % wanted)
            shown = await seen(api)
            assert "postgres_locks" in codes(shown)
            assert wanted <= shown["room"]["postgres_locks"]["used"] < wanted + 200
    assert "postgres_locks" not in codes(await seen(api))


async def test_connections_are_those_of_the_server_and_what_it_keeps_back_is_not_counted(
    api: Api, redis: Redis, database_url: str
) -> None:
    before = (await seen(api))["room"]
    async with connected(database_url) as connection:
        kept = await figure(connection, "SHOW superuser_reserved_connections")
        assert before["postgres_connections"]["most"] == await figure(connection, "SHOW max_connections") - kept
        assert (await seen(api))["room"]["postgres_connections"]["used"] > before["postgres_connections"]["used"]
        age = await figure(connection, "SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid))) FROM pg_database")
        assert 0 < (await seen(api))["room"]["postgres_age"]["used"] <= age + 100
    most = int((await redis.config_get("maxclients"))["maxclients"])
    assert before["redis_connections"]["most"] == most > before["redis_connections"]["used"] > 0


async def test_redis_memory_rings_by_the_bound_that_is_set_and_else_by_the_machines(api: Api, redis: Redis) -> None:
    assert "redis_memory" not in codes(await seen(api))
    memory = await redis.info("memory")
    await redis.config_set("maxmemory", memory["used_memory"] * 10 // 9)
    try:
        assert "redis_memory" in codes(await seen(api))
    finally:
        await redis.config_set("maxmemory", 0)
    shown = await seen(api)
    assert "redis_memory" not in codes(shown)
    assert shown["room"]["redis_memory"]["most"] == memory["total_system_memory"]


@pytest.mark.parametrize("changes", [{"postgres_disk_gib": 1, "redis_disk_gib": 1}])
async def test_disks_ring_by_the_size_that_the_settings_tell(
    api: Api, redis: Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not {"postgres_disk", "redis_disk"} & set(codes(await seen(api)))
    monkeypatch.setattr(room, "GIB", 1_000)
    monkeypatch.setattr(watcher, "STOCK_SECONDS", -1.0)
    async with connected(database_url) as connection:
        size = await figure(connection, "SELECT pg_database_size(current_database())")
    await redis.set("much", "x" * 1_000)
    shown = await seen(api)
    assert {"postgres_disk", "redis_disk"} <= set(codes(shown))
    assert shown["room"]["postgres_disk"]["used"] >= size
    persistence = await redis.info("persistence")
    file = persistence["aof_current_size"] + persistence["aof_base_size"]
    assert 1_000 < shown["room"]["redis_disk"]["used"] <= file


async def test_the_table_that_is_not_vacuumed_is_named_until_it_is(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "DEAD_ROWS", 100)
    monkeypatch.setattr(watcher, "STOCK_SECONDS", -1.0)
    assert "dead_rows" not in codes(await seen(api))
    async with connected(database_url) as connection:
        for statement in (
            "CREATE TABLE shelf WITH (autovacuum_enabled = off) AS SELECT n FROM generate_series(1, 300) n",
            "DELETE FROM shelf WHERE n > 100",
            "SELECT pg_stat_force_next_flush()",
        ):
            await connection.execute(statement.encode())
        shown = await seen(api)
        assert (shown["dead_rows"], shown["dead_rows_table"]) == (200, "shelf")
        assert "dead_rows" in codes(shown)
        await connection.execute("VACUUM shelf")
        await connection.execute("SELECT pg_stat_force_next_flush()")
        assert "dead_rows" not in codes(await seen(api))


async def test_the_costly_look_is_made_once_a_minute_and_its_last_word_stays(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (await seen(api))["room"]["postgres_disk"]
    assert size["used"] > 10**6 and size["most"] == 0
    store, asked = api.service.store, []
    one = store.one

    async def counted(query: str, **parameters: object) -> object:
        asked.append(query)
        return await one(query, **parameters)

    monkeypatch.setattr(store, "one", counted)
    for _ in range(3):
        assert (await seen(api))["room"]["postgres_disk"] == size
    assert (asked.count("watch_room"), asked.count("watch_stock")) == (3, 0)


async def test_a_day_of_the_next_month_without_a_partition_is_named_until_it_has_one(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "STOCK_SECONDS", -1.0)
    service = api.service
    service.time.stop_at(at("20:00"))
    await service.opener.prepare(DAY)
    assert (await seen(api))["days_without"] == 0
    async with connected(database_url) as connection:
        await connection.execute("ALTER TABLE claims DETACH PARTITION claims_202612")
        await connection.execute("CREATE TABLE claims_20261203 PARTITION OF claims FOR VALUES IN ('2026-12-03')")
        shown = await seen(api)
        assert "partitions_missing" in codes(shown)
        assert (shown["days_without"], shown["first_without"]) == (DAY.day - 1, "2026-12-01")
        await connection.execute("DROP TABLE claims_202612")
    await service.opener.prepare(DAY)
    assert "partitions_missing" not in codes(await seen(api))


async def test_a_month_that_may_leave_is_named_until_something_holds_it(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "STOCK_SECONDS", -1.0)
    assert (await seen(api))["months_due"] == []
    await add_partitions(api.service.store, [date(2024, 2, 1), date(2024, 1, 1)])
    shown = await seen(api)
    assert shown["months_due"] == ["2024-01", "2024-02"]
    (alarm,) = [one for one in shown["alarms"] if one["code"] == "archive_due"]
    assert (alarm["count"], alarm["month"]) == (2, "2024-01")
    async with connected(database_url) as connection:
        for day in ("2024-01-09", "2024-02-09"):
            opened = (
                f"INSERT INTO rounds (day, rules, seed, seed_hash) SELECT '{day}', rules, seed, seed_hash FROM rounds"
            )
            assert (await connection.execute(f"{opened} LIMIT 1".encode())).rowcount == 1
    assert "archive_due" not in codes(await seen(api))
