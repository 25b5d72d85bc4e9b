"""The book of rules: what days are like, planning other rules, taking a plan back."""

from datetime import date
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.http.ordinary import Limit, Page, day_of, named, reply, require_operator
from clock.http.refusals import Refused
from clock.http.wire import Envelope
from clock.operators import rulebook
from clock.service import Service

From = Annotated[str | None, QueryParameter(name="from", description="YYYY-MM-DD: the first day shown; else today")]
Days = Annotated[int, QueryParameter(ge=1, le=rulebook.MOST_DAYS)]


class TakeBackRequest(msgspec.Struct, frozen=True):
    reason: rulebook.Reason


def rules_routes(service: Service) -> list[ControllerRouterHandler]:
    @get("/ops/rules", description="The book of rules, every change, and what days will be like.")
    async def rules(
        request: Request[Any, Any, Any], first: From = None, days: Days = 31, page: Page = 1, limit: Limit = 50
    ) -> Response[Envelope]:
        shown_from: date | None = None if first is None else day_of(first)
        require_operator(request)
        return reply(request, "rules", await rulebook.shown(service, shown_from, days, page, limit))

    @post(
        "/ops/rules",
        status_code=200,
        description="Plan other rules for days whose round does not exist yet; with preview only say what they would "
        "be like. The same again is the same change.",
    )
    async def plan_rules(request: Request[Any, Any, Any], data: JSONBody[rulebook.Plan]) -> Response[Envelope]:
        by = named(request, "rules")
        if not (data.reason or data.preview):
            raise Refused("bad_request", "reason is required")
        return reply(request, "plan_rules", await rulebook.plan(service, by, data))

    @post(
        "/ops/rules/{change:int}/take-back",
        status_code=200,
        description="Take a change back, as long as no round was opened by it.",
    )
    async def take_back_rules(
        request: Request[Any, Any, Any], change: FromPath[int], data: JSONBody[TakeBackRequest]
    ) -> Response[Envelope]:
        by = named(request, "rules")
        return reply(request, "take_back_rules", await rulebook.take_back(service, by, change, data.reason))

    return [rules, plan_rules, take_back_rules]
