"""Every test here runs twice: with the lean protocol, and with all requests going the ordinary way."""

from typing import Any

import msgspec
import pytest

from clock.config import Settings


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants different; given by ``pytest.mark.parametrize``."""
    return {}


@pytest.fixture(params=["lean", "ordinary"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any], protocol: str) -> Settings:
    return msgspec.structs.replace(settings, **{"protocol": protocol, **changes})
