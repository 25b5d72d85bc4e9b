"""A double of a drand network and of its relay: a chain with a key of its own, whose draws are signed when they are
asked for, over the same HTTP.

Besides ``/<chain hash>/info`` and ``/<chain hash>/public/<number or latest>`` it has ``PUT /trouble``. Whoever runs it
could draw what they like: it is good for development and tests only.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import web

from clock.beacon.own import OwnKey
from clock.beacon.settings import description

MOST_ASKED = 1000

_json = msgspec.json.Encoder().encode


Does = Literal[
    "answer",
    "late",
    "fail",
    "silence",
    "hang_up",
    "drip",
    "redirect",
    "rubbish",
    "flood",
    "lie",
    "other_number",
    "other_chain",
]


class BeaconTrouble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this relay does instead of answering. ``late``: whatever it is asked for is not out yet."""

    does: Does = "answer"


def real_ms() -> int:
    return time.time_ns() // 1_000_000


class BeaconDouble:
    """``key``: 32 bytes, from which the chain's key is made."""

    def __init__(self, key: bytes, name: str = "double", now_ms: Callable[[], int] = real_ms) -> None:
        self._key, self._foreign = OwnKey(key), OwnKey(hashlib.sha256(key).digest())
        self._now_ms = now_ms
        self.chain = self._key.chain(name)
        self.trouble = BeaconTrouble()
        self.asked: deque[int] = deque(maxlen=MOST_ASKED)
        """The last numbers that were asked for, in order."""

    @property
    def info(self) -> str:
        """The chain's description, for ``CLOCK_BEACON``."""
        return description(self.chain)

    def signature(self, number: int) -> bytes:
        return self._key.sign(number)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{chain}/info", self._info)
        app.router.add_get("/{chain}/public/{number}", self._public)
        app.router.add_put("/trouble", self._set_trouble)
        app.router.add_get("/healthz", self._healthz)
        return app

    async def _set_trouble(self, request: web.Request) -> web.Response:
        try:
            self.trouble = msgspec.json.decode(await request.read(), type=BeaconTrouble)
        except msgspec.ValidationError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(msgspec.to_builtins(self.trouble))

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _info(self, request: web.Request) -> web.Response:
        if request.match_info["chain"] != self.chain.hash:
            return web.Response(status=404)
        return web.json_response(text=self.info)

    async def _public(self, request: web.Request) -> web.StreamResponse:
        latest = 0 if self.trouble.does == "late" else self.chain.latest(self._now_ms())
        asked = request.match_info["number"]
        number = latest if asked == "latest" else int(asked) if asked.isdecimal() else 0
        self.asked.append(number)
        if request.match_info["chain"] != self.chain.hash or not 0 < number <= latest:
            return web.Response(status=404, headers={"Cache-Control": "must-revalidate, no-cache, max-age=0"})
        return await self._troubled(request, number)

    async def _troubled(self, request: web.Request, number: int) -> web.StreamResponse:
        if self.trouble.does == "answer" or "again" in request.query:
            return _draw(number, self.signature(number))
        match self.trouble.does:
            case "lie":  # a true draw, with another number on it
                return _draw(number, self.signature(number - 1))
            case "other_number":
                return _draw(number - 1, self.signature(number - 1))
            case "other_chain":
                return _draw(number, self._foreign.sign(number))
            case "fail":
                return web.Response(status=500)
            case "redirect":  # to where the draw is
                return web.Response(status=302, headers={"Location": f"/{self.chain.hash}/public/{number}?again"})
            case "rubbish":
                return web.Response(body=b'{"round":' + bytes(range(256)))
            case "flood":
                return web.Response(body=bytes(1 << 20))
            case "hang_up":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        return await self._slow(request, number)

    async def _slow(self, request: web.Request, number: int) -> web.StreamResponse:
        """Say nothing, or a byte a second, until the other side has gone."""
        response = web.StreamResponse()
        if self.trouble.does == "drip":
            await response.prepare(request)
            for byte in _body(number, self.signature(number)):
                await response.write(bytes([byte]))
                await asyncio.sleep(1)
            return response
        await asyncio.Event().wait()
        return response


def _body(number: int, signature: bytes) -> bytes:
    randomness = hashlib.sha256(signature).hexdigest()
    return _json({"round": number, "randomness": randomness, "signature": signature.hex()})


def _draw(number: int, signature: bytes) -> web.Response:
    return web.json_response(body=_body(number, signature))
