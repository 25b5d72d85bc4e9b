"""The lean lane's part of the OpenAPI document. Litestar describes the ordinary handlers, this module the bare ones."""

import re
from typing import Any

import msgspec
from litestar import Litestar
from litestar._openapi.plugin import OpenAPIPlugin
from litestar.handlers import ASGIRouteHandler

from clock.http.lane import Endpoint
from clock.http.wire import Envelope

REPLIES = {
    200: "The game's answer, yes or no",
    400: "bad_request",
    404: "order_not_found",
    413: "too_large",
    503: "busy, unavailable: safe to send again",
}
SECURED = {401: "unauthenticated, bad_signature", 403: "forbidden", 429: "slow_down"}


def describe(app: Litestar) -> None:
    """Add the bare routes to the document that ``app`` serves."""
    document = app.plugins.get(OpenAPIPlugin).provide_openapi_schema()
    components = document.setdefault("components", {})
    components.setdefault("securitySchemes", {})["bearer"] = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    for route in app.routes:
        handler = getattr(route, "route_handler", None)
        if isinstance(handler, ASGIRouteHandler) and "lean" in handler.opt:
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
            for method, endpoint in handler.opt["lean"].endpoints.items():
                operation = _operation(components, handler.name or "", method, endpoint, path)
                document["paths"].setdefault(path, {})[method.lower()] = operation
    document["paths"] = dict(sorted(document["paths"].items()))


def _operation(components: dict[str, Any], verb: str, method: str, endpoint: Endpoint, path: str) -> dict[str, Any]:
    callback = path.startswith("/callbacks")
    replies = {**REPLIES, **(SECURED if endpoint.secured else {401: "bad_signature"} if callback else {})}
    reply = _schema(components, Envelope)
    operation: dict[str, Any] = {
        "operationId": f"{verb}_{method.lower()}",
        "summary": verb,
        "responses": {
            str(status): {"description": text, "content": {"application/json": {"schema": reply}}}
            for status, text in replies.items()
        },
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "date"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ],
    }
    if endpoint.secured:
        operation["security"] = [{"bearer": []}]
    if endpoint.request_type is not None:
        body = _schema(components, endpoint.request_type)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _schema(components: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    (reference,), schemas = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    components.setdefault("schemas", {}).update(schemas)
    return reference
