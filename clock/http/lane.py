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
from clock.domain.outcomes import OUTCOMES, Answer, Language, language
from clock.game.batch import Waiter
from clock.game.verbs import Finish
from clock.http.forms import ENVELOPE, Form, answer
from clock.http.refusals import Refused, refusal
from clock.http.wire import UserRequest
from clock.tokens import Tokens, Unauthenticated

MAX_BODY = 64 * 1024
MOST_INSIDE = 12_288
"""Requests of a process without an answer yet; further ones are refused with ``busy``. This is the only queue, so
memory is bounded. A refusal is not cheap, so the bound is high (docs/decisions/0027)."""
MOST_LANGUAGES = 256
"""Bytes of ``Accept-Language`` that are parsed and cached."""

Request = TypeVar("Request", bound=msgspec.Struct)
OfUser = TypeVar("OfUser", bound=UserRequest)


class Call(msgspec.Struct):
    """What a verb gets of its request besides the parsed body."""

    headers: dict[bytes, bytes]
    query: bytes = b""
    raw: bytes = b""
    arrived: float = msgspec.field(default_factory=monotonic)
    language: Language = "zh"

    def __post_init__(self) -> None:
        self.language = spoken(self.headers)


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


class EndedEarly(Refused):
    """The client has ended its side in the middle of a body."""


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
            raise EndedEarly("bad_request", "the body ended early")
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


AtOnce = Callable[[Waiter, Request, float], Finish | None]
"""A user's verb as one question, without a task: see :meth:`clock.game.verbs.Verbs.check_in_at_once`."""


class Endpoint(msgspec.Struct, frozen=True):
    """One method of a path, and its data for the OpenAPI document. ``admit`` refuses a request or parses it for ``run``
    and ``at_once``. ``kept_s``: how long anybody may keep its answer."""

    run: Run[Any]
    admit: Callable[[Call], Any] = lambda _: None
    at_once: AtOnce[Any] | None = None
    request_type: type[msgspec.Struct] | None = None
    secured: bool = False
    kept_s: int = 0


class LeanPath:
    """A path of the lane. Plain requests come directly from the server's protocol (:mod:`clock.http.server`), all
    others through ASGI; both get the same answers."""

    def __init__(self, verb: str, endpoints: dict[str, Endpoint], form: Form) -> None:
        self.verb = verb
        self.endpoints = endpoints
        self.form = form
        self.allow = ", ".join([*endpoints, *(["HEAD"] if "GET" in endpoints else [])]).encode()

    async def read_and_reply(self, method: str, call: Call, receive: Receive) -> tuple[str, bytes]:
        """Word and body of the answer to a request whose body has not been read; it is let in after that."""
        if inside.is_full():
            return self.busy(call)
        if method in self.endpoints:
            try:
                call.raw = await read_body(receive)
            except Refused as error:
                word = self.form.early if isinstance(error, EndedEarly) else error.word
                return self.refused(Refused(word, error.detail), call)
        return await self.reply(method, call) if inside.let_in() else self.busy(call)

    async def reply(self, method: str, call: Call) -> tuple[str, bytes]:
        """Word and body of the answer. The caller has let the request in; this ends its stay :data:`inside`."""
        try:
            endpoint = self.endpoints.get(method)
            if endpoint is None:
                raise Refused("method_not_allowed")
            answer = await endpoint.run(endpoint.admit(call), call)
        except Exception as error:  # noqa: BLE001 - everything is answered, in the envelope
            return self.refused(error, call)
        finally:
            inside.count -= 1
        return self.said(answer, call)

    def refused(self, error: Exception, call: Call) -> tuple[str, bytes]:
        word, detail = refusal(error, verb=self.verb)
        return self.said(Answer(word), call, detail)

    def busy(self, call: Call) -> tuple[str, bytes]:
        """Word and body for a request that is refused without being parsed."""
        return self.said(Answer("busy"), call)

    def said(self, answer: Answer, call: Call, detail: str = "") -> tuple[str, bytes]:
        body = self.form.body(answer, self.verb, call.language, detail)
        metrics.answered(self.verb, answer.word, monotonic() - call.arrived)
        return answer.word, body


def joined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; several lines of one name are one list (RFC 9110, 5.3), so that two tokens are none."""
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def route(path: str, verb: str, endpoints: dict[str, Endpoint], form: Form = ENVELOPE) -> ASGIRouteHandler:
    """A bare route handler. ``endpoints`` by method; ``form``: of its answers."""
    lean = LeanPath(verb, endpoints, form)

    @asgi(path, name=verb, copy_scope=False, opt={"lean": lean})
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(joined(scope["headers"]), scope["query_string"])
        method: str = scope["method"]  # type: ignore[typeddict-item]
        word, body = await lean.read_and_reply(method, call, receive)
        kept_s = endpoints[method].kept_s if OUTCOMES[word].status else 0
        await answer(send, word, body, lean.form, allow=lean.allow, kept_s=kept_s)

    return handle


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
    at_once: AtOnce[OfUser] | None = None,
) -> Endpoint:
    """Needs a token: a user's, for that user; or a service's, for any user."""
    decode, tokens, rate = decoder(request_type), lane.tokens, lane.rate

    def admit(call: Call) -> OfUser:
        try:
            caller = tokens.caller(call.headers.get(b"authorization", b""))
        except Unauthenticated as error:
            raise Refused("unauthenticated", str(error)) from None
        request = decode(call.raw)
        if not caller.may_act_for(request.uid):
            raise Refused("forbidden", "the token is another user's")
        rate.check(request.uid, call.arrived)
        return request

    return Endpoint(run, admit, at_once, request_type, secured=True)


def for_anyone(request_type: type[Request], run: Run[Request]) -> Endpoint:
    """Needs no token."""
    decode = decoder(request_type)
    return Endpoint(run, lambda call: decode(call.raw), request_type=request_type)
