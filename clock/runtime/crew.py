"""Supervised children: restarted whenever they exit, stopped in reverse order."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from clock.runtime import embedded, processes
from clock.runtime.directory import DataDirError
from clock.runtime.processes import EmbeddedError, Process, Program

BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 10.0
STEADY_S = 30.0
"""A child that ran this long is restarted without the delay of earlier exits."""
SERVER_READY_S = 300.0
"""Timeout for an embedded server to read its data."""

log = structlog.get_logger("clock.supervise")


class StartError(Exception):
    """The stack cannot start; the message says why."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a child process. ``ready_url`` answers 200 once it is ready; empty: no check."""

    name: str
    command: list[str]
    env: dict[str, str]
    ready_url: str = ""


Launch = Callable[[bool], Awaitable[Process]]
"""Starts a child; the argument is true for a restart."""


def launcher(child: Child, lock: int, logs: Path | None) -> Launch:
    program = Program(command=child.command, env=child.env, log=logs / f"{child.name}.log" if logs else None)

    async def launch(again: bool) -> Process:
        return processes.spawn(program, lock)

    return launch


class Kept:
    """A child that is restarted whenever it exits, until it is stopped."""

    def __init__(self, name: str, launch: Launch, stop_signal: signal.Signals, why: Callable[[], str]) -> None:
        """``why``: the reason of an exit that nobody asked for, where its own output is not in our log."""
        self.name = name
        self._why = why
        self._launch = launch
        self._stop_signal = stop_signal
        self._process: Process
        self._task: asyncio.Task[None]

    async def start(self) -> None:
        self._process = await self._launch(False)
        log.info("child_started", name=self.name, pid=self._process.pid)
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        delay_s = BACKOFF_FIRST_S
        while True:
            began = time.monotonic()
            code = await processes.exited(self._process)
            if time.monotonic() - began >= STEADY_S:
                delay_s = BACKOFF_FIRST_S
            log.warning("child_exited", name=self.name, exit_code=code, restart_in_s=delay_s, reason=self._why())
            delay_s = await self._restart(delay_s)

    async def _restart(self, delay_s: float) -> float:
        """Restart it after the delay, until a restart succeeds; return the next delay."""
        while True:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACKOFF_MOST_S)
            try:
                self._process = await self._launch(True)
            except (OSError, DataDirError, EmbeddedError) as error:
                log.error("child_start_failed", name=self.name, reason=str(error), retry_in_s=delay_s)
            else:
                log.info("child_started", name=self.name, pid=self._process.pid)
                return delay_s

    async def release(self) -> None:
        """Stop restarting it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        code = await processes.stop(self._process, self._stop_signal)
        log.info("child_stopped", name=self.name, exit_code=code)

    def kill(self) -> None:
        processes.kill(self._process)


class Crew:
    """The children, in the order in which they were started."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._kept: list[Kept] = []

    async def keep(self, name: str, launch: Launch, stop_signal: signal.Signals, why: Callable[[], str] = str) -> None:
        kept = Kept(name, launch, stop_signal, why)
        await kept.start()
        self._kept.append(kept)

    async def keep_server(self, server: embedded.Server) -> str:
        """Start the server and wait until it answers; return its URL, which stays the same."""

        async def launch(again: bool) -> Process:
            if again:
                return await embedded.launch(server, same_port=True)
            return await embedded.start(server, SERVER_READY_S)

        await self.keep(server.name, launch, server.stop_signal, lambda: embedded.why_ended(server))
        return server.url

    async def run_once(self, child: Child, lock: int, logs: Path | None) -> None:
        """Run the child to its end. Raises :class:`StartError` unless it exits with 0."""
        process = await launcher(child, lock, logs)(False)
        try:
            code = await processes.exited(process)
        finally:
            await processes.stop(process, signal.SIGTERM)
        if code:
            raise StartError(f"{child.name} exited with {code}")

    async def stop(self) -> None:
        """Stop every child in reverse order of start. If cancelled, kill those that are left."""
        for kept in self._kept:
            await kept.release()
        try:
            while self._kept:
                await self._kept[-1].stop()
                self._kept.pop()
        finally:
            self.kill()

    def kill(self) -> None:
        for kept in self._kept:
            kept.kill()
