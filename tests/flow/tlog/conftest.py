"""What every test of the log runs under."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from clock.service import Service
from tests.model.world import forgetful


@pytest.fixture
async def process(settings: Settings, service: Service) -> AsyncIterator[Service]:
    async with forgetful(settings):
        yield service
