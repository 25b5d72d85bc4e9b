"""Users of one database, and a provider that pays when the test says so."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from tests.flow.stage import People
from tests.model.world import new_world


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)
