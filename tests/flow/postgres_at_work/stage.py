"""What can happen to a Postgres, and to the way there."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

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


async def timed(api: Api, path: str, headers: Any = None) -> tuple[int, float, bytes]:
    """Status, seconds and body of a GET."""
    began = time.monotonic()
    async with api.session.get(api.url + path, headers=headers) as reply:
        body = await reply.read()
        return reply.status, time.monotonic() - began, body
