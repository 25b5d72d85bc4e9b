"""What operators ask, over HTTP and on the command line, and what they are shown."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from clock.books import outbox
from clock.config import Settings
from clock.runtime.supervise import environment
from tests.conftest import DAY, Api

ROOT = Path(__file__).parents[3]
BOSS = 99
NO_ENTRY = "ab" * 32


async def operate(api: Api, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    return await api.send(method, path, body, api.token(BOSS, "operator"))


async def figures(api: Api) -> dict[str, Any]:
    status, reply = await operate(api, "GET", f"/ops/rounds/{DAY}")
    assert (status, reply["code"]) == (200, "ok")
    shown: dict[str, Any] = reply["data"]
    return shown


async def clock(settings: Settings, *arguments: str, **changes: str) -> tuple[int, str]:
    """Run ``python -m clock …`` with these settings; its exit status, and what it said."""
    env = {**environment(settings), **changes}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "clock", *arguments),
        env={name: value for name, value in env.items() if value},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, said.decode()


async def drain(api: Api) -> None:
    for shard in range(api.settings.shards):
        await outbox.drain(api.service.store, api.service.redis, DAY, shard)


async def seen(api: Api) -> dict[str, Any]:
    status, reply = await operate(api, "GET", "/ops/live")
    assert (status, reply["code"]) == (200, "ok")
    shown: dict[str, Any] = reply["data"]
    return shown


def codes(shown: dict[str, Any]) -> list[str]:
    return [alarm["code"] for alarm in shown["alarms"]]


async def exported(url: str, session: aiohttp.ClientSession) -> dict[str, float]:
    """Every sample of ``/metrics``, by name and labels."""
    async with session.get(f"{url}/metrics") as reply:
        assert reply.status == 200
        families = list(text_string_to_metric_families(await reply.text()))
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for sample in samples
    }
