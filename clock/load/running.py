"""The processes of one run, started together; what they say while they work; their results, joined."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from clock.load import journal
from clock.load.job import Job, Told
from clock.load.result import Result, joined

START_SECONDS = 0.3
"""Between the moment when all are ready and the start."""

READY_SECONDS = 600.0
STOP_SECONDS = 5.0
LONGEST_LINE = 64 * 2**20

Listener = Callable[[float, Sequence[Told]], None]
"""Takes the seconds since the start and the last word of each process."""


class Failed(Exception):
    """A process could not do its part; the message says why."""


class Run:
    def __init__(self, jobs: Sequence[Job], listen: Listener) -> None:
        self._jobs = jobs
        self._listen = listen
        self._last = [Told("ready") for _ in jobs]
        self._processes: list[asyncio.subprocess.Process] = []
        self._start_s = 0.0
        self._is_stopping = False

    async def play(self, start_s: float | None) -> Result:
        """``start_s``: seconds since the epoch; None: as soon as all are ready. Raises :class:`Failed`. No process is
        left when it ends, however it ends."""
        task = asyncio.current_task()
        assert task
        with suppress(RuntimeError, ValueError):  # in another thread than the first, nobody interrupts
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self._stop, task)
        try:
            for job in self._jobs:
                self._processes.append(await self._begin(job))
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*(self._hear(number, "ready") for number in range(len(self._jobs))))
            self._start_s = start_s or time.time() + START_SECONDS
            if self._start_s < time.time():
                raise Failed("the instant of the start had passed when all was ready")
            for process in self._processes:
                assert process.stdin
                process.stdin.write(f"{self._start_s}\n".encode())
            return joined(await asyncio.gather(*(self._result(number) for number in range(len(self._jobs)))))
        except TimeoutError:
            raise Failed(f"not ready within {READY_SECONDS:.0f} s") from None
        finally:
            await self._end()

    def _stop(self, task: asyncio.Task[Any]) -> None:
        """Have the processes send nothing more; the second time, end at once."""
        if self._is_stopping:
            task.cancel()
        self._is_stopping = True
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.terminate()

    async def _begin(self, job: Job) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clock.load.process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is for us; we end them
        )
        assert process.stdin
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        return process

    async def _hear(self, number: int, state: str) -> Told:
        """Until the process says this. Raises :class:`Failed`."""
        output = self._processes[number].stdout
        assert output
        while line := await output.readline():
            told = msgspec.json.decode(line, type=Told)
            if told.state == "failed":
                raise Failed(told.reason)
            if told.state == state:
                return told
            self._last[number] = told
            self._listen(time.time() - self._start_s, self._last)
        raise Failed(f"process {number + 1} has ended without a word")

    async def _result(self, number: int) -> Result:
        return msgspec.json.decode((await self._hear(number, "done")).result, type=Result)

    async def _end(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def run(
    job: Job, processes: int, part: tuple[int, int], start_s: float | None, kept: Path | None, listen: Listener
) -> Result:
    """Play a job, whose connections are dealt out, on this host's ``processes``. ``part``: which of how many hosts this
    is, from 0. ``kept``: the journal. Raises :class:`Failed`."""
    host, hosts = part
    with tempfile.TemporaryDirectory(prefix="clock-load-", dir=kept.parent if kept else None) as folder:
        parts = [Path(folder) / f"{number}.csv" for number in range(processes)]
        jobs = [
            msgspec.structs.replace(
                job,
                part=host * processes + number,
                parts=hosts * processes,
                connections=max(1, job.connections // processes + (number < job.connections % processes)),
                journal=str(parts[number]) if kept else "",
            )
            for number in range(processes)
        ]
        try:
            return asyncio.run(Run(jobs, listen).play(start_s))
        except asyncio.CancelledError:
            raise Failed("it was told to end") from None
        finally:
            if kept:
                journal.gather(parts, kept)


def processes_here() -> int:
    """As many as there are processors, four at most."""
    return min(4, os.cpu_count() or 1)
