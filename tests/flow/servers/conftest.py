"""Settings of production over durable servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from clock.config import Settings
from clock.runtime import start_check
from clock.runtime.ports import free_port
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, Servers
from tests.raw import Redis, plain


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses is asked again for a second. One that is busy has all the time that it has."""
    silence = start_check._silence

    async def soon(check: Callable[[], Awaitable[None]], seconds: float) -> str:
        return await silence(check, min(seconds, 1.0))

    monkeypatch.setattr(start_check, "_silence", soon)


@pytest.fixture
def settings(durable: Servers, durable_database: str, tmp_path: Path) -> Settings:
    return Settings(
        env="prod",
        port=free_port(),
        data_dir=tmp_path,
        redis_url=durable.redis_url,
        database_url=durable_database,
        jwt_secret=JWT_SECRET,
        webhook_secret=WEBHOOK_SECRET,
        statement_key=STATEMENT_KEY,
    )


@pytest.fixture
async def redis(durable: Servers) -> AsyncIterator[Redis]:
    """The durable Valkey, with every right."""
    async with plain(durable.redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def patient() -> None:
    """Nobody is: servers are silent here."""
