"""Child processes: started from a description, tied to their parent's life, and killed if they do not end."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

_POLL_S = 0.02
STOP_S = 15.0
_LOG_LIMIT = 10 * 2**20
_PR_SET_PDEATHSIG = 1

_PARENT_POLL_S = 0.5

Process = subprocess.Popen[bytes]


class EmbeddedError(Exception):
    """An embedded server cannot start; the message says why."""


class Account(msgspec.Struct, frozen=True):
    """The account that a server runs as."""

    name: str
    uid: int
    gid: int


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a child process."""

    command: list[str]
    env: dict[str, str]
    log: Path | None = None
    """File for its output; None: our own standard output and error."""
    account: Account | None = None
    cwd: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to end; also sent by the kernel (Linux) when the process that started it dies."""


def spawn(program: Program, lock: int) -> Process:
    """Start the program in its own session; it holds ``lock`` while it lives. Its files are private (umask 077).

    Call it from a thread that lives as long as the program should: to Linux, that thread is the parent.
    """
    log = _open_log(program.log) if program.log else None
    account = program.account
    try:
        return subprocess.Popen(  # noqa: S603 - our own commands
            program.command,
            env=program.env,
            cwd=program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log else None,
            pass_fds=(lock,),
            start_new_session=True,
            preexec_fn=_die_with_parent(program.stop_signal),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
        )
    finally:
        if log is not None:
            os.close(log)


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def _open_log(path: Path) -> int:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


async def exited(process: Process) -> int:
    """Wait for the process to exit, then kill the rest of its group.

    Returns its exit code, negative for the signal that ended it.
    """
    if process.returncode is None:
        while process.poll() is None:  # noqa: ASYNC110 - works on every event loop
            await asyncio.sleep(_POLL_S)
        _kill_group(process.pid)
    return process.wait()


async def stop(process: Process, stop_signal: signal.Signals, timeout_s: float = STOP_S) -> int:
    """Ask the process to end, wait, and kill its whole group at the timeout or if the wait is cancelled."""
    try:
        if process.returncode is None:
            os.kill(process.pid, stop_signal)
        await asyncio.wait_for(exited(process), timeout_s)
    except TimeoutError:
        pass
    finally:
        kill(process)
    return process.wait()


def kill(process: Process) -> None:
    """Kill the process and its group at once; does nothing once its exit has been seen."""
    if process.returncode is None:
        _kill_group(process.pid)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def end_with_parent() -> None:
    """Runs as long as a ``multiprocessing`` child, and ends it cleanly when its parent is gone: it would keep the port.
    Returns at once in any other process."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    while parent.is_alive():  # noqa: ASYNC110 - there is no notification
        await asyncio.sleep(_PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
