"""One round: its figures, its steps, settling, voiding, extending and reconciling it; what of this takes long."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from clock.domain.outcomes import KEPT, Answer, language
from clock.http.ordinary import Limit, day_of, named, reply, require_operator
from clock.http.wire import Envelope, ExtendRequest, ReasonRequest
from clock.operators import rounds, verbs
from clock.operators.work import asking
from clock.service import Service


def of_round(
    path: str, verb: str, description: str | None = None
) -> Callable[[Callable[[date], Awaitable[Answer]]], ControllerRouterHandler]:
    """Makes a handler of a function whose only argument is the day in the path. The handler gets the function's name,
    which the OpenAPI document shows."""

    def made(work: Callable[[date], Awaitable[Answer]]) -> ControllerRouterHandler:
        async def handle(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
            of = day_of(day)
            require_operator(request)
            return reply(request, verb, await work(of))

        handle.__name__ = work.__name__
        handler: ControllerRouterHandler = get(path, description=description)(handle)
        return handler

    return made


def replied(request: Request[Any, Any, Any], verb: str, answer: Answer) -> Response[Envelope]:
    """The reply about work that a worker does: it says where that is kept."""
    kept = getattr(KEPT, language(request.headers.get("accept-language", ""))) if answer.word == "unavailable" else ""
    return reply(request, verb, answer, kept)


def round_routes(service: Service) -> list[ControllerRouterHandler]:
    @post("/ops/rounds/{day:str}/settle", status_code=200)
    async def settle(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = day_of(day)
        return replied(request, "settle", await verbs.settle(service, named(request, "money"), of, asking.asked))

    @post("/ops/rounds/{day:str}/void", status_code=200)
    async def void(
        request: Request[Any, Any, Any], day: FromPath[str], data: JSONBody[ReasonRequest]
    ) -> Response[Envelope]:
        of = day_of(day)
        by = named(request, "money")
        return replied(request, "void", await verbs.void(service, by, of, data.reason, asking.asked))

    @post(
        "/ops/rounds/{day:str}/extend",
        status_code=200,
        description="Make the check-in of a round that is still open longer, in all shards. The same minutes with the "
        "same reason are the same extension.",
    )
    async def extend(
        request: Request[Any, Any, Any], day: FromPath[str], data: JSONBody[ExtendRequest]
    ) -> Response[Envelope]:
        of = day_of(day)
        by = named(request, "money")
        return reply(request, "extend", await verbs.extend(service, by, of, data.minutes, data.reason))

    @of_round("/ops/rounds/{day:str}", "round")
    async def round_figures(day: date) -> Answer:
        return await rounds.figures(service, day)

    @of_round(
        "/ops/steps/{day:str}",
        "steps",
        description="How many users ordered, paid, checked in and claimed, minute by minute; follows the outbox.",
    )
    async def steps(day: date) -> Answer:
        return await rounds.steps(service.store, day)

    @of_round("/ops/reconcile/{day:str}", "reconciled", description="The last comparison of all books.")
    async def reconciled(day: date) -> Answer:
        return await rounds.reconciled(service.store, day)

    @post(
        "/ops/reconcile/{day:str}",
        status_code=200,
        description="Have a worker compare Redis, books, ledger, manifest and the provider's bill now.",
    )
    async def reconcile(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = day_of(day)
        return replied(request, "reconcile", await verbs.reconcile(service, named(request, "read"), of, asking.asked))

    @get("/ops/work", description="What runs or waits, in all processes, then how the last pieces ended.")
    async def long_work(request: Request[Any, Any, Any], limit: Limit = 20) -> Response[Envelope]:
        require_operator(request)
        return reply(request, "work", await asking.listed(service, limit=limit))

    return [long_work, settle, void, extend, round_figures, steps, reconciled, reconcile]
