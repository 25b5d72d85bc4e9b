"""``CLOCK_BEACON=double``: ``clock up`` makes a chain, and starts its relay beside the others."""

import asyncio
import sys
from pathlib import Path

from msgspec import structs

from clock.beacon.relays import fetch
from clock.beacon.settings import beacon_of
from clock.config import Settings
from clock.dev.beacon import BeaconDouble
from clock.runtime.directory import with_dev_secrets
from clock.runtime.supervise import plan, with_doubles

NUMBER = 40_000_000
"""In the year 2027, and the game's clock may be there."""


def filled(data_dir: Path, **changes: object) -> Settings:
    given = structs.replace(Settings(env="dev", data_dir=data_dir, beacon="double"), **changes)
    return with_dev_secrets(with_doubles(given))


async def test_the_double_of_the_beacon_serves_the_chain_of_the_settings(tmp_path: Path) -> None:
    settings = filled(tmp_path, redis_url="redis://127.0.0.1:9", database_url="postgresql://127.0.0.1:9/none")
    assert filled(tmp_path).beacon == settings.beacon, "its key is kept"
    beacon = beacon_of(settings)
    assert beacon is not None
    (child,) = [child for child in plan(settings).children if child.name == "beacon"]
    assert child.ready_url == f"{beacon.relays[0]}/healthz"
    process = await asyncio.create_subprocess_exec(*child.command, env=child.env)
    try:
        async with asyncio.timeout(30):
            while not (signature := await fetch(beacon, NUMBER)):
                await asyncio.sleep(0.05)
    finally:
        process.terminate()
        assert await process.wait() == 0
    key = bytes.fromhex((tmp_path / "beacon.key").read_text())
    assert signature == BeaconDouble(key).signature(NUMBER)
    assert child.command[0] == sys.executable


def test_a_chain_that_somebody_else_serves_has_no_double(tmp_path: Path) -> None:
    for changes in (
        {"beacon": "none"},
        {"beacon": "quicknet"},
        {"beacon": "quicknet", "beacon_relays": "http://127.0.0.1:9"},
        {"beacon_relays": "http://relay.example"},
    ):
        assert [child for child in plan(filled(tmp_path, **changes)).children if child.name == "beacon"] == []


def test_there_is_no_double_in_production(tmp_path: Path) -> None:
    settings = Settings(env="prod", data_dir=tmp_path, beacon="double")
    assert with_dev_secrets(with_doubles(settings)) == settings
