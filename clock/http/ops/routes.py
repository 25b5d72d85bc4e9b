"""All of operators' paths."""

from typing import Any

from litestar import Request, Response, get
from litestar.types import ControllerRouterHandler

from clock.http.ops.events import event_routes
from clock.http.ops.export import export_routes
from clock.http.ops.money import failed_routes, money_routes
from clock.http.ops.people import people_routes
from clock.http.ops.quarantine import quarantine_routes
from clock.http.ops.records import record_routes
from clock.http.ops.rounds import round_routes
from clock.http.ops.rules import rules_routes
from clock.http.ordinary import reply, require_operator, signed_in
from clock.http.wire import Envelope
from clock.operators.watch.watcher import Watch
from clock.service import Service


def operator_routes(service: Service, watch: Watch) -> list[ControllerRouterHandler]:
    @get(
        "/ops/live",
        description="What happens now in all processes, what waits, and the alarms: what needs a person.",
    )
    async def live(request: Request[Any, Any, Any]) -> Response[Envelope]:
        require_operator(request)
        return reply(request, "live", await watch.live())

    of_rounds = (round_routes, money_routes, failed_routes, quarantine_routes, export_routes, rules_routes)
    subjects = (*of_rounds, people_routes, record_routes, event_routes)
    return signed_in(service.tokens, live, *(route for routes in subjects for route in routes(service)))
