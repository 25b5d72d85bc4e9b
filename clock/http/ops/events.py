"""Events for hosts, for operators and for the host's own back end."""

import re
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.hs256 import Right
from clock.http.ops.money import AskedDay
from clock.http.ordinary import Limit, Page, day_of, named, reply
from clock.http.refusals import Refused
from clock.http.wire import Envelope, ReasonRequest
from clock.operators import events, verbs
from clock.operators.acts import By
from clock.service import Service
from clock.tokens import Caller

EventState = Annotated[
    Literal["due", "sent", "given_up"] | None, QueryParameter(name="state", description="Only those in this state")
]


def event_routes(service: Service) -> list[ControllerRouterHandler]:
    @get("/ops/events", description="Events for hosts, newest first; kept for 30 days.")
    async def list_events(
        request: Request[Any, Any, Any],
        which: EventState = None,
        day: AskedDay = None,
        page: Page = 1,
        limit: Limit = 50,
    ) -> Response[Envelope]:
        of = None if day is None else day_of(day)
        require_host(request, "read")
        return reply(request, "events", await events.events(service.store, which, of, page, limit))

    @post(
        "/ops/events/{event:str}/again",
        status_code=200,
        description="Send an event again under the same id, whether it was sent or given up.",
    )
    async def again(
        request: Request[Any, Any, Any], event: FromPath[str], data: JSONBody[ReasonRequest]
    ) -> Response[Envelope]:
        if not re.fullmatch("[0-9A-Za-z_]{1,64}", event):
            raise Refused("bad_request", "event must be at most 64 letters, digits and underscores")
        by = require_host(request, "money")
        return reply(request, "event_again", await verbs.event_again(service, by, event, data.reason))

    return [list_events, again]


def require_host(request: Request[Any, Any, Any], right: Right) -> By:
    """Who calls: an operator with the right, or the host's back end; refuses a user."""
    caller: Caller = request.scope["caller"]  # type: ignore[typeddict-item]
    if caller.role == "service":
        return By(f"service {caller.name}", request.client.host if request.client else "")
    if caller.role != "operator":
        raise Refused("forbidden", "role operator or service is required")
    return named(request, right)
