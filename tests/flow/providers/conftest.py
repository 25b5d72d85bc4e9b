"""Keys once for all; a service and a double for each test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clock.config import Settings
from clock.http import openapi
from tests.flow.providers.stage import Provider, Town, town_of


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def town(
    settings: Settings, provider: Provider, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    monkeypatch.setattr(openapi, "describe", lambda app: None)
    async with town_of(settings, provider, keys) as town:
        yield town
