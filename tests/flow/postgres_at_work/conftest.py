"""A Postgres of the file's own, behind an address; the service knows only the address."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from clock.books.migrations import migrate
from clock.config import Settings
from clock.runtime import embedded
from clock.runtime.ports import free_port
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, Servers, in_memory
from tests.flow.pair import Address
from tests.flow.postgres_at_work.stage import Postgres
from tests.raw import Redis


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[Postgres]:
    with embedded.scratch(in_memory()) as data_dir:
        server = embedded.Postgres(data_dir)
        async with embedded.started(server) as process:
            yield Postgres(server, process.pid)


@pytest.fixture
async def direct_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty, migrated database, without the address."""
    name = f"test_{free_port()}"
    url = postgres.server.url.replace("/clock?", f"/{name}?")
    async with await psycopg.AsyncConnection.connect(postgres.server.url, autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name}".encode())
        await migrate(url)
        yield url
        postgres.go_on()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
async def address(postgres: Postgres) -> AsyncIterator[Address]:
    async with Address(postgres.server.port).serving() as address:
        yield address


@pytest.fixture
async def redis_address(servers: Servers) -> AsyncIterator[Address]:
    async with Address(port_of(servers.redis_url)).serving() as address:
        yield address


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def settings(
    servers: Servers,
    redis: Redis,
    direct_url: str,
    postgres: Postgres,
    address: Address,
    redis_address: Address,
    tmp_path: Path,
) -> Settings:
    return Settings(
        env="dev",
        port=free_port(),
        data_dir=tmp_path,
        redis_url=servers.redis_url.replace(f":{port_of(servers.redis_url)}/", f":{redis_address.port}/"),
        database_url=direct_url.replace(f":{postgres.server.port}/", f":{address.port}/"),
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
    )


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""
