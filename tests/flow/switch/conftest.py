"""A primary and its replica behind one address, which the service is given."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clock.config import Settings
from clock.runtime import embedded
from tests.conftest import settings_over
from tests.flow.pair import Address, Pair, pair


@pytest.fixture
async def two() -> AsyncIterator[Pair]:
    with embedded.scratch() as data_dir:
        async with pair(data_dir) as both:
            yield both


@pytest.fixture
async def address(two: Pair) -> AsyncIterator[Address]:
    async with Address(two.primary.port).serving() as address:
        yield address


@pytest.fixture
def url(two: Pair, address: Address) -> str:
    return f"redis://:{two.primary.password}@127.0.0.1:{address.port}/0"


@pytest.fixture
def redis() -> None:
    """The settings' Redis is the pair, not the session's."""


@pytest.fixture
def durability() -> str:
    return "fsync"


@pytest.fixture
def settings(url: str, durability: Any, database_url: str, tmp_path: Path) -> Settings:
    return settings_over(url, database_url, tmp_path, durability=durability)


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""
