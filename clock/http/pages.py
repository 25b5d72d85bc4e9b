"""The pages for players (``/``) and operators (``/ops``): files of ``clock/http/web``, read once. Their headers forbid
the browser to load anything from other sites, and to run anything but these files."""

import gzip
import hashlib
import html
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from clock.config import Settings, rules_of
from clock.http.refusals import Refused

FOLDER = Path(__file__).parent / "web"

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
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


def _file(content_type: str, content: bytes) -> File:
    digest = hashlib.sha256(content).hexdigest()[:32]
    return File(content_type, content, gzip.compress(content, mtime=0), f'W/"{digest}"')


def _players_page(settings: Settings) -> bytes:
    """The page with the rules of new rounds in it and, in development only, the bar that moves the clock. Without a
    ``CLOCK_REMINDER_URL`` there is no reminder time, and the page does not offer reminders."""
    remind_at = settings.remind_at if settings.reminder_url else ""
    told = {**msgspec.to_builtins(rules_of(settings)), "remind_at": remind_at}
    rules = html.escape(msgspec.json.encode(told).decode())
    text = (FOLDER / "index.html").read_text("utf-8").replace("{{rules}}", rules)
    return text.replace("{{dev}}", DEV_SCRIPT if settings.env == "dev" else "").encode()


def _operators_page(settings: Settings) -> bytes:
    """The page knows whether this is development, where it can fetch a token."""
    return (FOLDER / "ops.html").read_text("utf-8").replace("{{env}}", settings.env).encode()


def files(settings: Settings) -> dict[str, File]:
    """Every file by its name under ``/web``, and the two pages by their paths."""
    found = {
        path.name: _file(TYPES[path.suffix], path.read_bytes())
        for path in sorted(FOLDER.iterdir())
        if path.suffix != ".html" and (settings.env == "dev" or not path.name.startswith("dev."))
    }
    found["/"] = _file(TYPES[".html"], _players_page(settings))
    found["/ops"] = _file(TYPES[".html"], _operators_page(settings))
    return found


def send(request: Request[Any, Any, Any], file: File) -> Response[bytes]:
    """The file, compressed if the client accepts that, or 304 if the client has it."""
    headers = {**HEADERS, "etag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(b"", status_code=304, headers=headers, media_type=file.content_type)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(file.zipped, headers=headers, media_type=file.content_type)
    return Response(file.plain, headers=headers, media_type=file.content_type)


def page_routes(settings: Settings) -> list[ControllerRouterHandler]:
    """Both pages and their files, without a token: personal data comes from ``/api`` and ``/ops/…``, which need one."""
    known = files(settings)

    @get("/", include_in_schema=False)
    async def players_page(request: Request[Any, Any, Any]) -> Response[bytes]:
        return send(request, known["/"])

    @get("/ops", include_in_schema=False)
    async def operators_page(request: Request[Any, Any, Any]) -> Response[bytes]:
        return send(request, known["/ops"])

    @get("/web/{name:str}", include_in_schema=False)
    async def page_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        file = known.get(name)
        if file is None:
            raise Refused("not_found")
        return send(request, file)

    return [players_page, operators_page, page_file]
