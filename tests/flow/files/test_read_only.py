"""A root file system to which nothing can be written, and a data directory on one."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from clock.config import Settings
from clock.runtime.supervise import environment, page
from tests.flow.operators.stage import ROOT, clock
from tests.servers import UNSHARE, needs_mounts


async def inside(settings: Settings, mounts: str, *command: str, **env: str) -> asyncio.subprocess.Process:
    """The command in file systems of its own, which end with it."""
    return await asyncio.create_subprocess_exec(
        *UNSHARE,
        f'{mounts}; exec "$@"',
        "sh",
        *(sys.executable, "-m", "clock", *command),
        env={**environment(settings), **env},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def said(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()


async def said_so_far(process: asyncio.subprocess.Process, words: str) -> None:
    """It has said these words. Fails if it ends without."""
    assert process.stdout is not None
    lines: list[bytes] = []
    async with asyncio.timeout(60):
        while words.encode() not in b"".join(lines[-1:]):
            lines.append(await process.stdout.readline())
            assert lines[-1], b"".join(lines).decode()


async def answered(session: aiohttp.ClientSession, url: str) -> int:
    try:
        async with session.get(url) as reply:
            return reply.status
    except aiohttp.ClientError:
        return 0


READ_ONLY = "mount -o remount,ro,bind /"


@needs_mounts
@pytest.mark.long
async def test_the_service_runs_on_a_read_only_root(settings: Settings, tmp_path: Path) -> None:
    """As in docker-compose.yml: the folder for temporary files is in memory."""
    place = tmp_path / "memory"
    place.mkdir()
    memory, env = f"mount -t tmpfs -o size=64m tmpfs {place}", {"TMPDIR": str(place)}
    settings = replace(settings, data_dir=place, host="127.0.0.1", sandbox_port=0, api_workers=2)
    status, output = await said(await inside(settings, f"{memory}; {READ_ONLY}", "migrate", **env))
    assert (status, "0 migrations applied" in output) == (0, True), output
    api = await inside(settings, f"{memory}; {READ_ONLY}", "api", **env)
    forbidden = "touch /forbidden 2>/dev/null && exit 9"
    worker = await inside(settings, f"{memory}; {READ_ONLY}; {forbidden}; true", "worker", **env)
    try:
        await said_so_far(worker, "worker_started")
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            for path in ("readyz", "metrics"):
                while await answered(session, f"{page(settings)}{path}") != 200:
                    assert api.returncode is None, await said(api)
                    await asyncio.sleep(0.2)
        worker.terminate()
        status, output = await said(worker)
        assert (status, "Traceback" in output, "worker_started" in output) == (0, False, False), output
    finally:
        for process in (api, worker):
            if process.returncode is None:
                process.terminate()
                await process.wait()


@needs_mounts
async def test_without_a_folder_for_temporary_files_the_api_says_what_to_do(settings: Settings) -> None:
    others = "for each in /tmp /var/tmp /usr/tmp; do mount -o remount,ro,bind $each 2>/dev/null || true; done"
    folders = f"{READ_ONLY}; {others}; cd /proc"
    status, output = await said(await inside(settings, folders, "api", PYTHONPATH=str(ROOT)))
    assert status == 2, output
    assert "no folder for temporary files can be written" in output and "TMPDIR" in output and "Traceback" not in output


@needs_mounts
async def test_a_read_only_data_directory_is_refused_and_named(settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir()
    mount = f"mount -t tmpfs -o ro tmpfs {place}"
    status, output = await said(await inside(replace(settings, data_dir=place), mount, "up"))
    assert (status, "Traceback" in output) == (1, False), output
    assert f"{place}/lock cannot be opened: Read-only file system; choose another CLOCK_DATA_DIR" in output
    place.rmdir()


async def test_a_data_directory_that_cannot_be_made_is_refused_and_named(settings: Settings) -> None:
    status, output = await clock(replace(settings, data_dir=Path("/proc/clock")), "up")
    assert (status, "cannot make the data directory /proc/clock" in output, "Traceback" in output) == (1, True, False)
