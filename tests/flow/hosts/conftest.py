"""Settings with several shards, and addresses behind which one host's servers are."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from tests.conftest import Servers
from tests.flow.hosts.stage import Network
from tests.flow.pair import Address
from tests.flow.postgres_at_work.conftest import port_of


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings of a test's own; given by ``pytest.mark.parametrize``."""
    return {"shards": 2, "api_workers": 1}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **changes)


@pytest.fixture
async def network(servers: Servers) -> AsyncIterator[Network]:
    """One host's way to the servers."""
    ports = port_of(servers.redis_url), port_of(servers.admin_url)
    async with Address(ports[0]).serving() as redis, Address(ports[1]).serving() as postgres:
        yield Network(redis, postgres)


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""
