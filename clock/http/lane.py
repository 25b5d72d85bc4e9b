"""The lean lane: verbs with a body as bare ASGI route handlers of Litestar, all made by :func:`route`.

The checks of a request come in one order everywhere: 413, 401, 400, 403, then the game's answer.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from time import monotonic
from typing import Any, TypeVar

import msgspec
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from clock import metrics
from clock.domain import shapes
from clock.domain.outcomes import OUTCOMES, RETRY_AFTER_SECONDS, Answer, Language, envelope, language
from clock.http.refusals import Refused, refusal
from clock.http.wire import UserRequest
from clock.tokens import Tokens, Unauthenticated

MAX_BODY = 64 * 1024
MOST_INSIDE = 8_192
"""Requests of a process without an answer yet; further ones are refused with ``busy``. This is the only queue, so
memory is bounded. A refusal is not cheap, so the bound is high (docs/decisions/0027)."""
MOST_LANGUAGES = 256
"""Bytes of ``Accept-Language`` that are parsed and cached."""

Lines = list[tuple[bytes, bytes]]
"""Header lines."""

ANY_METHOD = b"GET, HEAD, POST, PUT, DELETE"

Request = TypeVar("Request", bound=msgspec.Struct)
OfUser = TypeVar("OfUser", bound=UserRequest)


class Call(msgspec.Struct):
    """What a verb gets of its request besides the parsed body."""

    arrived: float
    headers: dict[bytes, bytes]
    raw: bytes


Run = Callable[[Request, Call], Awaitable[Answer]]
"""A verb: request and call to an answer."""


class Inside:
    """Requests of this process that were let in and have no answer yet."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0

    def is_full(self) -> bool:
        return self.count >= self.most

    def let_in(self) -> bool:
        """Whether one more request is let in; it counts until it is answered."""
        if self.is_full():
            return False
        self.count += 1
        return True


inside = Inside(MOST_INSIDE)


