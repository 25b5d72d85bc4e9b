"""Paths for load balancers and Prometheus."""

import asyncio
import hmac
from time import monotonic
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST

from clock import metrics
from clock.http.refusals import Refused
from clock.operators.readiness import readiness
from clock.operators.watch.gauges import measured
from clock.operators.watch.watcher import Watch
from clock.service import Service

FRESH_SECONDS = 1.0


class Exposition:
    """The text for Prometheus, made at most once a second however many ask: it takes milliseconds of the process."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._turn = asyncio.Lock()
        self._made: tuple[float, bytes] | None = None

    async def text(self) -> bytes:
        async with self._turn:
            if self._made is None or monotonic() - self._made[0] > FRESH_SECONDS:
                text = metrics.exposition(measured(await self._watch.look()))
                self._made = (monotonic(), text)
            return self._made[1]


def health_routes(service: Service, watch: Watch, metrics_token: str) -> list[ControllerRouterHandler]:
    exposition = Exposition(watch)

    @get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", responses={503: ResponseSpec(dict[str, Any], description="It should get no traffic")})
    async def readyz() -> Response[dict[str, Any]]:
        ready, parts = await readiness(service)
        return Response(parts, status_code=200 if ready else 503)

    @get("/metrics", media_type=MediaType.TEXT)
    async def metrics_text(request: Request[Any, Any, Any]) -> Response[bytes]:
        given = request.headers.get("authorization", "").encode("latin-1")
        if metrics_token and not hmac.compare_digest(given, b"Bearer " + metrics_token.encode()):
            raise Refused("unauthenticated")
        return Response(await exposition.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    return [healthz, readyz, metrics_text]
