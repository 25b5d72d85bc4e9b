"""Every test here runs twice: with the lean protocol, and with all requests going the ordinary way."""

from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.http import protocol as protocol_file
from tests.conftest import Api, at
from tests.flow.http.stage import ME, Phone, call, look


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


@pytest.fixture
async def phone(api: Api) -> AsyncIterator[Phone]:
    api.service.time.stop_at(at("20:00"))
    await api.member(ME)
    phone = await call(api)
    yield phone
    phone.writer.close()


@pytest.fixture
def later(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """So many seconds pass for connections, and each is looked at."""
    passed = 0.0

    def pass_by(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        look(api)

    monkeypatch.setattr(protocol_file, "monotonic", lambda: monotonic() + passed)
    return pass_by
