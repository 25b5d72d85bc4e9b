"""Requests, and what of a reply is looked at."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from clock.game.client import pipe
from tests.conftest import Api
from tests.raw import Redis

ME, OTHER = 7, 8
EXTRA = {"mobile": "13800000007", "nickname": "seven", "openId": "open-7"}

unlimited = pytest.mark.parametrize("changes", [{"user_rate": 10_000}], ids=["unlimited"])
"""For a test that asks more often than one user may."""

HELD_MS = 4_000
"""Less than a script is waited for."""


class Reply(msgspec.Struct):
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.body["code"])


async def ask(api: Api, method: str, path: str, data: Any = None, **headers: str) -> Reply:
    """``data`` as it is: bytes, or an iterator of them for a body without a length."""
    async with api.session.request(method, api.url + path, data=data, headers=headers) as reply:
        assert reply.headers["content-type"].startswith("application/json"), (path, reply.headers)
        lower = {name.lower(): value for name, value in reply.headers.items()}
        body = msgspec.json.decode(await reply.read(), type=dict[str, Any])
        assert set(body) == {"status", "code", "message", "data"}, body
        assert isinstance(body["data"], dict)
        assert body["message"]
        return Reply(reply.status, lower, body)


def user_verbs(api: Api) -> list[str]:
    """Every path of the service on which users act."""
    verbs = [path.decode() for path, lean in api.lean.items() if path.startswith(b"/api/") and "POST" in lean.endpoints]
    assert {"/api/summary", "/api/join", "/api/check-in/status", "/api/check-in", "/api/claim"} <= set(verbs)
    return verbs


async def kept(redis: Redis) -> dict[bytes, Any]:
    """Everything that Redis knows of rounds and users."""
    read: dict[bytes, Any] = {
        b"hash": redis.hgetall,
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"stream": redis.xrange,
        b"string": redis.get,
        b"set": redis.smembers,
        b"zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
    }
    names = [name async for name in redis.scan_iter("clock:*", count=1000)]
    lasting = [name for name in names if not name.startswith((b"clock:dev:", b"clock:worker:", b"clock:arq:"))]
    found = {name: await read[await redis.type(name)](name) for name in lasting}
    for name in found:
        if name.endswith(b":round"):
            found[name].pop(b"touched_ms", None)  # every process says each second that people can check in
    return found


@asynccontextmanager
async def held(redis: Redis) -> AsyncIterator[None]:
    """Redis runs no script that writes: a request that needs one is under way until the test has seen enough."""
    with pytest.MonkeyPatch.context() as patient:  # its other connections answer, and this one would be given up
        patient.setattr(pipe, "PROBE_SECONDS", HELD_MS / 1000)
        await redis.client_pause(HELD_MS, all=False)
        try:
            yield
        finally:
            await redis.client_unpause()


async def until(holds: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


def look(api: Api) -> None:
    """Every connection is looked at, as it is now and then."""
    for one in list(api.connections):
        if one._watching is not None:
            one._watching.cancel()
            one._watch()


class Phone:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.02)

    async def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and decoded body of the next answer."""
        async with asyncio.timeout(5):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers, msgspec.json.decode(body)

    async def statuses(self) -> list[int]:
        """Statuses of all answers until the service closes the connection."""
        async with asyncio.timeout(5):
            return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", await self.reader.read(-1))]

    async def code(self) -> str:
        return str((await self.answer())[2]["code"])

    async def ended(self) -> bool:
        """Whether the service closes the connection, soon, without another word."""
        async with asyncio.timeout(5):
            return await self.reader.read(1) == b""


def request(
    api: Api,
    path: str = "/api/check-in/status",
    body: bytes = b'{"uid":7}',
    version: str = "1.1",
    length: bool = True,
    **headers: str,
) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: clock", f"Authorization: {api.token(ME)['authorization']}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode() + body


async def call(api: Api) -> Phone:
    """A new connection."""
    return Phone(*await asyncio.open_connection("127.0.0.1", api.settings.port))


def json(body: Any) -> bytes:
    return msgspec.json.encode(body)
