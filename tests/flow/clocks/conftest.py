"""A Valkey and a Postgres whose clocks jump when a test says so."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clock.books.migrations import migrate
from clock.config import Settings
from clock.runtime import embedded
from clock.runtime.ports import free_port
from tests.conftest import JWT_SECRET, STATEMENT_KEY, WEBHOOK_SECRET, in_memory
from tests.flow.clocks.faked import Clock, Postgres, Valkey, new_clock


@dataclass(frozen=True)
class Clocks:
    redis: Clock
    postgres: Clock

    def right(self) -> None:
        self.redis.jump(0)
        self.postgres.jump(0)


@pytest.fixture(scope="module")
def faked() -> Iterator[Clocks]:
    with new_clock() as one, new_clock() as other:
        yield Clocks(one, other)


@pytest.fixture(scope="module")
async def wrong(faked: Clocks, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    """Settings of servers that may be wrong."""
    with embedded.scratch(in_memory()) as data_dir:
        valkey, postgres = Valkey(data_dir, clock=faked.redis), Postgres(data_dir, clock=faked.postgres)
        async with embedded.started(valkey), embedded.started(postgres):
            await migrate(postgres.url)
            yield Settings(
                env="dev",
                port=free_port(),
                data_dir=Path(tmp_path_factory.mktemp("wrong")),
                redis_url=valkey.url,
                database_url=postgres.url,
                jwt_secret=JWT_SECRET,
                webhook_secret=WEBHOOK_SECRET,
                statement_key=STATEMENT_KEY,
            )


@pytest.fixture
def clocks(faked: Clocks) -> Iterator[Clocks]:
    faked.right()
    yield faked
    faked.right()
