"""File descriptors: each connection takes one, and many systems default to a limit of 256 or 1,024 per process."""

import resource
from contextlib import suppress

import structlog

WANTED = 65_536
"""More connections than one process can serve."""
LEAST = 192
HELD_BACK = 96
"""Descriptors for everything but clients: 65 to Redis, 8 to Postgres, the listening socket, files, and refusals."""
LOW = 4_096
"""A process that takes fewer clients than this logs a warning: a usual round's peak may exceed it."""

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
    """How many client connections this process may have."""
    return raise_limit() - HELD_BACK


class Clients:
    """Connections of clients to this process."""

    def __init__(self) -> None:
        self.open = 0
        self.most = WANTED - HELD_BACK

    def bound(self) -> None:
        """Set the maximum from the limit of descriptors; log it if it is low."""
        self.most = left()
        if self.most < LOW:
            log.warning("descriptors_low", limit=self.most + HELD_BACK, connections=self.most)


clients = Clients()
