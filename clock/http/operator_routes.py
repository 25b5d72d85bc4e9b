"""Operators' paths over HTTP: ordinary handlers, for the role operator."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.domain.outcomes import Answer
from clock.http.ordinary import RESPONSES, Limit, Page, day_of, entry_of, reply, require_operator, signed_in
from clock.http.wire import Envelope, ExtendRequest, ReleaseRequest, VoidRequest
from clock.operators import money, quarantine, rounds
from clock.operators.watch import Watch
from clock.service import Service

AskedDay = Annotated[str | None, QueryParameter(description="YYYY-MM-DD: of this round alone")]

Waiting = Annotated[bool, QueryParameter(description="Only those that wait for a decision")]

OutgoingState = Annotated[
    Literal["failed", "stuck", "owed", "unknown", "processing", "done"],
    QueryParameter(name="state", description="stuck: tried for hours and still not ended"),
]


def operator_routes(service: Service, watch: Watch) -> list[ControllerRouterHandler]:
    @get(
        "/ops/live",
        responses=RESPONSES,
        description="What happens now in all processes, what waits, and the alarms: what needs a person.",
    )
    async def live(request: Request[Any, Any, Any]) -> Response[Envelope]:
        require_operator(request)
        return reply(request, "live", await watch.live())

    return signed_in(service.tokens, live, *round_routes(service), *money_routes(service), *quarantine_routes(service))


def of_round(
    method: Callable[..., Any], path: str, verb: str, **described: str
) -> Callable[[Callable[[date], Awaitable[Answer]]], ControllerRouterHandler]:
    """Makes a handler of a function whose only argument is the day in the path. The handler gets the function's name,
    which the OpenAPI document shows."""

    def made(work: Callable[[date], Awaitable[Answer]]) -> ControllerRouterHandler:
        async def handle(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
            of = day_of(day)
            require_operator(request)
            return reply(request, verb, await work(of))

        handle.__name__ = work.__name__
        handler: ControllerRouterHandler = method(path, status_code=200, responses=RESPONSES, **described)(handle)
        return handler

    return made


def round_routes(service: Service) -> list[ControllerRouterHandler]:
    """One round: its figures, its steps, settling, voiding, extending and reconciling it."""

    @of_round(post, "/ops/rounds/{day:str}/settle", "settle")
    async def settle(day: date) -> Answer:
        return await rounds.settle(service.settling, day)

    @post("/ops/rounds/{day:str}/void", status_code=200, responses=RESPONSES)
    async def void(
        request: Request[Any, Any, Any], day: FromPath[str], data: JSONBody[VoidRequest]
    ) -> Response[Envelope]:
        of = day_of(day)
        require_operator(request)
        return reply(request, "void", await rounds.void(service.voiding, of, data.reason))

    @post(
        "/ops/rounds/{day:str}/extend",
        status_code=200,
        responses=RESPONSES,
        description="Make the check-in of a round that is still open longer, in all shards. The same minutes with the "
        "same reason are the same extension.",
    )
    async def extend(
        request: Request[Any, Any, Any], day: FromPath[str], data: JSONBody[ExtendRequest]
    ) -> Response[Envelope]:
        of = day_of(day)
        by_whom = require_operator(request, "money").name
        return reply(request, "extend", await rounds.extend(service, of, data.minutes, data.reason, by_whom))

    @of_round(get, "/ops/rounds/{day:str}", "round")
    async def round_figures(day: date) -> Answer:
        return await rounds.figures(service, day)

    @of_round(
        get,
        "/ops/steps/{day:str}",
        "steps",
        description="How many users ordered, paid, checked in and claimed, minute by minute; follows the outbox.",
    )
    async def steps(day: date) -> Answer:
        return await rounds.steps(service.store, day)

    @of_round(get, "/ops/reconcile/{day:str}", "reconcile")
    async def reconcile(day: date) -> Answer:
        return await rounds.reconcile_rounds(service, day)

    return [settle, void, extend, round_figures, steps, reconcile]


def money_routes(service: Service) -> list[ControllerRouterHandler]:
    """Money that waits for the provider."""

    @get("/ops/outgoing", responses=RESPONSES)
    async def outgoing(
        request: Request[Any, Any, Any],
        which: OutgoingState = "failed",
        day: AskedDay = None,
        page: Page = 1,
        limit: Limit = 50,
    ) -> Response[Envelope]:
        of = None if day is None else day_of(day)
        require_operator(request)
        return reply(request, "outgoing", await money.outgoing(service.store, which, page, limit, of))

    @get("/ops/unanswered/{day:str}", responses=RESPONSES)
    async def unanswered(
        request: Request[Any, Any, Any], day: FromPath[str], page: Page = 1, limit: Limit = 50
    ) -> Response[Envelope]:
        of = day_of(day)
        require_operator(request)
        return reply(request, "unanswered", await money.unanswered(service.store, of, page, limit))

    return [outgoing, unanswered]


def quarantine_routes(service: Service) -> list[ControllerRouterHandler]:
    """Signed callbacks that wait for a decision."""

    @get("/ops/quarantine", operation_id="OpsQuarantineQuarantine", summary="Quarantine", responses=RESPONSES)
    async def quarantined(
        request: Request[Any, Any, Any], waiting: Waiting = False, page: Page = 1, limit: Limit = 50
    ) -> Response[Envelope]:
        require_operator(request)
        return reply(request, "quarantine", await quarantine.quarantined(service.store, page, limit, waiting))

    @post(
        "/ops/quarantine/{entry:str}/release",
        status_code=200,
        responses=RESPONSES,
        description="Decide about a quarantined callback once: owe its payment back, or answered otherwise.",
    )
    async def release(
        request: Request[Any, Any, Any], entry: FromPath[str], data: JSONBody[ReleaseRequest]
    ) -> Response[Envelope]:
        one = entry_of(entry)
        by_whom = require_operator(request, "money").name
        return reply(request, "release", await quarantine.release(service, one, data.action, data.reason, by_whom))

    return [quarantined, release]
