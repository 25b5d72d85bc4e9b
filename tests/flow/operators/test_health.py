"""Whether a process lives and is ready."""

import time

import msgspec
import pytest

from clock.books.migrations import migrations
from clock.runtime import worker
from clock.service import Service
from tests.conftest import Api
from tests.flow.operators.stage import BOSS


async def test_healthz_says_that_the_process_lives(api: Api) -> None:
    assert (await api.send("GET", "/healthz"))[0] == 200


@pytest.fixture
async def opened(api: Api) -> None:
    """The rounds are there: a process that opens them first may be too slow for one look."""
    await api.service.opener.open_around(api.service.asking.calendar.day_at(api.service.time.now_ms()))


async def test_readyz_shows_the_servers_the_worker_and_the_durability_in_force(api: Api, opened: None) -> None:
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["redis"], parts["postgres"]) == (200, True, True, True)
    assert parts["schema"] is True
    assert parts["worker"] is False
    durability = parts["durability"]
    assert (durability["mode"], durability["appendonly"], durability["appendfsync"]) == ("fsync", "yes", "always")
    assert durability["maxmemory-policy"] == "noeviction"

    await worker.beat({"service": api.service})
    assert (await api.send("GET", "/readyz"))[1]["worker"] is True


async def test_readyz_says_whether_the_database_has_this_versions_schema(api: Api, opened: None) -> None:
    """Redis decides all the same: check-ins go on."""
    last = f"name = '{migrations()[-1].name}'"
    for change in (
        f"UPDATE migrations SET checksum = 'another' WHERE {last}",
        f"DELETE FROM migrations WHERE {last}",
        "INSERT INTO migrations (name, checksum) VALUES ('9999_later', '')",
        "ALTER TABLE migrations RENAME TO others",
    ):
        assert (await api.send("GET", "/readyz"))[1]["schema"] is (change.startswith("UPDATE"))
        async with api.service.store.transaction() as connection:
            await connection.execute(change.encode())
        status, parts = await api.send("GET", "/readyz")
        assert (status, parts["ready"], parts["postgres"], parts["schema"]) == (200, True, True, False)


async def test_a_database_without_tables_is_no_error_of_readyz(api: Api) -> None:
    async with api.service.store.transaction() as connection:
        await connection.execute("ALTER TABLE migrations RENAME TO others")
        await connection.execute("ALTER TABLE rounds RENAME TO other_rounds")
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["postgres"], parts["schema"]) == (503, False, True, False)


@pytest.mark.parametrize("changes", [{"database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}])
async def test_without_postgres_it_says_so_at_once_and_history_is_unavailable(api: Api, database_url: str) -> None:
    healthy = Service(msgspec.structs.replace(api.settings, database_url=database_url))
    await healthy.start()
    await healthy.opener.open_around(healthy.asking.calendar.day_at(healthy.time.now_ms()))
    await healthy.stop()

    began = time.monotonic()
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["redis"], parts["postgres"]) == (200, True, True, False)
    assert parts["schema"] is False
    assert time.monotonic() - began < 4  # a load balancer does not wait longer
    async with api.session.get(f"{api.url}/ops/quarantine", headers=api.token(BOSS, "operator")) as reply:
        assert (reply.status, (await reply.json())["code"]) == (503, "unavailable")
        assert reply.headers["retry-after"] == "2"
