"""Somebody who mirrors a log with plain GETs. Written from https://c2sp.org/tlog-tiles, tlog-checkpoint,
tlog-cosignature and RFC 6962 alone: it shares nothing with the service.
"""

import base64
import hashlib
from typing import NamedTuple

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, over hashes of leaves."""
    if not hashes:
        return sha()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01", mth(hashes[:k]), mth(hashes[k:]))


def climbs(leaf: str, index: int, size: int, path: list[str]) -> bytes:
    """The root to which a path leads, by the recursion of RFC 6962, 2.1.1."""
    if size == 1:
        assert not path
        return sha(b"\x00", leaf.encode())
    k = 1
    while k * 2 < size:
        k *= 2
    *below, above = path
    if index < k:
        return sha(b"\x01", climbs(leaf, index, k, below), bytes.fromhex(above))
    return sha(b"\x01", bytes.fromhex(above), climbs(leaf, index - k, size - k, below))


class Read(NamedTuple):
    origin: str
    size: int
    root: bytes
    signed_by: list[str]


def signed(note: str, keys: list[str]) -> Read:
    """A checkpoint, and which of these keys, of logs or of witnesses, have signed it."""
    text, lines = note.split("\n\n")
    text += "\n"
    origin, size, root, rest = text.split("\n")
    assert rest == "" and str(int(size)) == size
    by = []
    for line in lines.splitlines():
        dash, name, encoded = line.split(" ")
        content = base64.b64decode(encoded, validate=True)
        for key in keys:
            of, number, public = key.split("+", 2)
            kind = base64.b64decode(public)
            if dash == "—" and (of, number) == (name, content[:4].hex()):
                assert sha(name.encode(), b"\n", kind)[:4] == content[:4]
                message, signature = text, content[4:]
                if kind[0] == 4:
                    message = f"cosignature/v1\ntime {int.from_bytes(content[4:12], 'big')}\n{text}"
                    signature = content[12:]
                Ed25519PublicKey.from_public_bytes(kind[1:]).verify(signature, message.encode())
                by.append(name)
    return Read(origin, int(size), base64.b64decode(root), by)


class Mirror:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self.kept: set[str] = set()
        """How long files may be kept, as they say."""

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(f"{self._url}/{path}") as reply:
            if reply.status == 200 and "/tile/" in f"/{path}":
                assert reply.headers["content-type"] == "application/octet-stream"
                self.kept.add(reply.headers["cache-control"])
            return reply.status, await reply.read()

    async def checkpoint(self, keys: list[str]) -> Read:
        async with self._session.get(f"{self._url}/checkpoint") as reply:
            assert reply.status == 200, await reply.text()
            assert reply.headers["content-type"] == "text/plain; charset=utf-8"
            assert reply.headers["cache-control"] == "public, max-age=1"
            return signed(await reply.text(), keys)

    async def _files(self, kind: str, size: int) -> list[bytes]:
        """All tiles of a level of so many hashes, or all bundles."""
        found = []
        for number in range(-(-size // 256)):
            width = min(256, size - number * 256)
            place = f"{number:03}" if number < 1000 else f"x{number // 1000:03}/{number % 1000:03}"
            partial = f".p/{width}" if width < 256 else ""
            status, content = await self.get(f"tile/{kind}/{place}{partial}")
            assert status == 200, (kind, place, partial)
            found.append(content)
        return found

    async def entries(self, size: int) -> list[str]:
        texts = []
        for bundle in await self._files("entries", size):
            while bundle:
                length = int.from_bytes(bundle[:2], "big")
                texts.append(bundle[2 : 2 + length].decode())
                bundle = bundle[2 + length :]
        assert len(texts) == size
        return texts

    async def whole(self, keys: list[str]) -> tuple[Read, list[str]]:
        """The checkpoint, and every statement, once they agree with each other and with all tiles."""
        read = await self.checkpoint(keys)
        texts = await self.entries(read.size)
        leaves = [sha(b"\x00", text.encode()) for text in texts]
        assert mth(leaves) == read.root
        level, hashes = 0, leaves
        while hashes:
            assert b"".join(await self._files(str(level), len(hashes))) == b"".join(hashes)
            full = len(hashes) // 256
            hashes = [mth(hashes[tile * 256 : tile * 256 + 256]) for tile in range(full)]
            level += 1
        return read, texts
