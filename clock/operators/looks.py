"""Looks at a server that may be silent: answered in time, and never more than one at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from clock.service import Service


async def look(service: Service, name: str, how: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """What the look of this name says. Whoever asks while one is under way shares it, so that they do not pile up.
    Raises :class:`TimeoutError` after so many seconds, while the look goes on: a query that is cancelled waits for the
    server all the same."""
    task = service.looks.get(name)
    if task is None or task.done():
        task = service.looks[name] = asyncio.ensure_future(how())
        task.add_done_callback(_retrieved)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return task.result()


def _retrieved(task: "asyncio.Future[Any]") -> None:
    """Mark the exception as retrieved: nobody may wait any more."""
    if not task.cancelled():
        task.exception()
