"""How far long work has come: said where it is done, heard by whoever started it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int | None], None]
"""Takes the step's name, how much of it is done and, where it is known, of how much."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def at(step: str, done: int, total: int | None = None) -> None:
    """Say how far a step is. Costs nothing where nobody listens."""
    if listener := _listener.get():
        listener(step, done, total)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """What this task, and those that it starts, say in the body."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
