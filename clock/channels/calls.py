"""HTTP calls to a provider: bounded in time and size, without redirects, and how long nobody has answered."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic

import aiohttp
import msgspec

from clock.channels.lines import UnreadableLines
from clock.names import Names

TIMEOUT_SECONDS = 10.0

CALLED_SECONDS = 1800.0
"""A failed call says nothing about the provider after so long."""

MOST_REPLY, MOST_BILL = 1 << 20, 1 << 30
"""Bytes of a reply, and of a day's bill; what is larger is unreadable."""

BILL_SECONDS = 1800.0
"""How long reading a day's bill may take; each part of it comes within :data:`TIMEOUT_SECONDS`."""

NAMES = Names(8)

FAULTS = (aiohttp.ClientError, OSError, TimeoutError)
"""What breaks a call."""


class Said(msgspec.Struct, frozen=True):
    """What came back. Status 0: certainly not delivered; -1: unknown whether it was delivered; ``raw`` says why."""

    status: int
    raw: bytes
    headers: Mapping[str, str] = {}


class Calls:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._silent_since: float | None = None
        self._called_at = 0.0

    def silent_seconds(self) -> float:
        if self._silent_since is None or monotonic() - self._called_at > CALLED_SECONDS:
            return 0.0
        return monotonic() - self._silent_since

    def note(self, status: int) -> None:
        """Whether there was an answer."""
        self._called_at = monotonic()
        if 0 < status < 500:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self._called_at

    async def send(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] = {},
    ) -> Said:
        said = await self._sent(method, url, body, headers, aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        self.note(said.status)
        return said

    async def _sent(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> Said:
        try:
            async with self.request(method, url, body, headers, limits) as reply:
                return Said(reply.status, await read(reply, MOST_REPLY), reply.headers)
        except aiohttp.ClientConnectorError:
            return Said(0, b"no connection")
        except FAULTS as error:
            return Said(-1, type(error).__name__.encode())

    def long(
        self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A reply that is read as it comes: a bill. Raises :data:`FAULTS`."""
        limits = aiohttp.ClientTimeout(total=BILL_SECONDS, sock_connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS)
        return self.request(method, url, body, headers, limits)

    def request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A redirect would carry the signed body to whoever is named: its status is an unknown outcome."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=NAMES))
        return self._session.request(
            method, url, data=body or None, headers=headers, allow_redirects=False, timeout=limits
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def read(reply: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, or nothing of one that is too large."""
    body = bytearray()
    with suppress(UnreadableLines):
        async for piece in pieces(reply, most):
            body += piece
        return bytes(body)
    return b""


async def pieces(reply: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """The body as it comes. Raises :class:`UnreadableLines` for one that is too large."""
    size = 0
    async for piece in reply.content.iter_any():
        size += len(piece)
        if size > most:
            raise UnreadableLines("too large")
        yield piece
