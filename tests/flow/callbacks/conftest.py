"""Every test here runs with the lean protocol, and with all requests going the ordinary way."""

import msgspec
import pytest

from clock.config import Settings
from tests.conftest import WEBHOOK_SECRET, Api, at


@pytest.fixture(params=["lean", "ordinary"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def secrets() -> str:
    return WEBHOOK_SECRET


@pytest.fixture
def settings(settings: Settings, secrets: str, protocol: str) -> Settings:
    return msgspec.structs.replace(settings, webhook_secret=secrets, protocol=protocol)


@pytest.fixture(autouse=True)
def evening(api: Api) -> None:
    """The game's clock stands in the evening of a day that is not today: signatures must not care."""
    api.service.time.stop_at(at("20:00"))
