"""What proves a user's part in a round: receipts, and paths to the roots of statements."""

from datetime import date
from time import monotonic
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, Response, Router, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.domain.outcomes import Answer
from clock.fair.leaves import Kind
from clock.fair.receipts import Promised
from clock.http.lane import Lane
from clock.http.ordinary import AskedUid, bounded, day_of, reply, signed_in, token_guard, uid_of
from clock.http.refusals import Refused
from clock.http.wire import Envelope
from clock.proofs import paths, receipts
from clock.service import Service

Salt = Annotated[
    str | None, QueryParameter(pattern="^[0-9a-f]{32}$", description="The user's own, from a receipt; without a token")
]

Of = TypeVar("Of")


def proof_routes(service: Service, lane: Lane) -> list[ControllerRouterHandler]:
    """Count towards the user's rate limit, or without a token towards that of the address."""

    def whose(request: Request[Any, Any, Any], asked: int | None) -> int:
        uid = uid_of(request, asked)
        lane.rate.check(uid, monotonic())
        return uid

    @get("/api/rounds/{day:str}/receipt/{kind:str}")
    async def receipt(
        request: Request[Any, Any, Any], day: FromPath[str], kind: FromPath[str], uid: AskedUid = None
    ) -> Response[Envelope]:
        of, tree = day_of(day), kind_of(kind, Promised, "stake or checked_in")
        user = whose(request, uid)
        answer = await receipts.receipt(service.store, service.asking, service.receipts, of, tree, user, monotonic())
        return reply(request, "receipt", answer)

    @get(
        "/api/rounds/{day:str}/proof/{kind:str}",
        guards=[_token_or_salt(service)],
        security=[{"bearer": []}, {}],
    )
    async def leaf_proof(
        request: Request[Any, Any, Any],
        day: FromPath[str],
        kind: FromPath[str],
        uid: AskedUid = None,
        salt: Salt = None,
    ) -> Response[Envelope]:
        of, tree = day_of(day), kind_of(kind, Kind, "stake, checked_in or packet")
        if "caller" in request.scope:
            return reply(request, "leaf_proof", await paths.proof(service.store, of, tree, whose(request, uid)))
        return reply(request, "leaf_proof", await _of_whoever_knows(service, of, tree, uid, salt or ""))

    return [
        *signed_in(service.tokens, receipt),
        Router("/", route_handlers=[leaf_proof], middleware=[bounded]),
    ]


def _token_or_salt(service: Service) -> Any:
    """A guard that requires a token, unless the query has a salt and the request no token."""
    require_token = token_guard(service.tokens)

    def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if "salt" not in connection.query_params or "authorization" in connection.headers:
            require_token(connection, handler)

    return guard


async def _of_whoever_knows(service: Service, day: date, kind: Kind, uid: int | None, salt: str) -> Answer:
    if uid is None:
        raise Refused("bad_request", "uid is required beside a salt - at `uid`")
    return await paths.proof(service.store, day, kind, uid, salt)


def kind_of(text: str, kinds: Any, said: str) -> Any:
    """The kind of a leaf in a path; anything else is a bad request."""
    try:
        return msgspec.convert(text, kinds)
    except msgspec.ValidationError:
        raise Refused("bad_request", f"kind must be {said}") from None
