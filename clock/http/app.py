"""The ASGI application: Litestar with the lean lane, its life, its errors in the envelope."""

import asyncio
import gc
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.handlers import ASGIRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from clock import logs, metrics
from clock.config import Settings, load
from clock.descriptors import clients
from clock.domain.outcomes import Answer
from clock.http import openapi, pages
from clock.http.edge import Edge
from clock.http.health_routes import health_routes
from clock.http.lane import MAX_BODY, Lane, LeanPath
from clock.http.ops.routes import operator_routes
from clock.http.ordinary import reply
from clock.http.players.callbacks import callback_routes
from clock.http.players.proofs import proof_routes
from clock.http.players.routes import log_routes, me_routes, public_routes, user_routes
from clock.http.refusals import refusal
from clock.http.wire import Envelope
from clock.operators import live
from clock.operators.watch.watcher import Watch
from clock.runtime.processes import end_with_parent
from clock.service import Service, end


class Clock(Litestar):
    """Litestar behind its edge, and the paths that the server's protocol may answer without both."""

    lean: Mapping[bytes, LeanPath] = {}
    """By path."""
    origins: frozenset[bytes] = frozenset()
    """Whose pages may read the answers."""
    edge: Edge

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.edge.call(scope, receive, send)


DOCUMENT = OpenAPIConfig(
    title="clock",
    version="1",
    path="/schema",
    render_plugins=[
        SwaggerRenderPlugin(
            js_url="/schema/static/swagger-ui-bundle.js",
            css_url="/schema/static/swagger-ui.css",
            favicon="",
            standalone_preset_js_url="/schema/static/swagger-ui-standalone-preset.js",
        )
    ],
)
"""The OpenAPI document and its page, with no file from elsewhere."""

MoreRoutes = Callable[[Service], list[ControllerRouterHandler]]
"""Makes handlers in addition to the service's own."""


def create_app(settings: Settings | None = None, more_routes: MoreRoutes = lambda _: []) -> Clock:
    """The application; settings from the environment unless given."""
    settings = settings or load(os.environ)
    service = Service(settings)
    watch = Watch(service)
    lane = Lane(service.tokens, settings.user_rate)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        logs.configure("api")
        clients.bound()
        await service.start()
        openapi.describe(app)
        collect_seldom()
        await service.touching.touch()  # whoever is asked now must know when the shards close
        beside = [
            asyncio.create_task(work)
            for work in (live.keep_saying(service.redis), service.touching.keep_touching(), end_with_parent())
        ]
        yield
        await end(beside)
        await service.stop()
        metrics.count()

    handlers = [
        *user_routes(service, lane),
        *callback_routes(service),
        *operator_routes(service, watch),
        *me_routes(service, lane),
        *proof_routes(service, lane),
        *public_routes(service),
        *log_routes(service),
        *health_routes(service, watch, settings.metrics_token),
        *pages.page_routes(settings),
        *more_routes(service),
    ]
    app = Clock(
        handlers,
        lifespan=[lifespan],
        state=State({"service": service}),
        exception_handlers={Exception: refused},
        request_max_body_size=MAX_BODY,
        openapi_config=DOCUMENT,
        logging_config=None,
        debug=False,
    )
    app.lean = {
        path.encode(): handler.opt["lean"]
        for handler in handlers
        if isinstance(handler, ASGIRouteHandler) and "lean" in handler.opt
        for path in handler.paths
    }
    app.origins = settings.browser_origins
    app.edge = Edge(super(Clock, app).__call__, settings, dict(app.lean))
    return app


def collect_seldom() -> None:
    """Exempt the objects that exist at start from garbage collection, and run it seldom: requests leave no cycles
    behind (docs/decisions/0020)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def refused(request: Request[Any, Any, Any], error: Exception) -> Response[Envelope]:
    """The envelope for an exception of an ordinary handler."""
    word, detail = refusal(error, path=request.url.path)
    response = reply(request, "", Answer(word), detail)
    if word == "method_not_allowed":
        response.headers["allow"] = ", ".join(sorted(_methods_of(request.app, request.url.path)))
    return response


def _methods_of(app: Litestar, path: str) -> set[str]:
    """The methods of the ordinary handlers at that path; the pages' are GET alone."""
    methods = {
        method
        for route in app.routes
        if isinstance(route, HTTPRoute) and re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", route.path), path)
        for method in route.methods
        if method != "OPTIONS"
    } or {"GET"}
    return methods | ({"HEAD"} if "GET" in methods else set())
