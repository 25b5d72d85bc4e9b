"""What stops the start, when it is over, and at which address the page is."""

import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from clock.config import BadSetting, Settings
from clock.game import keys
from clock.operators import older_keys
from clock.runtime import supervise
from clock.runtime.crew import StartError
from clock.runtime.supervise import page, running
from tests.unit.supervise.stage import FAIL, NEVER_READY, SERVE, SLEEP, pids, stand_ins


async def test_failing_migrations_stop_the_start(settings: Settings) -> None:
    with capture_logs() as logs, pytest.raises(StartError, match="migrate exited with 3"):
        async with running(settings, stand_ins(SLEEP, migrate=FAIL)):
            pass
    assert pids(logs) == []


async def test_what_production_refuses_stops_the_start_of_everything(data_dir: Path) -> None:
    """A child that refuses would be started again for ever."""
    bare = Settings(
        env="prod",
        data_dir=data_dir,
        port=0,
        redis_url="redis://127.0.0.1:1",
        database_url="postgresql://127.0.0.1:1/d",
    )
    with capture_logs() as logs, pytest.raises(BadSetting, match="CLOCK_JWT_SECRET"):
        async with running(bare, stand_ins(SLEEP)):
            raise AssertionError("it runs")
    assert pids(logs) == []


async def test_running_waits_until_the_api_is_ready(settings: Settings) -> None:
    async with running(settings, stand_ins(SERVE)) as urls:
        assert await supervise._wait_for([f"{urls['page']}readyz"], 5)
    with pytest.raises(StartError, match="child-0 is not ready after 0 s"):
        async with running(settings, stand_ins(NEVER_READY), ready_s=0.1):
            pass


async def test_a_taken_port_is_refused_before_anything_starts(settings: Settings, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = Settings(data_dir=data_dir, port=taken.getsockname()[1])
        with pytest.raises(StartError, match=r"Address already in use.*CLOCK_PORT"):
            async with running(there, stand_ins(SLEEP)):
                pass
    assert not (data_dir / "valkey").exists()


async def test_keys_of_an_older_version_are_moved_before_anything_uses_them(data_dir: Path) -> None:
    embedded = Settings(env="dev", data_dir=data_dir, port=0, database_url="postgresql://127.0.0.1:1/d")
    moved = keys.name(keys.USERS, 3, "flags")
    async with running(embedded, stand_ins(SLEEP)) as urls, Redis.from_url(urls["redis_url"]) as redis:
        await redis.hset(older_keys.FLAGS, "open", "1")
    async with running(embedded, stand_ins(SLEEP)) as urls, Redis.from_url(urls["redis_url"]) as redis:
        assert (await redis.exists(older_keys.FLAGS), await redis.exists(moved)) == (0, 1)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
        ("clock.example", "http://clock.example:80/"),
    ],
)
def test_the_page_is_at_an_address_that_a_browser_can_open(host: str, address: str) -> None:
    assert page(Settings(host=host, port=80)) == address
