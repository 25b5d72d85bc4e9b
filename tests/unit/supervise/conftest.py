"""A data directory, and supervisors that do not outlive their test."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clock.config import Settings
from clock.runtime import embedded
from tests.unit.supervise.stage import Supervisor, gone, pids


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with embedded.scratch() as path:
        yield path


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """With the addresses of servers that nobody asks."""
    return Settings(
        env="dev", data_dir=data_dir, port=0, redis_url="redis://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/d"
    )


@pytest.fixture
def supervisor(data_dir: Path) -> Iterator[Callable[..., Supervisor]]:
    begun: list[Supervisor] = []

    def begin(*scripts: str, to: int | None = None) -> Supervisor:
        begun.append(Supervisor(data_dir, *scripts, to=to))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.wait()
        for pid in pids(each.logs()):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
