"""The form of an answer: the envelope, or a payment provider's own."""

from collections.abc import Callable

import msgspec
from litestar.types import Send

from clock.domain.outcomes import OUTCOMES, RETRY_AFTER_SECONDS, Answer, Language, envelope

Lines = list[tuple[bytes, bytes]]
"""Header lines."""

ANY_METHOD = b"GET, HEAD, POST, PUT, DELETE"


def head_lines(word: str, allow: bytes = ANY_METHOD, kept_s: int = 0) -> tuple[int, Lines]:
    """Status and headers of an answer in the envelope, except ``content-length``."""
    keep = b"public, max-age=%d" % kept_s if kept_s else b"no-store"
    lines = [(b"content-type", b"application/json"), (b"cache-control", keep)]
    if kept_s:
        lines.append((b"vary", b"accept-language"))
    if word in RETRY_AFTER_SECONDS:
        lines.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS[word]))
    if word == "unauthenticated":
        lines.append((b"www-authenticate", b"Bearer"))
    if word == "method_not_allowed":
        lines.append((b"allow", allow))
    return OUTCOMES[word].http, lines


class Form(msgspec.Struct, frozen=True):
    """How answers look: head, as :func:`head_lines`, and body, as :func:`envelope`. ``early``: the word for a body that
    ended early."""

    head: Callable[[str, bytes, int], tuple[int, Lines]]
    body: Callable[[Answer, str, Language, str], bytes]
    early: str = "bad_request"


ENVELOPE = Form(head_lines, envelope)


def length_line(status: int, size: int) -> Lines:
    """RFC 9110, 8.6: never with 204."""
    return [] if status == 204 else [(b"content-length", b"%d" % size)]


async def answer(
    send: Send, word: str, body: bytes, form: Form = ENVELOPE, allow: bytes = ANY_METHOD, kept_s: int = 0
) -> None:
    """Send a whole answer over ASGI."""
    status, lines = form.head(word, allow, kept_s)
    headers = [*lines, *length_line(status, len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
