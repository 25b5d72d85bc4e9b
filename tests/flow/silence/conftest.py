"""Redis, the queue and the provider, each behind an address; the service knows only the addresses."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from clock.config import Settings
from tests.conftest import Servers
from tests.flow.pair import Address
from tests.flow.postgres_at_work.conftest import port_of


@pytest.fixture
async def redis_address(servers: Servers) -> AsyncIterator[Address]:
    async with Address(port_of(servers.redis_url)).serving() as address:
        yield address


@pytest.fixture
async def queue_address(servers: Servers) -> AsyncIterator[Address]:
    async with Address(port_of(servers.redis_url)).serving() as address:
        yield address


@pytest.fixture
def settings(settings: Settings, redis_address: Address, queue_address: Address) -> Settings:
    def behind(address: Address) -> str:
        return settings.redis_url.replace(f":{port_of(settings.redis_url)}/", f":{address.port}/")

    return msgspec.structs.replace(settings, redis_url=behind(redis_address), queue_url=behind(queue_address))


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""
