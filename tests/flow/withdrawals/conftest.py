"""Users of one database, and a provider that pulls."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from tests.flow.stage import People
from tests.flow.withdrawals.stage import Puller
from tests.model.world import new_world


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


@pytest.fixture
def puller(people: People) -> Puller:
    channel = Puller()
    people.use(channel)
    return channel
