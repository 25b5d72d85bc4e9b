"""Hosts on other origins (``CLOCK_ORIGINS``), and in a mini-program (``CLOCK_MINIPROGRAM_PAY``): who may call from a
browser (CORS), who may frame the players' page, and what that page may load (docs/embedding.md)."""

import html
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from litestar.types import Message, Send

from clock.config import Settings
from clock.http.forms import ANY_METHOD, Lines

KEPT_S = 7200
"""How long a browser may remember the answer to a preflight; none does for longer."""

WECHAT_SDK = "https://res.wx.qq.com/open/js/jweixin-1.6.0.js"


def allowed(headers: Mapping[bytes, bytes], origins: frozenset[bytes]) -> bytes:
    """The origin of the page that asks, if it is one of those; otherwise empty."""
    origin = headers.get(b"origin", b"")
    return origin if origin in origins else b""


@lru_cache(maxsize=64)
def shared(origin: bytes) -> bytes:
    """Header lines of an answer, each after a line break."""
    return b"".join(b"\r\n%b: %b" % line for line in lines_for(origin))


def lines_for(origin: bytes) -> Lines:
    """Headers of an answer: to an allowed origin, or to others with an empty one."""
    lines = [(b"vary", b"origin")]  # the answer to another origin is not the same
    if origin:
        lines += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"retry-after")]
    return lines


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    return method == "OPTIONS" and b"access-control-request-method" in headers


async def answer_preflight(send: Send, origin: bytes) -> None:
    """A browser's question whether a page of this origin may call; tokens are shown by the page, never by a cookie."""
    lines = [
        *lines_for(origin),
        (b"access-control-allow-methods", ANY_METHOD),
        (b"access-control-allow-headers", b"authorization, content-type, accept-language"),
        (b"access-control-max-age", b"%d" % KEPT_S),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": lines})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def sharing(send: Send, origin: bytes) -> Send:
    """Adds the headers of an answer to that origin."""

    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *lines_for(origin)]
        await send(message)

    return send_shared


def hosted(headers: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The headers of the players' page, as they have to be for its hosts."""
    changed = dict(headers)
    policy = changed["content-security-policy"]
    if settings.origins:
        policy = policy.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(settings.origins.split())}")
        del changed["x-frame-options"]  # which knows no list; every browser that plays knows frame-ancestors
    if settings.miniprogram_pay:
        policy = policy.replace("script-src ", f"script-src {WECHAT_SDK} ")
    return {**changed, "content-security-policy": policy}


def markup(settings: Settings) -> str:
    """What the page knows of its hosts. WeChat's script runs in a mini-program alone: a template loads nothing."""
    known = {"origins": settings.origins.split(), "miniprogram_pay": settings.miniprogram_pay}
    if not any(known.values()):
        return ""
    meta = f'<meta name="clock-host" content="{html.escape(msgspec.json.encode(known).decode())}">'
    script = f'<template id="wechat"><script src="{WECHAT_SDK}"></script></template>'
    return meta + script if settings.miniprogram_pay else meta