class Rate:
    """A rate limit: requests of each user, or of each client, in the current second, in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._counts: dict[int | str, int] = {}

    def check(self, who: int | str, now: float) -> None:
        second = int(now)
        if second != self._second:
            self._second = second
            self._counts.clear()
        count = self._counts.get(who, 0) + 1
        if count > self._most:
            raise Refused("slow_down")
        self._counts[who] = count


class Lane:
    """State shared by all verbs of the lane."""

    def __init__(self, tokens: Tokens, user_rate: int) -> None:
        self.tokens = tokens
        self.rate = Rate(user_rate)


async def read_body(receive: Receive) -> bytes:
    """The whole body. One over :data:`MAX_BODY` is read to its end before the refusal, or the client would miss it; the
    protocol says to which end."""
    body, size, more = bytearray(), 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("bad_request", "the body ended early")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= MAX_BODY:
            body += part
    if size > MAX_BODY:
        raise Refused("too_large")
    return bytes(body)


@lru_cache(maxsize=1024)
def _language(accept: bytes) -> Language:
    return language(accept.decode("latin-1"))


def spoken(headers: dict[bytes, bytes]) -> Language:
    """The language of the client."""
    return _language(headers.get(b"accept-language", b"")[:MOST_LANGUAGES])


class Endpoint(msgspec.Struct, frozen=True):
    """One method of a path, and its data for the OpenAPI document. ``kept_s``: how long anybody may keep its answer."""

    run: Callable[[Call], Awaitable[Answer]]
    request_type: type[msgspec.Struct] | None = None
    secured: bool = False
    kept_s: int = 0


class LeanPath:
    """A path of the lane. Plain requests come directly from the server's protocol (:mod:`clock.http.server`), all
    others through ASGI; both get the same answers."""

    def __init__(self, verb: str, endpoints: dict[str, Endpoint]) -> None:
        self.verb = verb
        self.endpoints = endpoints
        self.allow = ", ".join([*endpoints, *(["HEAD"] if "GET" in endpoints else [])]).encode()

    async def read_and_reply(self, method: str, call: Call, receive: Receive) -> tuple[str, bytes]:
        """Word and body of the answer to a request whose body has not been read; it is let in after that."""
        if inside.is_full():
            return self.busy(call)
        if method in self.endpoints:
            try:
                call.raw = await read_body(receive)
            except Refused as error:
                return self._said(Answer(error.word), call, error.detail)
        return await self.reply(method, call) if inside.let_in() else self.busy(call)

    async def reply(self, method: str, call: Call) -> tuple[str, bytes]:
        """Word and body of the answer. The caller has let the request in; this ends its stay :data:`inside`."""
        detail = ""
        try:
            endpoint = self.endpoints.get(method)
            if endpoint is None:
                raise Refused("method_not_allowed")
            answer = await endpoint.run(call)
        except Exception as error:  # noqa: BLE001 - everything is answered, in the envelope
            word, detail = refusal(error, verb=self.verb)
            answer = Answer(word)
        finally:
            inside.count -= 1
        return self._said(answer, call, detail)

    def busy(self, call: Call) -> tuple[str, bytes]:
        """Word and body for a request that is refused without being parsed."""
        return self._said(Answer("busy"), call)

    def _said(self, answer: Answer, call: Call, detail: str = "") -> tuple[str, bytes]:
        body = envelope(answer, self.verb, spoken(call.headers), detail)
        metrics.answered(self.verb, answer.word, monotonic() - call.arrived)
        return answer.word, body


def route(path: str, verb: str, **endpoints: Endpoint) -> ASGIRouteHandler:
    """A bare route handler that answers in the envelope. ``endpoints`` by method, ``POST=…``."""
    lean = LeanPath(verb, endpoints)

    @asgi(path, name=verb, copy_scope=False, opt={"lean": lean})
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(monotonic(), joined(scope["headers"]), b"")
        method: str = scope["method"]  # type: ignore[typeddict-item]
        word, body = await lean.read_and_reply(method, call, receive)
        kept_s = endpoints[method].kept_s if OUTCOMES[word].status else 0
        await answer(send, word, body, allow=lean.allow, kept_s=kept_s)

    return handle


def joined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; several lines of one name are one list (RFC 9110, 5.3), so that two tokens are none."""
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


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


async def answer(send: Send, word: str, body: bytes, allow: bytes = ANY_METHOD, kept_s: int = 0) -> None:
    """Send a whole answer over ASGI."""
    status, lines = head_lines(word, allow, kept_s)
    headers = [*lines, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def decoder(request_type: type[Request]) -> Callable[[bytes], Request]:
    """Body to struct; an empty body is an empty object. Refuses with ``bad_request`` and the field."""
    decode = shapes.decoder(request_type)

    def decoded(raw: bytes) -> Request:
        try:
            return decode(raw or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused("bad_request", str(error)) from None

    return decoded


def for_caller(
    lane: Lane,
    request_type: type[OfUser],
    run: Run[OfUser],
) -> Endpoint:
    """Needs a token: a user's, for that user; or a service's, for any user."""
    decode, tokens, rate = decoder(request_type), lane.tokens, lane.rate

    def checked(call: Call) -> Awaitable[Answer]:
        try:
            caller = tokens.caller(call.headers.get(b"authorization", b""))
        except Unauthenticated as error:
            raise Refused("unauthenticated", str(error)) from None
        request = decode(call.raw)
        if not caller.may_act_for(request.uid):
            raise Refused("forbidden", "the token is another user's")
        rate.check(request.uid, call.arrived)
        return run(request, call)

    return Endpoint(checked, request_type, True)


def for_anyone(request_type: type[Request], run: Run[Request]) -> Endpoint:
    """Needs no token."""
    decode = decoder(request_type)

    def checked(call: Call) -> Awaitable[Answer]:
        return run(decode(call.raw), call)

    return Endpoint(checked, request_type)
