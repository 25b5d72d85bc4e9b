"""Users of one database whose host is told, and the host."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from tests.flow.events.stage import Receiver, listening
from tests.flow.stage import People
from tests.model.world import new_world


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with listening(receiver):
        yield receiver


@pytest.fixture
async def people(shared: Settings, receiver: Receiver) -> AsyncIterator[People]:
    async with new_world(shared, events_url=receiver.url) as service:
        yield People(service)
