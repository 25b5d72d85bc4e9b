"""What can happen to a Postgres, and to the way there."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from clock.runtime import embedded
from clock.runtime.ports import free_port
from tests.conftest import Api
from tests.flow.pair import Address


class Postgres:
    """A running server. ``stand_still`` stops all of its processes; connections stay, and new ones are taken."""

    def __init__(self, server: embedded.Postgres, pid: int) -> None:
        self.server = server
        self._pid = pid

    def _all(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        for pid in (self._pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a backend has ended meanwhile
                os.kill(pid, number)

    def stand_still(self) -> None:
        self._all(signal.SIGSTOP)

    def go_on(self) -> None:
        self._all(signal.SIGCONT)


def away(how: str, address: Address, postgres: Postgres | None = None) -> None:
    """``stopped``, ``swallowed``, ``reset`` (and refused from then on) or ``forgotten``: only open connections are
    swallowed."""
    if how == "stopped":
        assert postgres is not None
        postgres.stand_still()
    elif how == "reset":
        address.to_port = free_port()
        address.cut()
    else:
        address.forget()
        address.swallows = how == "swallowed"


TICK_SECONDS = 0.05
MOST_STOOD_SECONDS = 1.0


class Stopwatch:
    """Seconds in which this process, which is the service too, ran. A busy machine may let it stand still for a while:
    that, up to :data:`MOST_STOOD_SECONDS`, is nobody's slowness."""

    def __init__(self) -> None:
        self._began = self._ticked = time.monotonic()
        self._stood = 0.0

    def seconds(self) -> float:
        now = time.monotonic()
        self._stood += max(0.0, now - self._ticked - 2 * TICK_SECONDS)
        self._ticked = now
        return now - self._began - min(self._stood, MOST_STOOD_SECONDS)

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.seconds()


async def timed(api: Api, path: str, headers: Any = None) -> tuple[int, float, bytes]:
    """Status, seconds and body of a GET."""
    async with Stopwatch() as watch, api.session.get(api.url + path, headers=headers) as reply:
        body = await reply.read()
        return reply.status, watch.seconds(), body
