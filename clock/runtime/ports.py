"""Free ports for servers, outside the system's ephemeral range (Linux: from 32,768, macOS: from 49,152), so that
outgoing connections of clients do not take the port of a server while it restarts."""

import random
import socket
from collections import deque

RANGE = range(15_000, 32_768)
TRIES = 1_000

_given: deque[int] = deque(maxlen=500)
"""Not given again soon: whoever asks for several begins to listen on them later."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which no process listens. Raises ``OSError`` if none is found."""
    for _ in range(TRIES):
        port = random.choice(RANGE)  # noqa: S311 - so that simultaneous callers do not find the same port
        if port not in _given and is_free(port, host):
            _given.append(port)
            return port
    raise OSError(f"no port of {host} from {RANGE.start} to {RANGE.stop - 1} is free")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    try:
        socket.create_server((host, port), family=family).close()
    except OSError:
        return False
    return True
