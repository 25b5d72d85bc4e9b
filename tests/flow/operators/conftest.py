"""What every test of operators runs under."""

from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.http import health_routes
from clock.operators.watch import watcher


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants different; given by ``pytest.mark.parametrize``."""
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **changes)


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told what was seen a moment ago."""
    monkeypatch.setattr(watcher, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(health_routes, "FRESH_SECONDS", -1.0)
