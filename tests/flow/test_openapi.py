"""The OpenAPI document is true: whatever it allows is sent to the running service, whatever comes back is in it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import hypothesis
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from clock.channels import webhooks
from clock.config import Settings
from clock.domain.outcomes import OUTCOMES
from clock.http.schema.paths import PATHS
from tests.conftest import DAY, WEBHOOK_SECRET, Api, at
from tests.document import check_reply, kept

CONTRACT = {
    "POST": [
        "/api/summary",
        "/api/join",
        "/api/check-in/status",
        "/api/check-in",
        "/api/claim",
        "/api/remind",
        "/api/alert/ack",
        "/callbacks/platform",
        "/callbacks/wechat",
        "/callbacks/alipay",
        "/ops/rounds/{day}/settle",
        "/ops/rounds/{day}/void",
        "/dev/token",
        "/dev/confirm",
        "/dev/pay",
    ],
    "GET": [
        "/api/me",
        "/api/me/history",
        "/api/me/yesterday",
        "/api/summary",
        "/api/talents",
        "/api/board",
        "/api/rounds/{day}",
        "/api/rounds/{day}/packets",
        "/ops/rounds/{day}",
        "/ops/quarantine",
        "/ops/reconcile/{day}",
        "/healthz",
        "/readyz",
        "/metrics",
    ],
    "PUT": ["/dev/time"],
    "DELETE": ["/dev/time"],
}

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def described() -> bool:
    return True


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Thousands of requests of the same few users are not what is tested here."""
    return msgspec.structs.replace(settings, user_rate=1_000_000)


class Caller(AuthBase):
    """Signs callbacks, and shows the token that the path wants."""

    def __init__(self, api: Api) -> None:
        self.user = api.token(7, "service")["authorization"]
        self.operator = api.token(99, "operator")["authorization"]
        self.signatures = webhooks.Signatures(WEBHOOK_SECRET)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, bytes | str)
        raw = body.encode() if isinstance(body, str) else body
        if "/callbacks/" in str(request.url):
            request.headers.update(self.signatures.sign(raw))
        else:
            request.headers["authorization"] = self.operator if "/ops/" in str(request.url) else self.user
        return request


def fuzz(url: str, caller: Caller, examples: int) -> int:
    """Send what the document allows to every path; how many operations it has."""
    schema = schemathesis.openapi.from_url(f"{url}/schema/openapi.json")
    operations = [cast(Any, result).ok() for result in schema.get_all_operations()]
    for operation in operations:
        if operation.path == "/dev/time":
            continue  # it would move the ground on which the others stand

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, auth=caller, timeout=10)

        holds()
    return len(operations)


@pytest.mark.long
async def test_whatever_the_document_allows_is_answered_as_it_says_and_never_breaks(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (7, 8):
        await api.member(uid)
    api.service.time.stop_at(at("06:00", 1))
    assert await asyncio.to_thread(fuzz, api.url, Caller(api), 12) >= 15


async def test_unsigned_callbacks_and_strangers_get_documented_replies_too(api: Api) -> None:
    api.service.time.stop_at(at("06:00", 1))
    stranger = Caller(api)
    stranger.user = stranger.operator = "Bearer nobody"
    stranger.signatures = webhooks.Signatures("whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgMzIgYnl0ZXM=")
    assert await asyncio.to_thread(fuzz, api.url, stranger, 2) >= 15


async def document(api: Api) -> dict[str, Any]:
    _, reply = await api.send("GET", "/schema/openapi.json")
    return reply


async def test_every_path_of_the_contract_that_is_served_is_in_the_document(api: Api) -> None:
    paths = (await document(api))["paths"]
    await api.service.opener.open_round(DAY)
    for method, templates in CONTRACT.items():
        for template in templates:
            path = template.replace("{day}", DAY.isoformat())
            async with api.session.request(method, api.url + path) as reply:
                served = b'"code":"not_found"' not in await reply.read()
            assert served == (method.lower() in paths.get(template, {})), (method, template)


async def test_the_document_says_what_a_body_needs_and_who_may_send_it(api: Api) -> None:
    api_document = await document(api)
    assert api_document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, methods in api_document["paths"].items():
        for method, operation in methods.items():
            assert operation["responses"], (path, method)
            if method == "post" and path.startswith("/api/"):
                assert operation["security"] == [{"bearer": []}], path
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                body = api_document["components"]["schemas"][reference.rsplit("/", 1)[1]]
                assert "uid" in body["required"], path
                assert body["properties"]["uid"]["type"] == "integer"


async def test_the_kept_document_is_the_one_that_is_served(api: Api) -> None:
    assert await document(api) == kept(), "clock openapi > docs/openapi.json"


def test_every_answer_in_the_document_has_words_that_are_sent_with_its_status() -> None:
    components = kept()["components"]
    for path, methods in kept()["paths"].items():
        for method, operation in methods.items():
            for status, reply in operation["responses"].items():
                reply = components["responses"][reply["$ref"].rpartition("/")[2]] if "$ref" in reply else reply
                schema = reply["content"].get("application/json", {}).get("schema", {})
                for name in re.findall(r"#/components/schemas/(\w+)", str(schema)):
                    properties = components["schemas"][name]["properties"]
                    if {"code", "message"} <= properties.keys():
                        words, where = properties["code"]["enum"], (path, method, status)
                        assert {OUTCOMES[word].http for word in words} == {int(status)}, where
                        assert {OUTCOMES[word].status for word in words} == {properties["status"]["const"]}, where


def test_every_word_can_be_answered_somewhere() -> None:
    words = {word for path in PATHS.values() for word in path.words}
    months = {"month_archived", "month_restored", "month_held", "month_not_found", "month_not_archived"}
    of_commands = {*months, "nothing_due", "archive_damaged", "disk_full", "made_good"}
    assert OUTCOMES.keys() - words == {"method_not_allowed", *of_commands}  # of no path that is described


def test_examples_are_what_would_be_answered() -> None:
    found = 0
    for path, methods in kept()["paths"].items():
        for method, operation in methods.items():
            content = operation["responses"]["200"]["content"].get("application/json", {})
            for example in content.get("examples", {}).values():
                found += 1
                check_reply(method, path, 200, example["value"])
    assert found > 5


@pytest.fixture
async def stranger() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_page_of_the_document_asks_nobody_else_for_anything(
    api: Api, stranger: aiohttp.ClientSession
) -> None:
    async with stranger.get(f"{api.url}/schema") as reply:
        assert (reply.status, reply.content_type) == (200, "text/html")
        page = await reply.text()
    linked = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page)
    assert len(linked) >= 2
    assert [link for link in linked if re.match(r"(https?:)?//", link)] == []
    loaded = re.sub(r"http://www\.w3\.org/\S+", "", page)
    assert re.findall(r"https?://(?!127\.0\.0\.1|localhost)[\w.-]+", loaded) == []
    for link in linked:
        if not link.startswith("data:"):
            async with stranger.get(f"{api.url}{link}") as reply:
                assert reply.status == 200, link
                assert await reply.read(), link
