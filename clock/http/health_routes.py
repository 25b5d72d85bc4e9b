"""Paths for load balancers and Prometheus."""

from typing import Any

from litestar import MediaType, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST

from clock import metrics
from clock.operators.readiness import readiness
from clock.operators.watch import Watch, measured
from clock.service import Service


def health_routes(service: Service, watch: Watch) -> list[ControllerRouterHandler]:
    @get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", responses={503: ResponseSpec(dict[str, Any], description="It should get no traffic")})
    async def readyz() -> Response[dict[str, Any]]:
        ready, parts = await readiness(service)
        return Response(parts, status_code=200 if ready else 503)

    @get("/metrics", media_type=MediaType.TEXT)
    async def metrics_text() -> Response[bytes]:
        return Response(metrics.exposition(measured(await watch.look())), media_type=CONTENT_TYPE_LATEST)

    return [healthz, readyz, metrics_text]
