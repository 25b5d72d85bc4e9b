"""What holds for every path that goes through ASGI, before the router: one spelling, HEAD, limits for strangers, and no
answer that is kept by accident."""

import re
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from clock import metrics
from clock.config import Settings
from clock.domain.outcomes import Answer, envelope
from clock.http.forms import answer
from clock.http.lane import Inside, LeanPath, Rate, joined, spoken
from clock.http.origins import allowed, answer_preflight, is_preflight, sharing
from clock.http.refusals import Refused

ONE_SPELLING = re.compile(rb"/|(?:/[A-Za-z0-9_.-]{1,100}){1,6}")
"""No path of ours needs an escape, or a slash at its end: ``/metrics/`` must not get past a proxy's rule for
``/metrics``."""

OPEN = ("/callbacks/", "/healthz", "/readyz")
"""Not limited by address: providers and load balancers, which have one each."""

MOST_ORDINARY = 1_024
"""Requests to ordinary handlers that a process answers at once; the lane has a bound of its own."""


class Edge:
    """Wraps the application. ``lean``: the lane's paths."""

    def __init__(self, app: ASGIApp, settings: Settings, lean: dict[bytes, LeanPath]) -> None:
        self._app = app
        self._lean = lean
        self._rate = Rate(settings.client_rate) if settings.client_rate else None
        self._ordinary = Inside(MOST_ORDINARY)
        self._origins = settings.browser_origins
        self.call: Any = ProxyHeadersMiddleware(self._call, settings.proxies.split())  # type: ignore[arg-type]  # its own types of ASGI

    async def _call(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._origins:
            headers = joined(scope["headers"])
            origin = allowed(headers, self._origins)
            if origin and is_preflight(scope["method"], headers):
                await answer_preflight(send, origin)
                return
            send = sharing(send, origin)
        if scope["method"] == "HEAD":  # the server sends no body in answer to it
            scope = {**scope, "method": "GET"}
        try:
            self._check(scope)
        except Refused as refused:
            metrics.answered("other", refused.word, 0.0)
            await _refuse(scope, send, refused.word)
            return
        if scope["raw_path"] in self._lean:
            await self._app(scope, receive, send)
        elif scope["path"].startswith(OPEN):
            await self._app(scope, receive, _not_kept(send))
        else:
            await self._bounded(scope, receive, send)

    def _check(self, scope: Any) -> None:
        if not ONE_SPELLING.fullmatch(scope["raw_path"]):
            raise Refused("not_found")
        if self._rate is None or scope["path"].startswith(OPEN):
            return
        if not any(name == b"authorization" for name, _ in scope["headers"]):
            self._rate.check(_client(scope["client"][0] if scope["client"] else ""), monotonic())

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._ordinary.let_in():
            await _refuse(scope, send, "busy")
            return
        try:
            await self._app(scope, receive, _not_kept(send))
        finally:
            self._ordinary.count -= 1


async def _refuse(scope: Scope, send: Send, word: str) -> None:
    await answer(send, word, envelope(Answer(word), "", spoken(joined(scope["headers"]))))


def _not_kept(send: Send) -> Send:
    """Adds ``no-store`` where an answer does not say how long it may be kept."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                message["headers"] = [*headers, (b"cache-control", b"no-store")]
        await send(message)

    return sending


@lru_cache(maxsize=4096)
def _client(address: str) -> str:
    """Whom a limit counts: an IPv4 address, or a network of 64 bits, which is what one household has of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    return address if found.version == 4 else found.exploded[:19]
