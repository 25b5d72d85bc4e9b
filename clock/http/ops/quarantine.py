"""Signed callbacks that wait for a decision."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.http.ordinary import Limit, Page, entry_of, named, reply, require_operator
from clock.http.wire import Envelope, ReleaseRequest
from clock.operators import quarantine, verbs
from clock.service import Service

Waiting = Annotated[bool, QueryParameter(description="Only those that wait for a decision")]


def quarantine_routes(service: Service) -> list[ControllerRouterHandler]:
    @get("/ops/quarantine", operation_id="OpsQuarantineQuarantine", summary="Quarantine")
    async def quarantined(
        request: Request[Any, Any, Any], waiting: Waiting = False, page: Page = 1, limit: Limit = 50
    ) -> Response[Envelope]:
        require_operator(request)
        return reply(
            request, "quarantine", await quarantine.quarantined(service.store, service.channels, page, limit, waiting)
        )

    @post(
        "/ops/quarantine/{entry:str}/release",
        status_code=200,
        description="Decide about a quarantined callback once: owe its payment back, or answered otherwise.",
    )
    async def release(
        request: Request[Any, Any, Any], entry: FromPath[str], data: JSONBody[ReleaseRequest]
    ) -> Response[Envelope]:
        one = entry_of(entry)
        by = named(request, "money")
        return reply(request, "release", await verbs.release(service, by, one, data.action, data.reason))

    return [quarantined, release]
