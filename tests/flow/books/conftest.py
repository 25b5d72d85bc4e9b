"""What every test of the drain runs under."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from clock.service import Service
from tests.conftest import DAY
from tests.model.world import new_world


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[Service]:
    """A process with the round of :data:`DAY` open."""
    async with new_world(settings, shards=2) as service:
        await service.opener.open_round(DAY)
        yield service
