"""How far long work has come: said where it is done, heard by whoever started it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int | None], None]
"""Takes the step's name, how much of it is done and, where it is known, of how much."""

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


def at(step: str, done: int, total: int | None = None) -> None:
    """Say how far a step is. Costs nothing where nobody listens."""
    for listener in _listeners.get():
        listener(step, done, total)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """What this task, and those that it starts, say in the body. Whoever listens already goes on hearing it."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)
