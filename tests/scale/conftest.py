"""A database that the tests of one file share."""

from collections.abc import AsyncIterator

import pytest

from clock.config import Settings
from tests.conftest import Servers
from tests.flow.stage import one_database


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("shared")) as settings:
        yield settings
