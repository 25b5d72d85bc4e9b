"""The shared parts of ordinary handlers (the paths outside the lean lane), from the token to the envelope."""

import re
from datetime import date
from time import monotonic
from typing import Annotated, Any

from litestar import Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import ASGIApp, ControllerRouterHandler, HTTPReceiveMessage, Receive, Scope, Send

from clock import metrics
from clock.domain.outcomes import OUTCOMES, Answer, language, message
from clock.domain.rounds import parse_day
from clock.hs256 import Right
from clock.http.forms import head_lines
from clock.http.lane import joined, read_body
from clock.http.refusals import Refused
from clock.http.wire import Envelope
from clock.operators.acts import By
from clock.tokens import Caller, Tokens, Unauthenticated

Page = Annotated[int, QueryParameter(ge=1, le=10_000, description="From 1")]
Limit = Annotated[int, QueryParameter(ge=1, le=200)]
AskedUid = Annotated[int | None, QueryParameter(ge=1, le=2**53 - 1, description="For a service token")]


def bounded(app: ASGIApp) -> ASGIApp:
    """A middleware: it reads the body, or refuses it as too large, before any other check. It also refuses OPTIONS,
    because Litestar's answer is not in the envelope."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        scope["arrived"] = monotonic()  # type: ignore[typeddict-unknown-key]
        if scope["method"] == "OPTIONS":  # type: ignore[typeddict-item]
            raise Refused("method_not_allowed")
        body = [await read_body(receive)]

        async def read_already() -> HTTPReceiveMessage:
            """The body, once; then whatever comes, which is the client's end."""
            if not body:
                return await receive()  # type: ignore[return-value]
            return {"type": "http.request", "body": body.pop(), "more_body": False}

        await app(scope, read_already, send)

    return run


class Posted(Request[Any, Any, Any]):
    """A request whose body is read as in the lean lane: empty means an empty object, unreadable a bad request."""

    async def body(self) -> bytes:
        return await super().body() or b"{}"

    async def json(self) -> Any:
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError) as error:
            raise Refused("bad_request", str(error)) from None


def signed_in(tokens: Tokens, *handlers: ControllerRouterHandler) -> list[ControllerRouterHandler]:
    """Ordinary handlers that need a token. The checks: 413, then 401, then the handler's own."""
    return [
        Router(
            "/",
            route_handlers=handlers,
            middleware=[bounded],
            guards=[token_guard(tokens)],
            request_class=Posted,
            security=[{"bearer": []}],
        )
    ]


def token_guard(tokens: Tokens) -> Any:
    """A Litestar guard that requires a valid token of any role. The role is checked after the request is parsed (403
    after 400)."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        try:
            authorization = joined(connection.scope["headers"]).get(b"authorization", b"")
            connection.scope["caller"] = tokens.caller(authorization)  # type: ignore[typeddict-unknown-key]
        except Unauthenticated as error:
            raise Refused("unauthenticated", str(error)) from None

    return guard


def require_operator(request: Request[Any, Any, Any], right: Right = "read") -> Caller:
    """The operator who calls; refuses every other role, and an operator without the right."""
    caller: Caller = request.scope["caller"]  # type: ignore[typeddict-item]
    if caller.role != "operator":
        raise Refused("forbidden", "role operator is required")
    if right not in caller.scopes:
        raise Refused("forbidden", f"the token lacks the right {right}")
    return caller


def named(request: Request[Any, Any, Any], right: Right) -> By:
    """In whose name an act is done, for the record; as :func:`require_operator`."""
    caller = require_operator(request, right)
    return By(caller.name, request.client.host if request.client else "")


def uid_of(request: Request[Any, Any, Any], asked: int | None) -> int:
    """The user that a read is about: the token's own, or the one in the query if it is a service token."""
    caller = request.scope["caller"]  # type: ignore[typeddict-item]
    uid = caller.uid if asked is None else asked
    if not uid:
        raise Refused("bad_request", "uid is required: the token is not a user's - at `uid`")
    if not caller.may_act_for(uid):
        raise Refused("forbidden", "the token is another user's")
    return int(uid)


def reply(
    request: Request[Any, Any, Any], verb: str, answer: Answer, detail: str = "", kept_s: int = 0
) -> Response[Envelope]:
    """The envelope of an ordinary handler's answer, which is counted in the metrics. ``kept_s``: how long anybody may
    keep it, if it is a yes."""
    now = monotonic()
    metrics.answered(verb or "other", answer.word, now - request.scope.get("arrived", now))  # type: ignore[operator]
    outcome = OUTCOMES[answer.word]
    text = message(verb, answer.word, language(request.headers.get("accept-language", "")))
    body = Envelope(outcome.status, answer.word, f"{text}: {detail}" if detail else text, answer.data)
    _, lines = head_lines(answer.word, kept_s=kept_s if outcome.status else 0)
    headers = {name.decode(): value.decode() for name, value in lines}
    return Response(body, status_code=outcome.http, headers=headers)


def day_of(text: str) -> date:
    """The day in a path; anything but ``YYYY-MM-DD`` is a bad request."""
    try:
        return parse_day(text)
    except ValueError:
        raise Refused("bad_request", "day must be YYYY-MM-DD") from None


def some_uid(uid: int) -> int:
    """The uid in a path; anything but 1 to 2^53-1 is a bad request."""
    if not 0 < uid < 1 << 53:
        raise Refused("bad_request", "uid must be 1 to 2^53-1")
    return uid


def entry_of(text: str) -> str:
    """The id of a quarantined callback in a path; anything but a SHA-256 in hex is a bad request."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise Refused("bad_request", "entry must be 64 hexadecimal digits")
    return text
