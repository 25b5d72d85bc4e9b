"""Whether a process lives and is ready."""

import time

import msgspec
import pytest

from clock.runtime import worker
from clock.service import Service
from tests.conftest import Api
from tests.flow.operators.stage import BOSS


async def test_healthz_says_that_the_process_lives(api: Api) -> None:
    assert (await api.send("GET", "/healthz"))[0] == 200


async def test_readyz_shows_the_servers_the_worker_and_the_durability_in_force(api: Api) -> None:
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["redis"], parts["postgres"]) == (200, True, True, True)
    assert parts["worker"] is False
    durability = parts["durability"]
    assert (durability["mode"], durability["appendonly"], durability["appendfsync"]) == ("fsync", "yes", "always")
    assert durability["maxmemory-policy"] == "noeviction"

    await worker.beat({"service": api.service})
    assert (await api.send("GET", "/readyz"))[1]["worker"] is True


@pytest.mark.parametrize("changes", [{"database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}])
async def test_without_postgres_it_says_so_at_once_and_history_is_unavailable(api: Api, database_url: str) -> None:
    healthy = Service(msgspec.structs.replace(api.settings, database_url=database_url))
    await healthy.start()
    await healthy.opener.open_around(healthy.asking.calendar.day_at(healthy.time.now_ms()))
    await healthy.stop()

    began = time.monotonic()
    status, parts = await api.send("GET", "/readyz")
    assert (status, parts["ready"], parts["redis"], parts["postgres"]) == (200, True, True, False)
    assert time.monotonic() - began < 4  # a load balancer does not wait longer
    async with api.session.get(f"{api.url}/ops/quarantine", headers=api.token(BOSS, "operator")) as reply:
        assert (reply.status, (await reply.json())["code"]) == (503, "unavailable")
        assert reply.headers["retry-after"] == "2"
