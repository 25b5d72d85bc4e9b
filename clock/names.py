"""Looks up the names of hosts outside by threads of its own.

The system's resolver cannot be cancelled: where name servers are silent it holds a thread for many seconds, whoever has
given up waiting. The loop's own threads, four of uvloop or six of asyncio on two processors, look up our own servers;
asyncio's split rounds and grow trees as well.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult


class Names(AbstractResolver):
    """For sessions of aiohttp, as many as there are."""

    def __init__(self, threads: int) -> None:
        """``threads``: so many look-ups at once; others wait, and are given up with whoever waits for them."""
        self._threads = ThreadPoolExecutor(threads, "names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises :class:`OSError`."""
        flags = socket.AI_ADDRCONFIG
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=flags)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=of,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """The threads are the process'."""
