"""``python -m bench.settler DAY [settle|finish|void]``: end a round in a process of its own, as the worker does; print
the times."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import structlog

from clock.config import load
from clock.domain.rounds import parse_day
from clock.service import Service


class Took(msgspec.Struct, kw_only=True):
    """Seconds from the beginning until each state was reached and all was ``done``, and the process' largest size, in
    MiB."""

    states: dict[str, float]
    before_mib: float
    most_mib: float


def peak_mib() -> float:
    """Peak size since exec, in MiB; ``getrusage`` would include the size of the parent process at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def end(day: str, verb: str) -> Took:
    states: dict[str, float] = {}

    def note(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "settlement_step":
            states[event["state"]] = monotonic() - began
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    service = Service(load(os.environ), answer_seconds=None)
    await service.start()
    verbs: dict[str, Callable[[date], Awaitable[object]]] = {
        "settle": service.settling.settle,
        "finish": service.finishing.finish,
        "void": lambda day: service.voiding.void(day, "a benchmark"),
    }
    before, began = peak_mib(), monotonic()
    try:
        assert await verbs[verb](parse_day(day)) in ("settled", True, "ok")
        states["done"] = monotonic() - began
    finally:
        await service.stop()
    return Took(states=states, before_mib=before, most_mib=peak_mib())


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(end(*sys.argv[1:]))))
