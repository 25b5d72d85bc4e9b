"""``python -m bench.settler DAY [settle|finish|void]``: end a round in a process of its own, as the worker does; print
the times."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import date
from functools import wraps
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import structlog

from bench.scene import Scene
from clock.books.store import Store
from clock.config import load
from clock.domain.rounds import parse_day
from clock.payments.questions import Questions
from clock.proofs import growing, statements
from clock.proofs.growing import Grown
from clock.rounds import ending
from clock.rounds.ending import Ending
from clock.runtime.supervise import environment
from clock.service import Service

STEPS: tuple[tuple[Any, str, str], ...] = (
    (Ending, "word", "close scripts"),
    (Ending, "drain", "drain the rest"),
    (ending, "measure", "ANALYZE"),
    (Store, "all", ""),
    (Questions, "ask_all", "unpaid orders"),
    (growing, "stakes", "tree of stakes"),
    (growing, "checked_in", "tree of check-ins"),
    (statements, "write_closed", "C"),
    (Grown, "keep", "keep a tree"),
)
"""What closing and sealing consist of: owner, function, and what it is called here; a query has its own name."""


class Took(msgspec.Struct, kw_only=True):
    """Seconds from the beginning until each state was reached and all was ``done``, seconds of each step until the
    round was sealed, and the process' largest size, in MiB."""

    states: dict[str, float]
    steps: dict[str, float]
    before_mib: float
    most_mib: float


async def ended(scene: Scene, verb: str) -> Took:
    """What ending yesterday's round took."""
    command = [sys.executable, "-m", "bench.settler", scene.yesterday.isoformat(), verb]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(scene.settings), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(output, type=Took)


def peak_mib() -> float:
    """Peak size since exec, in MiB; ``getrusage`` would include the size of the parent process at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def end(day: str, verb: str) -> Took:
    states: dict[str, float] = {}
    spent: Counter[str] = Counter()
    steps: dict[str, float] = {}

    def note(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "settlement_step":
            states[event["state"]] = monotonic() - began
            if event["state"] == "sealed":
                steps.update(spent)
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    for owner, function, step in STEPS:
        setattr(owner, function, _timed(getattr(owner, function), step, spent))
    service = Service(load(os.environ), answer_seconds=None)
    await service.start()
    verbs: dict[str, Callable[[date], Awaitable[object]]] = {
        "settle": service.settling.settle,
        "finish": service.finishing.finish,
        "void": lambda day: service.voiding.void(day, "a benchmark"),
    }
    before, began = peak_mib(), monotonic()
    spent.clear()
    try:
        assert await verbs[verb](parse_day(day)) in ("settled", True, "ok")
        states["done"] = monotonic() - began
    finally:
        await service.stop()
    return Took(states=states, steps=steps, before_mib=before, most_mib=peak_mib())


def _timed(function: Callable[..., Awaitable[Any]], step: str, spent: Counter[str]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def timed(*args: Any, **more: Any) -> Any:
        began = monotonic()
        try:
            return await function(*args, **more)
        finally:
            spent[step or args[1]] += monotonic() - began  # type: ignore[assignment]

    return timed


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(end(*sys.argv[1:]))))
