"""``python -m bench.settler DAY``: settle a round in a process of its own, as the worker does; print the times."""

import asyncio
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import structlog

from clock.config import load
from clock.domain.rounds import parse_day
from clock.service import Service


class Took(msgspec.Struct, kw_only=True):
    """Seconds from the beginning until each state was reached, and the process' largest size, in MiB."""

    states: dict[str, float]
    before_mib: float
    most_mib: float


def peak_mib() -> float:
    """Peak size since exec, in MiB; ``getrusage`` would include the size of the parent process at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def settle(day: str) -> Took:
    states: dict[str, float] = {}

    def note(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "settlement_step":
            states[event["state"]] = monotonic() - began
        raise structlog.DropEvent

    structlog.configure(processors=[note])
    service = Service(load(os.environ), answer_seconds=None)
    await service.start()
    before, began = peak_mib(), monotonic()
    try:
        assert await service.settling.settle(parse_day(day)) == "settled"
    finally:
        await service.stop()
    return Took(states=states, before_mib=before, most_mib=peak_mib())


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(settle(sys.argv[1]))))
