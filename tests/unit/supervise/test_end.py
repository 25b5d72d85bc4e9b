"""The end of everything: signals, a log that cannot be written, a supervisor that is killed."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from clock.config import Settings
from clock.runtime.directory import DataDirError
from clock.runtime.supervise import running, running_urls
from tests.unit.supervise.stage import SERVE, SLEEP, STUBBORN, Supervisor, gone, pids, stand_ins, until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_all(supervisor: Callable[..., Supervisor], data_dir: Path, number: signal.Signals) -> None:
    up = supervisor("print('Guten Morgen, 早上好', flush=True)\n" + SLEEP, SERVE)
    await up.ready()
    urls = running_urls(data_dir)
    assert urls is not None
    children = pids(up.logs())
    assert [os.getsid(pid) for pid in children] == children, "Ctrl-C in a terminal must not reach them"
    up.process.send_signal(number)
    assert up.wait() == 0
    assert all(gone(pid) for pid in children)
    assert running_urls(data_dir) is None
    output = up.output.read_text()
    assert "Guten Morgen, 早上好" in output.splitlines(), "what children say is passed on unchanged"
    assert f"\n  {urls['page']}\n" in output
    assert up.events()[-4:] == ["stopping", "child_stopped", "child_stopped", "stopped"]


def nowhere(how: str) -> tuple[int, int]:
    """A descriptor to which nothing can be written, and the other end of its pipe."""
    if how == "disk full":
        return os.open("/dev/full", os.O_WRONLY), os.open(os.devnull, os.O_RDONLY)
    reader, writer = os.pipe()
    if how == "reader asleep":
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        return writer, reader
    os.close(reader)
    return writer, os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("how", ["reader gone", "reader asleep", "disk full"])
async def test_a_log_that_cannot_be_written_stops_neither_restarts_nor_signals(
    supervisor: Callable[..., Supervisor], data_dir: Path, how: str
) -> None:
    note = f"import os, pathlib; pathlib.Path({str(data_dir / 'child')!r}).write_text(str(os.getpid()));"
    output, other_end = nowhere(how)
    up = supervisor(note + SLEEP, SERVE, to=output)
    child = data_dir / "child"
    try:
        await until(lambda: child.exists() and child.read_text())
        first = child.read_text()
        os.kill(int(first), signal.SIGKILL)
        await until(lambda: child.read_text() not in ("", first))
        up.process.send_signal(signal.SIGTERM)
        assert up.wait() == 0
        assert gone(int(child.read_text()))
    finally:
        os.close(output)
        os.close(other_end)


async def test_a_second_signal_kills_at_once(supervisor: Callable[..., Supervisor]) -> None:
    up = supervisor(SLEEP, STUBBORN)
    await until(lambda: "deaf" in up.output.read_text())
    up.process.send_signal(signal.SIGTERM)
    await until(lambda: "stopping" in up.events())
    await asyncio.sleep(0.2)
    assert up.process.poll() is None
    up.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert up.wait() == 0
    assert time.monotonic() - began < 6
    assert all(gone(pid) for pid in pids(up.logs()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent has died")
async def test_a_second_supervisor_is_refused_and_a_killed_one_leaves_no_children(
    supervisor: Callable[..., Supervisor], settings: Settings, data_dir: Path
) -> None:
    up = supervisor(SLEEP, SERVE)
    await up.ready()
    with pytest.raises(DataDirError, match=f"{data_dir} is in use by process {up.process.pid}"):
        async with running(settings, stand_ins(SLEEP)):
            pass
    assert running_urls(data_dir) is not None
    children = pids(up.logs())
    up.process.kill()
    up.wait()
    await until(lambda: all(gone(pid) for pid in children))
    assert running_urls(data_dir) is None
    async with running(settings, stand_ins(SLEEP)):
        pass


async def test_what_a_killed_supervisor_left_behind_is_waited_for(
    supervisor: Callable[..., Supervisor], settings: Settings
) -> None:
    up = supervisor(STUBBORN)
    await until(lambda: "deaf" in up.output.read_text())
    up.process.kill()
    up.wait()
    [leftover] = pids(up.logs())
    began = time.monotonic()
    asyncio.get_running_loop().call_later(0.5, os.kill, leftover, signal.SIGKILL)
    async with running(settings, stand_ins(SLEEP)):
        assert time.monotonic() - began >= 0.4
