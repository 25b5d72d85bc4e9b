"""Money that waits for the provider."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get
from litestar.params import FromPath, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.http.ordinary import RESPONSES, Limit, Page, day_of, reply, require_operator
from clock.http.wire import Envelope
from clock.operators import money
from clock.service import Service

AskedDay = Annotated[str | None, QueryParameter(description="YYYY-MM-DD: of this round alone")]

OutgoingState = Annotated[
    Literal["failed", "stuck", "owed", "unknown", "processing", "done"],
    QueryParameter(name="state", description="stuck: tried for hours and still not ended"),
]


def money_routes(service: Service) -> list[ControllerRouterHandler]:
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
