"""The OpenAPI document as it is kept, held against what is sent: whatever it does not describe is wrong."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def kept() -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(FILE.read_bytes())
    return document


@cache
def _strict() -> dict[str, Any]:
    """The document without leave for fields that it does not name."""
    document = kept()
    _close(document)
    return document


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for inner in schema.values():
            _close(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _close(inner)


@cache
def _validator(schema: str) -> Any:
    whole = {**msgspec.json.decode(schema), "components": _strict()["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def _check(schema: dict[str, Any], value: Any, where: str) -> None:
    errors = [
        f"{error.message} at {'/'.join(map(str, error.instance_path))}"
        for error in _validator(msgspec.json.encode(schema).decode()).iter_errors(value)
    ]
    assert not errors, f"{where}: {value} is not described: {'; '.join(errors)}"


def operation_of(method: str, path: str) -> str | None:
    """The template of a path with that method, if the document has it; one without parameters comes first."""
    bare = path.partition("?")[0]
    for template, methods in sorted(_strict()["paths"].items(), key=lambda one: "{" in one[0]):
        pattern = re.sub(r"\{\w+\}", "[^/]+", template.replace("{tile}", ".+"))  # it has slashes
        if re.fullmatch(pattern, bare) and method.lower() in methods:
            return str(template)
    return None


def check_reply(method: str, path: str, status: int, reply: Any) -> None:
    """The reply is one of those that the document has for this path and status."""
    template = operation_of(method, path)
    assert template, f"{method} {path} is not in the document"
    responses = _strict()["paths"][template][method.lower()]["responses"]
    where = f"{method} {template} {status}"
    assert str(status) in responses, f"{where} is not in the document"
    response = responses[str(status)]
    if "$ref" in response:
        response = _strict()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    _check(response["content"]["application/json"]["schema"], reply, where)


def check_request(method: str, path: str, body: Any) -> None:
    """The body is what the document wants there."""
    operation = _strict()["paths"][operation_of(method, path)][method.lower()]
    _check(operation["requestBody"]["content"]["application/json"]["schema"], body, f"{method} {path}")


def check_sent(name: str, body: Any, status: int | None = None, reply: Any = None) -> None:
    """A call or an event of the service's is what the document says that it sends; so is the receiver's reply."""
    operation = _strict()["webhooks"][name]["post"]
    _check(operation["requestBody"]["content"]["application/json"]["schema"], body, name)
    if status is not None:
        content = operation["responses"][str(status)]["content"]
        _check(content["application/json"]["schema"], reply, f"{name} {status}")
