"""A Valkey of the test's own, whose files it damages while the server is dead."""

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from clock.config import Settings
from clock.runtime import embedded
from clock.runtime.processes import stop
from clock.service import Service
from tests.flow.stage import People


@asynccontextmanager
async def people_of(settings: Settings, server: embedded.Valkey) -> AsyncIterator[People]:
    """A process' parts on this Valkey."""
    service = Service(replace(settings, env="prod", redis_url=server.url))
    await service.start()
    try:
        yield People(service)
    finally:
        await service.stop()


async def answer(people: People, uid: int) -> str:
    """The word that a check-in is answered with."""
    return (await people.service.verbs.check_in(uid, time.monotonic())).word


def newest(server: embedded.Valkey) -> Path:
    """The append-only file that is written to."""
    return max((server.data_dir / "valkey" / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)


@asynccontextmanager
async def killed(settings: Settings, server: embedded.Valkey) -> AsyncIterator[People]:
    """Whoever plays here plays on a server that is killed at the end, without warning."""
    process = await embedded.start(server)
    try:
        async with people_of(settings, server) as people:
            yield people
    finally:
        await stop(process, signal.SIGKILL)
