"""From words and data to the responses of the OpenAPI document: a schema for each status, a variant for each data."""

from typing import Any

import msgspec

from clock.domain.outcomes import OUTCOMES, message
from clock.http.schema.outgoing import ACTIONS, EVENTS, UnknownNumber
from clock.http.schema.path import REFUSALS, Path, Says
from clock.http.schema.paths import PATHS
from clock.http.schema.players import Nothing

JSON = "application/json"

RETRY_AFTER = {
    "Retry-After": {
        "description": "After how many seconds to ask again. Nothing was done, or doing it again is safe.",
        "required": True,
        "schema": {"type": "integer"},
    }
}
BEARER = {
    "WWW-Authenticate": {"description": "`Bearer`", "required": True, "schema": {"type": "string"}},
}
HEADERS: dict[str, dict[str, Any]] = {"slow_down": RETRY_AFTER, "busy": RETRY_AFTER, "unauthenticated": BEARER}
"""Headers of an answer, by a word that may be in it."""

Schemas = dict[str, dict[str, Any]]


def shapes() -> set[type[msgspec.Struct]]:
    """Every struct that the document shows, besides requests."""
    data = {one.data for path in PATHS.values() for one in path.says}
    bare = {kind for path in PATHS.values() for kind in path.bare.values() if not isinstance(kind, str)}
    calls = {kind for action in ACTIONS for kind in (action.body, action.reply)}
    return data | bare | calls | {UnknownNumber, Nothing, *EVENTS.values()}


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def responses(path: Path, schemas: Schemas, refusals: Schemas) -> dict[str, Any]:
    """By HTTP status. Adds the envelopes to ``schemas``, and what many paths refuse alike to ``refusals``."""
    found: dict[str, Any] = {}
    for status, kind in path.bare.items():
        if isinstance(kind, str):
            content = {kind: {"schema": {"type": "string"}}}
        else:
            content = {JSON: {"schema": reference(kind.__name__)}}
        found[str(status)] = {"description": path.summary, "content": content}
    for status in sorted({OUTCOMES[word].http for word in path.words}):
        if str(status) not in found:
            name, response = _response(path, status, schemas)
            alike = status >= 400 and refusals.setdefault(name, response) == response
            found[str(status)] = {"$ref": f"#/components/responses/{name}"} if alike else response
    return dict(sorted(found.items()))


def _response(path: Path, status: int, schemas: Schemas) -> tuple[str, dict[str, Any]]:
    """The response, and the names of its envelopes as one."""
    own = [(one, [word for word in one.words if OUTCOMES[word].http == status]) for one in path.says]
    groups = [(one, words) for one, words in own if words]
    refusals = [word for word in REFUSALS[path.tag] if OUTCOMES[word].http == status]
    if refusals:
        groups.append((Says(tuple(refusals)), refusals))
    variants: dict[str, dict[str, Any]] = {}
    for one, words in groups:
        for said in (1, 0):
            chosen = [word for word in words if OUTCOMES[word].status == said]
            if chosen:
                name = _name(path, one, chosen, status, variants)
                variants[name] = _envelope(said, chosen, one.data)
                assert schemas.setdefault(name, variants[name]) == variants[name], f"two shapes are called {name}"
    named = [reference(name) for name in variants]
    content: dict[str, Any] = {"schema": named[0] if len(named) == 1 else {"oneOf": named}}
    if examples := _examples(path, status):
        content["examples"] = examples
    words = [word for _, words in groups for word in words]
    described = "; ".join(f"`{word}`: {message(path.name, word, 'en')}" for word in words)
    headers = next((HEADERS[word] for word in words if word in HEADERS), None)
    response = {"description": described, "content": {JSON: content}} | ({"headers": headers} if headers else {})
    return "Or".join(variants), response


def _name(path: Path, one: Says, words: list[str], status: int, taken: Schemas) -> str:
    """The component's name: a refusal that says the same everywhere has one for all paths."""
    if status >= 400:
        return "Or".join(map(_capital, words)) + ("" if one.data is Nothing else one.data.__name__)
    name = _capital(path.name) + ("Done" if OUTCOMES[words[0]].status else "Refused")
    return name if name not in taken else name + one.data.__name__


def _capital(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _envelope(status: int, words: list[str], data: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "status": {"const": status, "description": "1: done. 0: refused"},
            "code": {"type": "string", "enum": words, "description": "For programs: stable"},
            "message": {"type": "string", "description": "For people: Chinese, or English by `Accept-Language`"},
            "data": reference(data.__name__),
        },
        "required": ["status", "code", "message", "data"],
    }


def _examples(path: Path, status: int) -> dict[str, Any]:
    return {
        one.words[0]: {
            "value": {
                "status": OUTCOMES[one.words[0]].status,
                "code": one.words[0],
                "message": message(path.name, one.words[0], "en"),
                "data": one.example,
            }
        }
        for one in path.says
        if one.example is not None and OUTCOMES[one.words[0]].http == status
    }


SIGNED = [
    {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
    for name, text in (
        ("webhook-id", "The same for every repetition"),
        ("webhook-timestamp", "Seconds since the epoch; refuse it if it is more than five minutes off"),
        ("webhook-signature", "`v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`, or several of them"),
    )
]


def webhooks() -> dict[str, Any]:
    """The calls and events that the service sends, as OpenAPI 3.1 has them."""
    found: dict[str, Any] = {}
    for action in ACTIONS:
        replies: dict[str, Any] = {"200": _reply("The platform's answer", action.reply)}
        if action.may_not_know:
            replies["404"] = _reply("The number is not known", UnknownNumber)
        else:
            replies["default"] = {"description": "The outcome is unknown, and is asked about"}
        (name,) = next(one.type.__args__ for one in msgspec.structs.fields(action.body) if one.name == "action")
        found[name] = _sent("platform calls", action.body, reference(action.body.__name__), replies)
    for name, data in EVENTS.items():
        replies = {
            "2XX": {"description": "Received"},
            "default": {"description": "Sent again later, with the same `webhook-id`"},
        }
        found[name] = _sent("events", data, _event(name, data), replies)
    return found


def _event(name: str, data: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "type": {"const": name},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened, RFC 3339"},
            "data": reference(data.__name__),
        },
        "required": ["type", "timestamp", "data"],
    }


def _reply(text: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"description": text, "content": {JSON: {"schema": reference(kind.__name__)}}}


def _sent(tag: str, about: type[msgspec.Struct], schema: dict[str, Any], replies: dict[str, Any]) -> dict[str, Any]:
    text = " ".join((about.__doc__ or "").split())
    body = {"required": True, "content": {JSON: {"schema": schema}}}
    return {"post": {"tags": [tag], "summary": text, "parameters": SIGNED, "requestBody": body, "responses": replies}}
