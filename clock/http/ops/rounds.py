"""One round: its figures, its steps, settling, voiding, extending and reconciling it."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from clock.domain.outcomes import Answer
from clock.http.ordinary import RESPONSES, day_of, reply, require_operator
from clock.http.wire import Envelope, ExtendRequest, VoidRequest
from clock.operators import rounds
from clock.service import Service


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
        by_whom = f"operator {require_operator(request)}"
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
