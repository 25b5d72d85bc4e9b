"""Users of one database, and a provider over real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clock.config import Settings
from tests.flow.stage import People, Sandbox, sandbox
from tests.model.world import new_world


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


@pytest.fixture
async def provider(people: People, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path / "sandbox.sqlite") as channel:
        people.use(channel)
        yield channel
