"""Users of one database, and a provider over real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clock.config import Settings
from tests.conftest import Servers
from tests.flow.stage import People, Sandbox, one_database, sandbox
from tests.model.world import new_world


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("outgoing")) as settings:
        yield settings


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


@pytest.fixture
async def provider(people: People, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        yield channel
