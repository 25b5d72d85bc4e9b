"""A byte changed in the middle of the append-only file: a sentence, and the commands of docs/operations.md."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from clock.config import Settings
from clock.runtime import embedded
from clock.runtime.embedded import Valkey, started
from clock.runtime.processes import EmbeddedError
from clock.runtime.supervise import environment, running
from tests.conftest import DAY
from tests.flow.files.stage import answer, killed, newest, people_of
from tests.flow.stage import NEXT_DAY
from tests.unit.supervise.stage import SLEEP, pids, stand_ins, until

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "operations.md"
SECTION = PAGE.read_text("utf-8").partition("### A damaged append-only file\n")[2].partition("\n## ")[0]
CUT, REBUILD = re.findall(r"^```sh\n(.+?)\n```$", SECTION, re.MULTILINE | re.DOTALL)


async def typed(commands: str, settings: Settings) -> str:
    """The commands as they are written, with other places and days."""
    for written, here in {
        "/srv/clock/.venv/bin/python": sys.executable,
        ".clock/": f"{settings.data_dir}/",
        "/tmp/valkey-check-aof": f"{settings.data_dir}/valkey-check-aof",
        "clock rebuild": f"{sys.executable} -m clock rebuild",
        "clock reconcile": f"{sys.executable} -m clock reconcile",
        "2030-01-01": str(DAY),
        "2030-01-02": str(NEXT_DAY),
    }.items():
        commands = commands.replace(written, here)
    process = await asyncio.create_subprocess_shell(
        f"set -e\n{commands}",
        env={**environment(settings), "PATH": os.environ["PATH"]},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


def damage(path: Path, position: int) -> None:
    """Change the first byte of a command at or behind the position."""
    written = bytearray(path.read_bytes())
    written[written.index(b"\r\n*", position) + 2] = ord("+")
    path.write_bytes(written)


async def test_a_damaged_file_is_named_and_what_is_written_down_brings_everything_back(
    settings: Settings, data_dir: Path
) -> None:
    server = Valkey(data_dir)
    async with killed(settings, server) as people:
        await people.service.opener.open_round(NEXT_DAY)
        await people.members(1, 2, 3)
        people.it_is("06:00", 1)
        await people.check_in(1)
        middle = newest(server).stat().st_size
        await people.check_in(2)
        await people.drain()
    damage(newest(server), middle)
    with pytest.raises(EmbeddedError) as refused:
        await embedded.start(server)
    assert str(newest(server)) in str(refused.value)
    assert "docs/operations.md says under 'A damaged append-only file'" in str(refused.value)

    here = Settings(
        env="prod",
        data_dir=data_dir,
        redis_url=server.url,
        database_url=settings.database_url,
        jwt_secret=settings.jwt_secret,
        webhook_secret=settings.webhook_secret,
        statement_key=settings.statement_key,
    )
    assert "Successfully truncated AOF" in await typed(CUT, here)
    async with started(server):
        await typed(REBUILD, here)
        async with people_of(settings, server) as people:
            people.it_is("06:01", 1)
            words = [await answer(people, uid) for uid in (1, 2, 3)]
    assert words == ["already_checked_in", "already_checked_in", "checked_in"]


async def test_a_supervisor_says_why_a_server_does_not_come_back(data_dir: Path) -> None:
    """Instead of starting it again for ever without a word."""
    settings = Settings(env="dev", data_dir=data_dir, port=0, database_url="postgresql://127.0.0.1:1/d")
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP)):
            server = Valkey(data_dir)
            path = newest(server)
            path.write_bytes(b"+no command\r\n")
            os.kill(pids(logs, "valkey")[0], signal.SIGKILL)
            await until(lambda: len([log for log in logs if log["event"] == "child_exited"]) == 2)
    ended, refused = [log["reason"] for log in logs if log["event"] == "child_exited"][:2]
    assert "Ready to accept connections" in ended
    assert f"Valkey cannot read {path}" in refused
