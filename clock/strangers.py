"""HTTP with servers that are trusted with nothing: relays of a beacon, witnesses. A large answer is refused.

Whoever asks allows no redirects, and verifies what was answered.
"""

import aiohttp

from clock.names import Names


class TooLarge(Exception):
    """An answer of more bytes than it may have."""


def session(names: Names, seconds: float) -> aiohttp.ClientSession:
    """``seconds``: for one answer, from the look-up of the name to the last byte. Nothing is unpacked, since a small
    answer may unpack to a large one, and no cookie is kept."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=names),
        timeout=aiohttp.ClientTimeout(total=seconds),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def body_of(reply: aiohttp.ClientResponse, most: int) -> bytes:
    """Raises :class:`TooLarge` beyond ``most`` bytes, which are not waited for."""
    body = bytearray()
    async for piece in reply.content.iter_any():
        body += piece
        if len(body) > most:
            raise TooLarge
    return bytes(body)
