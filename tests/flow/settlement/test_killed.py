"""A process that is killed in any state is taken on by the next."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clock.config import Settings
from clock.runtime import worker
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import (
    CROWD,
    RICH,
    audited,
    carried_then_played,
    expect_rich,
    expect_void,
    finished,
    manifest,
    move_other_processes,
    published,
    query,
    row_of,
)
from tests.model.world import forgetful, new_world


@asynccontextmanager
async def stalled_at(service: Service, state: str) -> AsyncIterator[None]:
    """Whoever brings a round to this state sleeps in the middle of it."""
    await query(
        service,
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'",
    )
    await query(
        service,
        "CREATE TRIGGER stall BEFORE UPDATE ON rounds FOR EACH ROW"
        f" WHEN (NEW.state = '{state}' AND OLD.state <> '{state}') EXECUTE FUNCTION stall()",
    )
    yield
    await query(service, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    await query(service, "DROP FUNCTION stall CASCADE")


async def start_command(settings: Settings, *command: str) -> asyncio.subprocess.Process:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CLOCK_")}
    for name in ("data_dir", "redis_url", "database_url", "jwt_secret", "webhook_secret", "statement_key"):
        environ["CLOCK_" + name.upper()] = str(getattr(settings, name))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clock",
        *command,
        cwd=Path(__file__).parents[3],
        env=environ | {"CLOCK_ENV": "dev"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def killed_at(settings: Settings, service: Service, state: str, *command: str) -> None:
    """Run the command until it brings the round to the state, and kill it in the middle of that."""
    async with stalled_at(service, state):
        process = await start_command(settings, *command)
        async with asyncio.timeout(180):
            while not await query(service, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
                assert process.returncode is None, f"it ended before it came to {state}"
                await asyncio.sleep(0.02)
        process.kill()
        await process.wait()
    await query(service, "UPDATE work SET beat_at = beat_at - interval '1 minute'")  # the next comes later
    assert (await row_of(service, DAY))["state"] != state


@pytest.mark.long
async def test_a_settling_process_killed_in_every_state_is_taken_on_by_the_next(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, **RICH) as service:
        await carried_then_played(service)
        await move_other_processes(service)
        for state in ("closed", "sealed", "split", "published", "settled"):
            await killed_at(settings, service, state, "settle", DAY.isoformat())
        drawn = await manifest(service, DAY)
        assert await service.settling.settle(DAY) == "settled"
        assert await published(service, DAY) == await manifest(service, DAY) == drawn
        expect_rich(await audited(service, DAY))
        await finished(service, DAY)


@pytest.mark.long
async def test_a_voiding_process_killed_in_every_state_is_taken_on_by_the_worker(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, **RICH) as service:
        await carried_then_played(service)
        await move_other_processes(service)
        for state in ("voiding", "void"):
            await killed_at(settings, service, state, "void", DAY.isoformat(), "--reason", "rain")
        assert (await row_of(service, DAY))["state"] == "voiding"
        await worker.settle({"service": service})
        await expect_void(service, CROWD)
