"""Logs: one JSON object a line, on standard output, or on standard error if standard output has a command's result. A
log line never holds a token, a mobile number or a payment's payload.

Logging never blocks or breaks its caller. A line that cannot be written (disk full, reader gone or stalled, terminal
closed) is dropped and counted (:func:`take_lost`); the next line that can be written says how many were lost.
"""

import json
import logging
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog
from structlog.typing import Processor

SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.processors.format_exc_info,
]

WAIT_S = 0.05
"""How long a line waits for a slow reader, if the previous line was written."""

MOST_LINES = 200
"""Lines a second; more are lost: what strangers, or a server that is away, make a process say fills no disk."""

AGAIN_SECONDS = 60.0
MOST_REMEMBERED = 1_000

STDOUT, STDERR = 1, 2


class Output:
    """A file descriptor as a text stream that never raises and waits at most :data:`WAIT_S`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._unsaid = 0
        self._second = self._lines = 0
        self._torn = False
        """Whether the last line was written in part."""

    def write(self, text: str) -> int:
        """Write a whole line, or count it as lost."""
        global _lost
        second = int(time.monotonic())
        self._lines = self._lines + 1 if second == self._second else 1
        self._second = second
        try:
            if self._lines > MOST_LINES:
                raise BlockingIOError
            if self._unsaid:
                notice = json.dumps({"event": "log_lines_lost", "level": "warning", "lines": self._unsaid})
                self._send(("\n" if self._torn else "") + notice + "\n")
                self._unsaid = 0
            self._send(text)
        except OSError:
            self._unsaid += 1
            _lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""

    def _send(self, text: str) -> None:
        """Write in parts of ``PIPE_BUF`` bytes, which a ready pipe takes without blocking (POSIX)."""
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        wait_until = time.monotonic() + (0.0 if self._unsaid else WAIT_S)
        while left:
            ready = self._poll.poll(max(0.0, wait_until - time.monotonic()) * 1000)
            if not ready:
                raise BlockingIOError
            left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]
            self._torn = bool(left)


def say(text: str) -> None:
    """Write a line for people to standard output; it may be lost like any other."""
    Output(STDOUT).write(text + "\n")


_lost = 0
"""Lines lost by all outputs of this process since the last :func:`take_lost`."""


def take_lost() -> int:
    """Lines lost since the last call."""
    global _lost
    lost, _lost = _lost, 0
    return lost


class Said:
    """What was said lately: what goes wrong again every second is said again after :data:`AGAIN_SECONDS`."""

    def __init__(self) -> None:
        self._at: dict[tuple[object, ...], float] = {}

    def is_news(self, what: tuple[object, ...]) -> bool:
        now = time.monotonic()
        if now - self._at.get(what, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        if len(self._at) >= MOST_REMEMBERED:
            self._at.clear()
        self._at[what] = now
        return True


_said: ContextVar[Said | None] = ContextVar("said", default=None)


@contextmanager
def remembering(said: Said) -> Iterator[None]:
    """In the body :func:`is_news` goes by ``said``."""
    token = _said.set(said)
    try:
        yield
    finally:
        _said.reset(token)


def is_news(*what: object) -> bool:
    """Whether to say it, which is not so where it was said lately. Everything is news where nobody remembers."""
    said = _said.get()
    return said is None or said.is_news(what)


def hold_standard_descriptors() -> None:
    """Open standard input, output and error if they are closed: the next file to be opened would get their number, and
    receive what is written to them."""
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def configure(process: str, to: int = STDOUT) -> None:
    """``process`` names the writer in every line. Libraries' logs take the same form."""
    render = structlog.processors.JSONRenderer(ensure_ascii=False)
    output = Output(to)
    structlog.configure(
        processors=[*SHARED, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(output),  # type: ignore[arg-type]  # it calls write and flush
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(output)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=SHARED))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
