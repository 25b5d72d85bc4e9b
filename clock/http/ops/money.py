"""Money that waits for the provider."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.http.ops.rounds import replied
from clock.http.ordinary import Limit, Page, day_of, named, reply, require_operator
from clock.http.wire import AllRequest, Envelope, ReasonRequest
from clock.operators import money, verbs
from clock.operators.work.asking import asked
from clock.service import Service

AskedDay = Annotated[str | None, QueryParameter(description="YYYY-MM-DD: of this round alone")]

OutgoingState = Annotated[
    Literal["failed", "stuck", "owed", "unknown", "processing", "done"],
    QueryParameter(name="state", description="stuck: tried for hours and still not ended"),
]


Handled = Annotated[bool, QueryParameter(description="Failed ones that were seen to as well")]


def money_routes(service: Service) -> list[ControllerRouterHandler]:
    @get("/ops/outgoing")
    async def outgoing(
        request: Request[Any, Any, Any],
        which: OutgoingState = "failed",
        day: AskedDay = None,
        all: Handled = False,
        page: Page = 1,
        limit: Limit = 50,
    ) -> Response[Envelope]:
        of = None if day is None else day_of(day)
        require_operator(request)
        return reply(request, "outgoing", await money.outgoing(service.store, which, page, limit, of, all))

    @get("/ops/unanswered/{day:str}")
    async def unanswered(
        request: Request[Any, Any, Any], day: FromPath[str], page: Page = 1, limit: Limit = 50
    ) -> Response[Envelope]:
        of = day_of(day)
        require_operator(request)
        return reply(request, "unanswered", await money.unanswered(service.store, of, page, limit))

    @post(
        "/ops/outgoing/{no:str}/again",
        status_code=200,
        description="Send a failed refund again under its number, or a failed payout under a new one.",
    )
    async def again(
        request: Request[Any, Any, Any], no: FromPath[str], data: JSONBody[ReasonRequest]
    ) -> Response[Envelope]:
        by = named(request, "money")
        return reply(request, "again", await verbs.again(service, by, no, data.reason))

    @post(
        "/ops/outgoing/{no:str}/acknowledge",
        status_code=200,
        description="A failed refund or payout was seen to: it rings no longer. The money stays in the user's balance.",
    )
    async def acknowledge(
        request: Request[Any, Any, Any], no: FromPath[str], data: JSONBody[ReasonRequest]
    ) -> Response[Envelope]:
        by = named(request, "money")
        return reply(request, "acknowledge", await verbs.acknowledge(service, by, no, data.reason))

    return [outgoing, unanswered, again, acknowledge]


def failed_routes(service: Service) -> list[ControllerRouterHandler]:
    """About everything of a kind that has failed."""

    @post(
        "/ops/outgoing/again",
        status_code=200,
        description="Send everything of a kind again that has failed and nobody has seen to, each as one alone.",
    )
    async def all_again(request: Request[Any, Any, Any], data: JSONBody[AllRequest]) -> Response[Envelope]:
        by = named(request, "money")
        return replied(request, "all_again", await verbs.all_again(service, by, data.kind, data.reason, asked))

    @post(
        "/ops/outgoing/acknowledge",
        status_code=200,
        description="Everything of a kind that has failed was seen to: it rings no longer.",
    )
    async def all_acknowledged(request: Request[Any, Any, Any], data: JSONBody[AllRequest]) -> Response[Envelope]:
        by = named(request, "money")
        answer = await verbs.all_acknowledged(service, by, data.kind, data.reason, asked)
        return replied(request, "all_acknowledged", answer)

    return [all_again, all_acknowledged]
