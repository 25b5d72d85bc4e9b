"""File descriptors: a connection takes one, and many systems give a process 256 or 1,024 unless it asks for more."""

import resource
from contextlib import suppress

import structlog

WANTED = 65_536
"""More than one process can serve."""
LEAST = 192
HELD_BACK = 96
"""For what is no client's connection: 65 to Redis, 8 to Postgres, the listening socket, files, and refusals."""
LOW = 4_096
"""Fewer clients than this may be fewer than the herd of a usual round."""

log = structlog.get_logger()


class TooFewDescriptors(Exception):
    """The process may not open enough files; the message says what to do."""


def raise_limit() -> int:
    """Raise the soft limit as far as the hard one and :data:`WANTED` allow; return it. Raises
    :class:`TooFewDescriptors` below :data:`LEAST`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED:
        return WANTED
    for wanted in (WANTED, 10_240):  # macOS promises more than it gives
        limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with suppress(ValueError, OSError):
            if limit > soft:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                soft = limit
    if soft < LEAST:
        raise TooFewDescriptors(
            f"this process may open {soft} files, and needs {LEAST}: ulimit -n (systemd: LimitNOFILE) raises that"
        )
    return soft


def left() -> int:
    """How many connections this process may have besides what is held back."""
    return raise_limit() - HELD_BACK


class Clients:
    """Connections of clients to this process."""

    def __init__(self) -> None:
        self.open = 0
        self.most = WANTED - HELD_BACK

    def bound(self) -> None:
        """Let in as many as the limit of descriptors allows; say so where that is few."""
        self.most = left()
        if self.most < LOW:
            log.warning("descriptors_low", limit=self.most + HELD_BACK, connections=self.most)


clients = Clients()
