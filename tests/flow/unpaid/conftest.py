"""People who have not paid, and the provider that is asked about them."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from tests.flow.stage import People
from tests.flow.unpaid.stage import Provider
from tests.model.world import new_world


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


@pytest.fixture
def provider(people: People) -> Provider:
    channel = Provider()
    people.use(channel)
    return channel
