"""The append-only file as a loss of power leaves it: what was acknowledged is there, and nothing by halves."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from clock.config import Settings
from clock.operators.rounds import reconcile_rounds
from clock.runtime import embedded
from clock.runtime.embedded import Valkey, started
from clock.runtime.processes import EmbeddedError
from tests import servers
from tests.conftest import DAY
from tests.flow.files.stage import answer, killed, newest, people_of
from tests.flow.stage import People


async def an_acknowledged_check_in_and_another(people: People, server: Valkey) -> tuple[bytes, bytes]:
    """What 1's check-in and everything before it wrote, and what 2's wrote behind it."""
    await people.members(1, 2, 3)
    people.it_is("06:00", 1)
    await people.check_in(1)
    before = newest(server).stat().st_size
    await people.check_in(2)
    written = newest(server).read_bytes()
    return written[:before], written[before:]


async def nothing_is_lost_or_halved(people: People, second: str) -> None:
    """``second``: what 2 hears."""
    people.it_is("06:01", 1)
    assert [await answer(people, uid) for uid in (1, 2, 3)] == ["already_checked_in", second, "checked_in"]
    await people.drain()
    assert await people.rows("SELECT uid FROM check_ins ORDER BY uid") == [{"uid": uid} for uid in (1, 2, 3)]
    assert (await reconcile_rounds(people.service, DAY)).word == "books_agree"


@pytest.mark.parametrize("zeros", [0, 1, 4096, 70_000], ids=lambda zeros: f"{zeros}-zeros")
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99, 1.0], ids=lambda part: f"{part:.0%}-written")
async def test_a_cut_or_zero_padded_end_loses_nothing_acknowledged(
    settings: Settings, data_dir: Path, part: float, zeros: int
) -> None:
    server = Valkey(data_dir)
    async with killed(settings, server) as people:
        acknowledged, last = await an_acknowledged_check_in_and_another(people, server)
    left = acknowledged + last[: int(part * len(last))]
    path = newest(server)
    path.write_bytes(left + bytes(zeros))
    with capture_logs() as logs:
        async with started(server), people_of(settings, server) as people:
            await nothing_is_lost_or_halved(people, "already_checked_in" if part == 1 else "checked_in")
    cut = [log for log in logs if log["event"] == "zeros_cut"]
    assert [(log["file"], log["zeros"], log["bytes_left"]) for log in cut] == (
        [(str(path), zeros, len(left))] if zeros else []
    )
    assert [Path(log["copy"]).read_bytes() for log in cut] == ([left + bytes(zeros)] if zeros else [])
    async with started(server), people_of(settings, server) as people:
        people.it_is("06:02", 1)
        assert await answer(people, 2) == "already_checked_in"


async def test_a_whole_file_is_left_alone(settings: Settings, data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with killed(settings, server) as people:
        await people.members(1)
    before = newest(server).read_bytes()
    server.prepare()
    assert newest(server).read_bytes() == before
    assert not list((data_dir / "valkey").glob("*.with-zeros"))


async def test_a_file_of_zeros_alone_is_empty(data_dir: Path) -> None:
    server = Valkey(data_dir)
    async with started(server):
        pass
    newest(server).write_bytes(bytes(4096))
    async with started(server):
        assert await server.answers()


@pytest.mark.parametrize("which", ["Valkey", pytest.param("Redis", marks=servers.needs_redis)])
async def test_a_server_of_its_own_refuses_zeros_until_its_check_tool_has_cut_them_off(
    settings: Settings, data_dir: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """docs/operations.md says so. The tool is the server's program under another name."""
    monkeypatch.setattr(embedded, "cut_zeros", lambda data: None)
    server = servers.Configured(data_dir, command=servers.REDIS or "" if which == "Redis" else "")
    async with killed(settings, server) as people:
        acknowledged, last = await an_acknowledged_check_in_and_another(people, server)
    newest(server).write_bytes(acknowledged + last[:-5] + bytes(4096))
    with pytest.raises(EmbeddedError, match=f"Valkey cannot read {newest(server)}"):
        await embedded.start(server)
    tool = data_dir / f"{which.lower()}-check-aof"
    tool.symlink_to(server.program.command[0])
    subprocess.run([tool, "--fix", newest(server)], input=b"y\n", check=True)
    assert newest(server).read_bytes() == acknowledged
    async with started(server), people_of(settings, server) as people:
        await nothing_is_lost_or_halved(people, "checked_in")


@servers.needs_redis
async def test_redis_7_is_whole_after_a_cut_once_the_file_is_rewritten(settings: Settings, data_dir: Path) -> None:
    """docs/servers.md says so: it leaves the beginning of the script in the file, and carries it out at the start after
    this one."""
    assert servers.REDIS is not None
    server = servers.Configured(data_dir, command=servers.REDIS)
    async with killed(settings, server) as people:
        acknowledged, last = await an_acknowledged_check_in_and_another(people, server)
    newest(server).write_bytes(acknowledged + last[:-5])
    async with started(server), people_of(settings, server) as people:
        await people.service.redis.execute_command("BGREWRITEAOF")
        while (await people.service.redis.info("persistence"))["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.02)
        await nothing_is_lost_or_halved(people, "checked_in")
    async with started(server), people_of(settings, server) as people:
        people.it_is("06:02", 1)
        assert [await answer(people, uid) for uid in (1, 2, 3)] == 3 * ["already_checked_in"]
        assert (await reconcile_rounds(people.service, DAY)).word == "books_agree"
