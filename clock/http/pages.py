"""The pages for players (``/``) and operators (``/ops``): files of ``clock/http/web``, read once. Their headers forbid
the browser to load anything from other sites, and to run anything but what is sent here."""

import base64
import gzip
import hashlib
from functools import lru_cache
from pathlib import Path

import msgspec
from litestar.handlers import asgi
from litestar.types import ControllerRouterHandler, Receive, Scope, Send
from litestar_offline_docs import core as offline_docs

from clock.config import Settings
from clock.http.lane import joined
from clock.http.ops.runbook import runbook
from clock.http.origins import hosted, markup
from clock.http.refusals import Refused
from clock.http.web.linker import FOLDER, linked, needed

OPENAPI_ASSETS = Path(offline_docs.__file__).parent / "static"

PIECE = 32 * 1024

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

KEPT = "public, max-age=604800, s-maxage=60"
"""A browser opens the players' page from its own copy for seven days, and learns from the summary that there is
another one; what stands between asks after a minute."""


def headers(script: str = "'self'", style: str = "'self'", cache: str = "no-cache") -> dict[str, str]:
    """Headers of a file: where its scripts and styles may come from, and for how long it may be kept. Trusted types
    make an accidental ``innerHTML`` an error, so a nickname can never become markup."""
    policy = (
        "default-src 'none'",
        f"script-src {script}",
        f"style-src {style}",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "cache-control": cache,
        "vary": "accept-encoding",
    }


class File(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    headers: dict[str, str]
    plain: bytes
    zipped: bytes


def _file(content_type: str, content: bytes, lines: dict[str, str]) -> File:
    digest = hashlib.sha256(content).hexdigest()[:32]
    return File({**lines, "content-type": content_type, "etag": f'W/"{digest}"'}, content, _zipped(content))


@lru_cache(maxsize=64)
def _zipped(content: bytes) -> bytes:
    """Once for all applications of a process. Level 9 would take three times as long at every start, and save a
    fiftieth."""
    return gzip.compress(content, 6, mtime=0)


class Document(msgspec.Struct, frozen=True):
    """The players' page as one file. ``version`` changes with its content and with its headers."""

    html: str
    headers: dict[str, str]
    version: str


def document(settings: Settings) -> Document:
    """The page with its styles and scripts in it, each allowed by its hash; in development with the bar that moves the
    clock."""
    modules = ("page.js", "dev.js") if settings.env == "dev" else ("page.js",)
    old, first, style = ((FOLDER / name).read_text("utf-8") for name in ("old.js", "first.js", "page.css"))
    parts = {"style": style, "old": old, "first": first, "script": linked(*modules), "host": markup(settings)}
    html = (FOLDER / "index.html").read_text("utf-8")
    for name, text in parts.items():
        html = html.replace(f"{{{{{name}}}}}", text)
    scripts = " ".join(_hash(parts[name]) for name in ("old", "first", "script"))
    lines = hosted(headers(scripts, _hash(style), KEPT), settings)
    version = hashlib.sha256((html + lines["content-security-policy"]).encode()).hexdigest()[:12]
    return Document(html.replace("{{page}}", version), lines, version)


def _hash(text: str) -> str:
    """The source expression that allows this text inline (CSP 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _operators_page(settings: Settings) -> bytes:
    """The page knows whether this is development, where it can fetch a token."""
    return (FOLDER / "ops.html").read_text("utf-8").replace("{{env}}", settings.env).encode()


def files(settings: Settings) -> dict[str, File]:
    """The pages, and every file that they and ``/schema`` load, by path."""
    names = [*needed("ops.js"), "page.css", "ops.css", "icon.svg", "icon-alarm.svg"]
    loaded = {f"/web/{name}": FOLDER / name for name in names}
    loaded |= {f"/schema/static/{file.name}": file for file in OPENAPI_ASSETS.iterdir() if file.suffix in TYPES}
    found = {path: _file(TYPES[file.suffix], file.read_bytes(), headers()) for path, file in loaded.items()}
    page = document(settings)
    found["/"] = _file(TYPES[".html"], page.html.encode(), page.headers)
    found["/ops/runbook"] = _file(TYPES[".html"], runbook(), headers())
    found["/ops"] = _file(TYPES[".html"], _operators_page(settings), headers())
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
    status, body, lines = 200, file.plain, dict(file.headers)
    if _has(asked.get(b"if-none-match", b"").decode("latin-1"), lines["etag"]):
        status, body = 304, b""
    elif _accepts_gzip(asked.get(b"accept-encoding", b"").decode("latin-1")):
        body, lines["content-encoding"] = file.zipped, "gzip"
    if status == 200:
        lines["content-length"] = str(len(body))
    encoded = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
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
