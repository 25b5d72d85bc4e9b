"""The OpenAPI document that the service serves, and that is kept as docs/openapi.json.

Litestar says what the ordinary handlers take, the lane what its verbs take; what they answer is in
:mod:`clock.http.schema`.
"""

import re
from typing import Any

import msgspec
from litestar import Litestar
from litestar._openapi.plugin import OpenAPIPlugin
from litestar.handlers import ASGIRouteHandler

from clock.http.forms import ENVELOPE
from clock.http.lane import Endpoint
from clock.http.schema.path import TAGS, Path
from clock.http.schema.paths import PATHS
from clock.http.schema.responses import JSON, Schemas, responses, shapes, webhooks

ABOUT = """The service of an early-rise check-in game: stake today, get up tomorrow, share what the sleepers left.

Money is whole fen (1 yuan = 100 fen). Instants are ms since the epoch, dates YYYY-MM-DD in the game's time zone.
`code` is stable and for programs; `message` is for people. Every verb may be sent again with the same body.
Fields may be added to any object: ignore those that you do not know."""

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Claims: `sub` (the uid as a text), `exp`, and `role` if it is not `user` (docs/embedding.md)",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Standard Webhooks, with `webhook-id` and `webhook-timestamp` (docs/platform.md)",
    },
}
SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "players": [{"bearer": []}],
    "operators": [{"bearer": []}],
    "callbacks": [{"signature": []}],
}
"""By tag. Prometheus' token is a setting's, not a user's."""


IN_PATHS = {
    "day": {"description": "The round, YYYY-MM-DD", "schema": {"type": "string", "format": "date"}},
    "entry": {"description": "SHA-256 in hexadecimal", "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    "no": {
        "description": "As `/ops/outgoing` lists it",
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z]{1,40}$"},
    },
    "uid": {"description": "The user", "schema": {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}},
    "change": {"description": "As `/ops/rules` lists it", "schema": {"type": "integer", "minimum": 1}},
    "event": {"description": "Its `webhook-id`", "schema": {"type": "string", "pattern": "^[0-9A-Za-z_]{1,64}$"}},
}
"""Parameters of paths, by name; their handlers take a text, and refuse what it should not be."""


def text_of(app: Litestar) -> str:
    """The document that ``app`` serves, in the order of names."""
    document = app.plugins.get(OpenAPIPlugin).provide_openapi_schema()
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1).decode() + "\n"


def describe(app: Litestar) -> None:
    """Complete the document that ``app`` serves."""
    document = app.plugins.get(OpenAPIPlugin).provide_openapi_schema()
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    refusals: dict[str, Any] = {}
    schemas.update(_schemas(shapes()))
    for route in app.routes:
        handler = getattr(route, "route_handler", None)
        lean = handler.opt.get("lean") if isinstance(handler, ASGIRouteHandler) else None
        if lean and lean.form is ENVELOPE:  # a provider's own form is described by the provider
            for method, endpoint in lean.endpoints.items():
                document["paths"].setdefault(route.path, {})[method.lower()] = _taken(endpoint, schemas)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if described := PATHS.get((method.upper(), path)):
                methods[method] = _complete(described, operation, schemas, refusals)
    schemas.pop("Envelope", None)  # what Litestar thinks that handlers answer
    components.update(securitySchemes=SCHEMES, schemas=schemas, responses=refusals)
    document["info"]["description"] = ABOUT
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    document["paths"] = dict(sorted(document["paths"].items()))
    document["webhooks"] = webhooks()


def _taken(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    """What a verb of the lane takes."""
    kind = endpoint.request_type
    if kind is None:
        return {}
    schemas.update(_schemas({kind}))
    body = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}
    return {"requestBody": {"required": True, "content": {JSON: body}}}


def _complete(path: Path, operation: dict[str, Any], schemas: Schemas, refusals: Schemas) -> dict[str, Any]:
    """The operation with what the handler takes, and what the path answers."""
    whole = {
        "operationId": path.name,
        "tags": [path.tag],
        "summary": path.summary,
        "description": path.description,
        "security": [*SECURITY.get(path.tag, []), *([{}] if path.stranger else [])],
        "parameters": [
            *(_parameter(one) for one in operation.get("parameters", [])),
            *(
                {"name": name, "in": "query", "schema": {"const": "1"}, "description": why}
                for name, why in path.asked.items()
            ),
        ],
        "requestBody": operation.get("requestBody"),
        "responses": responses(path, schemas, refusals),
    }
    return {name: value for name, value in whole.items() if value}


def _parameter(one: dict[str, Any]) -> dict[str, Any]:
    """Without what is so by default."""
    said = {name: value for name, value in one.items() if value is not False}
    return {**said, **IN_PATHS.get(one["name"], {})} if one["in"] == "path" else said


def _schemas(kinds: set[type[msgspec.Struct]]) -> Schemas:
    in_order = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(in_order, ref_template="#/components/schemas/{name}")
    assert schemas.keys() >= {kind.__name__ for kind in kinds}, "two shapes have one name"
    return {name: _shown(schema) for name, schema in schemas.items()}


def _shown(schema: dict[str, Any]) -> dict[str, Any]:
    """The title is the component's name; line breaks in a docstring mean nothing; fields may be added."""
    dropped = ("title", "additionalProperties") if schema.get("additionalProperties") is False else ("title",)
    shown = {name: value for name, value in schema.items() if name not in dropped}
    if text := shown.get("description"):
        shown["description"] = re.sub(r"\s+", " ", text)
    return shown
