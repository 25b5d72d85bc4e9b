"""The pages for players (``/``) and operators (``/ops``): files of ``clock/http/web``, read once. Their headers forbid
the browser to load anything from other sites, and to run anything but these files."""

import gzip
import hashlib
import html
from functools import lru_cache
from pathlib import Path

import msgspec
from litestar.handlers import asgi
from litestar.types import ControllerRouterHandler, Receive, Scope, Send
from litestar_offline_docs import core as offline_docs

from clock.config import Settings, rules_of
from clock.http.lane import joined
from clock.http.ops.runbook import runbook
from clock.http.origins import hosted, markup
from clock.http.refusals import Refused

FOLDER = Path(__file__).parent / "web"
OPENAPI_ASSETS = Path(offline_docs.__file__).parent / "static"

PIECE = 32 * 1024

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}
"""Trusted types make an accidental ``innerHTML`` an error, so a nickname can never become markup."""

DEV_SCRIPT = '<script type="module" src="/web/dev.js"></script>'


class File(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    content_type: str
    plain: bytes
    zipped: bytes
    etag: str
    headers: dict[str, str]


@lru_cache(maxsize=64)
def _file(content_type: str, content: bytes) -> File:
    """Compressing all files takes half a second: once for all applications of a process."""
    digest = hashlib.sha256(content).hexdigest()[:32]
    return File(content_type, content, gzip.compress(content, mtime=0), f'W/"{digest}"', HEADERS)


def _players_page(settings: Settings) -> bytes:
    """The page with the rules of new rounds in it and, in development only, the bar that moves the clock. Without a
    ``CLOCK_REMINDER_URL`` there is no reminder time, and the page does not offer reminders."""
    remind_at = settings.remind_at if settings.reminder_url else ""
    told = {**msgspec.to_builtins(rules_of(settings)), "remind_at": remind_at}
    rules = html.escape(msgspec.json.encode(told).decode())
    text = (FOLDER / "index.html").read_text("utf-8").replace("{{rules}}", rules).replace("{{host}}", markup(settings))
    return text.replace("{{dev}}", DEV_SCRIPT if settings.env == "dev" else "").encode()


def _operators_page(settings: Settings) -> bytes:
    """The page knows whether this is development, where it can fetch a token."""
    return (FOLDER / "ops.html").read_text("utf-8").replace("{{env}}", settings.env).encode()


def files(settings: Settings) -> dict[str, File]:
    """The pages, and every file that they and ``/schema`` load, by path."""
    found = {
        f"{path}/{file.name}": _file(TYPES[file.suffix], file.read_bytes())
        for path, folder in (("/web", FOLDER), ("/schema/static", OPENAPI_ASSETS))
        for file in sorted(folder.iterdir())
        if file.suffix in TYPES
        and file.suffix != ".html"
        and (settings.env == "dev" or not file.name.startswith("dev."))
    }
    page = _file(TYPES[".html"], _players_page(settings))
    found["/"] = msgspec.structs.replace(page, headers=hosted(HEADERS, settings))
    found["/ops/runbook"] = _file(TYPES[".html"], runbook())
    found["/ops"] = _file(TYPES[".html"], _operators_page(settings))
    return found


def page_routes(settings: Settings) -> list[ControllerRouterHandler]:
    """Both pages, their files and those of ``/schema``, without a token: personal data comes from ``/api`` and
    ``/ops/…``, which need one."""
    return [_route(path, file) for path, file in files(settings).items()]


def _route(path: str, file: File) -> ControllerRouterHandler:
    @asgi(path, copy_scope=False)
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":  # type: ignore[typeddict-item]
            raise Refused("method_not_allowed")
        await _send(send, joined(scope["headers"]), file)

    return page


async def _send(send: Send, asked: dict[bytes, bytes], file: File) -> None:
    """The file, compressed if the client accepts that, or 304 if the client has it; in pieces, each when the one before
    it has been taken: a client that does not read costs one piece."""
    status, body, headers = 200, file.plain, {**file.headers, "content-type": file.content_type, "etag": file.etag}
    if _has(asked.get(b"if-none-match", b"").decode("latin-1"), file.etag):
        status, body = 304, b""
    elif _accepts_gzip(asked.get(b"accept-encoding", b"").decode("latin-1")):
        body, headers["content-encoding"] = file.zipped, "gzip"
    if status == 200:
        headers["content-length"] = str(len(body))
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    for start in range(0, len(body), PIECE):
        await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _has(if_none_match: str, etag: str) -> bool:
    """Whether the list names the tag (RFC 9110, 13.1.2: weakly compared), or is ``*``."""
    named = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return "*" in named or etag.removeprefix("W/") in named


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether ``gzip``, or else ``*``, is named with a weight above 0 (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        try:
            weights[coding] = float(weight or 1)
        except ValueError:
            weights[coding] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
