"""The health check of a worker in ``docker-compose.yml``: of this process, whatever others do."""

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from clock.config import Settings
from clock.game import keys
from clock.runtime.worker import ALIVE
from tests.flow.stage import working
from tests.raw import Redis

COMPOSE = yaml.safe_load((Path(__file__).parents[3] / "docker-compose.yml").read_text("utf-8"))
SHELL, CHECK = COMPOSE["services"]["worker"]["healthcheck"]["test"]


def healthy(data_dir: Path) -> bool:
    assert SHELL == "CMD-SHELL"
    command = CHECK.replace("$$", "$").replace("/tmp/", f"{data_dir}/")
    return subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.DEVNULL).returncode == 0


async def touched(alive: Path, after: float) -> None:
    async with asyncio.timeout(15):
        while not alive.exists() or alive.stat().st_mtime <= after:
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_a_worker_that_hangs_is_not_healthy_though_another_works(settings: Settings, redis: Redis) -> None:
    alive = settings.data_dir / ALIVE
    assert not healthy(settings.data_dir)
    async with working(settings) as process:
        await touched(alive, 0)
        assert healthy(settings.data_dir)
        process.send_signal(signal.SIGSTOP)
        await redis.set(keys.HEARTBEAT, 1)  # another worker's
        long_ago = time.time() - 20
        os.utime(alive, (long_ago, long_ago))
        assert not healthy(settings.data_dir)
        process.send_signal(signal.SIGCONT)
        await touched(alive, long_ago)
        assert healthy(settings.data_dir)
