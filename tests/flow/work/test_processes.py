"""Real processes: a worker whose work outlives a job, one that is killed in the middle, commands with and without a
terminal."""

import asyncio
import json
import os
import pty
import select
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clock.config import Settings
from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.game import keys
from clock.operators.work import table
from clock.operators.work.table import Running
from clock.runtime.supervise import environment
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import Crowd, audited, play, query, row_of, stop
from tests.flow.work.stage import ask, listed, until, words
from tests.model.world import new_world

ROOT = Path(__file__).parents[3]

WORKER = """
import asyncio, sys
from clock.operators.work import table
from clock.cli.shell import ready_settings
from clock.domain import progress
from clock.rounds.settling import Settling
from clock.runtime import worker

worker.JOB_SECONDS, table.LEASE_SECONDS, table.BEAT_SECONDS, table.WRITE_SECONDS = 1, 2.0, 0.5, 0.2
steps, split = int(sys.argv[1]), Settling._split

async def slow(self, round_):
    for step in range(steps if str(round_.day) == sys.argv[2] else 0):
        progress.at("splitting", step, steps)
        await asyncio.sleep(0.1)
    return await split(self, round_)

Settling._split = slow
asyncio.run(worker.run(ready_settings()))
"""
"""A worker whose settlement of a round stands still for so many tenths of a second; a job lives for one second."""


@asynccontextmanager
async def slow_worker(settings: Settings, steps: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(steps), str(DAY)),
        env=environment(settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def due(service: Service) -> None:
    """Settlement is due, also for other processes."""
    await play(service, DAY, Crowd(winners=2, sleepers=2))
    stop(service, DAY, "08:30")
    seconds, _ = await service.redis.time()
    await service.redis.set(keys.DEV_TIME, f"1 {service.time.now_ms() - seconds * 1000}")


async def test_a_killed_workers_work_is_taken_over_and_outlives_a_job(shared: Settings) -> None:
    async with new_world(shared) as service:
        await due(service)
        async with slow_worker(shared, 600) as first:
            await ask(service, "settle")
            [item] = await until(lambda: splitting(service))
            assert (item["total"], item["word"], item["alive"]) == (600, None, True)
            first.kill()
            assert await first.wait() == -signal.SIGKILL
        assert (await row_of(service, DAY))["state"] == "sealed"
        async with slow_worker(shared, 30) as second:  # three times as long as a job lives
            assert await until(lambda: words(service, "settle"), 40) == ["settled"]
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 15) == 0
        await audited(service, DAY)


async def splitting(service: Service) -> list[dict[str, Any]]:
    return [one for one in await listed(service) if (one["about"], one["step"]) == (str(DAY), "splitting")]


@asynccontextmanager
async def command(settings: Settings, *arguments: str, stderr: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clock", *arguments),
        env=environment(settings) | {"TERM": "xterm", "COLUMNS": "100"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_command_waits_for_the_worker_that_does_it_and_tells_how_far_it_is(shared: Settings) -> None:
    """Beside it the same with a terminal, which shows a bar. Standard output is the answer alone."""
    async with new_world(shared) as service:
        await due(service)
        row = await table.hold(service.store, "settle", str(DAY), {}, "worker")
        assert row is not None
        may_end = asyncio.Event()

        async def does() -> Answer:
            progress.at("publishing", 4_000, 10_000)
            await may_end.wait()
            return Answer("settled", {"day": str(DAY)})

        doing = asyncio.create_task(Running(service.store, row.kind, row.about, "worker", row).run(does))
        ours, theirs = pty.openpty()
        pipe = asyncio.subprocess.PIPE
        async with (
            command(shared, "settle", str(DAY), stderr=pipe) as plain,
            command(shared, "settle", str(DAY), stderr=theirs) as drawn,
        ):
            os.close(theirs)
            assert plain.stderr is not None
            assert await plain.stderr.readline() == f"settle {DAY}: publishing 4,000 / 10,000\n".encode()
            seen = await asyncio.to_thread(read_until, ours, b"10,000")
            assert f"settle {DAY}: publishing" in seen.decode()
            assert "\x1b[" in seen.decode(), "it is drawn"
            may_end.set()
            (said, rest), (drawn_said, _) = await asyncio.gather(plain.communicate(), drawn.communicate())
        os.close(ours)
        await doing
        assert json.loads(said) == json.loads(drawn_said) == {"code": "settled", "day": str(DAY)}
        assert rest.count(b"publishing") <= 2, "a line now and then"
        assert (await row_of(service, DAY))["state"] == "open", "no command did it as well"


def read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        poll = select.poll()  # select.select takes no descriptor above 1,023
        poll.register(terminal, select.POLLIN)
        assert poll.poll(30_000), seen
        seen += os.read(terminal, 4096)
    return seen


async def test_a_command_does_it_itself_while_no_worker_lives(shared: Settings) -> None:
    async with new_world(shared) as service:
        await due(service)
        await ask(service, "settle", "anna")  # over HTTP, and nobody came
        async with command(shared, "settle", str(DAY), stderr=asyncio.subprocess.PIPE) as process:
            said, told = await asyncio.wait_for(process.communicate(), 40)
        assert (process.returncode, json.loads(said)["code"]) == (0, "settled")
        assert f"settle {DAY}: begun 0" in told.decode()
        await audited(service, DAY)
        assert await words(service, "settle") == ["settled"], "what anna asked for has ended, too"
        ended = await query(service, "SELECT a.who, e.word FROM acts a JOIN acts_ended e ON e.act = a.id ORDER BY a.id")
        assert ended[0] == {"who": "anna", "word": "settled"}
        assert [row["word"] for row in ended] == ["settled", "settled"]
