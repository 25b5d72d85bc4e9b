"""One database for the tests of a file: each takes a month of its own."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from clock.service import Service
from tests.model.world import new_world


@pytest.fixture(scope="module")
async def process(shared: Settings) -> AsyncIterator[Service]:
    async with new_world(shared) as service:
        yield service
