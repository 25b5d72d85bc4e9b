"""What every test of the envelope runs under."""

from typing import Any

import msgspec
import pytest

from clock.config import Settings


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants different; given by ``pytest.mark.parametrize``."""
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **changes)
