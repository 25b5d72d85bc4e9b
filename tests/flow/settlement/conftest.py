"""What every test of a round's end runs under."""

from collections.abc import AsyncIterator, Iterator

import pytest

from clock.config import Settings
from clock.service import Service
from tests.model.world import exact_waits, forgetful, new_world, quiet


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    exact_waits(monkeypatch)
    with quiet():
        yield


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[Service]:
    async with forgetful(settings), new_world(settings, shards=2) as service:
        yield service
