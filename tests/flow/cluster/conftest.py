"""Six nodes for the tests of a file; each test finds them empty, and has a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clock.config import Settings
from clock.runtime import embedded
from tests.cluster import Cluster, cluster
from tests.conftest import Servers, in_memory, settings_over
from tests.flow.cluster.stage import SHARDS


@pytest.fixture(scope="module")
async def nodes() -> AsyncIterator[Cluster]:
    with embedded.scratch(in_memory()) as data_dir:
        async with cluster(data_dir) as made:
            yield made


@pytest.fixture
async def six(nodes: Cluster) -> Cluster:
    await nodes.become_well()
    for node in await nodes.primaries():
        await nodes.client(node).flushall()
    return nodes


@pytest.fixture
def redis() -> None:
    """The settings' Redis is the cluster, not the session's."""


@pytest.fixture
def settings(six: Cluster, servers: Servers, database_url: str, tmp_path: Path) -> Settings:
    return settings_over(six.url, database_url, tmp_path, queue_url=servers.redis_url, shards=SHARDS)


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""
