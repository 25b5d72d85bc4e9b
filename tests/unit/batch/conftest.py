"""What every test of the batcher runs under."""

import pytest

from tests.unit.batch.stage import Redis


@pytest.fixture
def redis() -> Redis:
    return Redis()
