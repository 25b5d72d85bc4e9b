"""Pages of other origins: a browser may read the answers to those that are named, and to no others."""

from typing import Any

import pytest

from tests.conftest import Api, at
from tests.flow.http.stage import ME, Phone, Reply, ask, json, request

HOST = "https://host.example"
OTHER = "http://localhost:8443"
STRANGER = "https://stranger.example"

named = pytest.mark.parametrize("changes", [{"origins": f"{HOST} {OTHER}"}], ids=["named"])

BODY = json({"uid": ME})


def shared_with(reply: Reply) -> str | None:
    return reply.headers.get("access-control-allow-origin")


async def preflight(api: Api, path: str, origin: str) -> tuple[int, dict[str, str]]:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    async with api.session.options(api.url + path, headers=headers) as reply:
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}


@named
@pytest.mark.parametrize("origin", [HOST, OTHER])
async def test_a_named_origin_may_ask_and_read(api: Api, origin: str) -> None:
    api.service.time.stop_at(at("20:00"))
    status, headers = await preflight(api, "/api/check-in", origin)
    assert (status, headers["access-control-allow-origin"]) == (204, origin)
    assert "POST" in headers["access-control-allow-methods"].split(", ")
    assert {"authorization", "content-type", "accept-language"} == set(
        headers["access-control-allow-headers"].split(", ")
    )
    assert int(headers["access-control-max-age"]) > 60
    assert "access-control-allow-credentials" not in headers, "a token is shown, never a cookie"
    token = api.token(ME)["authorization"]
    for method, path in (("POST", "/api/check-in"), ("GET", "/api/me"), ("GET", "/api/summary"), ("GET", "/nowhere")):
        reply = await ask(api, method, path, BODY if method == "POST" else None, origin=origin, authorization=token)
        assert shared_with(reply) == origin, path
        assert reply.headers["access-control-expose-headers"] == "retry-after"
        assert "origin" in reply.headers["vary"]


@named
async def test_refusals_can_be_read_too(api: Api) -> None:
    reply = await ask(api, "POST", "/api/check-in", BODY, origin=HOST)
    assert (reply.status, shared_with(reply)) == (401, HOST)
    reply = await ask(api, "POST", "/api/check-in", b"x" * 70_000, origin=HOST)
    assert (reply.status, shared_with(reply)) == (413, HOST)


@named
@pytest.mark.parametrize("origin", [STRANGER, "null", f"{HOST}.evil.example", f"{HOST}:444", HOST.upper(), ""])
async def test_no_other_origin_may(api: Api, origin: str) -> None:
    api.service.time.stop_at(at("20:00"))
    status, headers = await preflight(api, "/api/check-in", origin)
    assert status == 405
    assert not any(name.startswith("access-control") for name in headers)
    token = api.token(ME)["authorization"]
    for method, path in (("POST", "/api/check-in"), ("GET", "/api/summary")):
        reply = await ask(api, method, path, BODY if method == "POST" else None, origin=origin, authorization=token)
        assert shared_with(reply) is None
        assert "origin" in reply.headers["vary"], "a cache must not give this to a named origin"


async def test_without_the_setting_nothing_is_said_of_origins(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    assert (await preflight(api, "/api/check-in", HOST))[0] == 405
    for method, path in (("POST", "/api/check-in"), ("GET", "/api/summary")):
        reply = await ask(api, method, path, BODY if method == "POST" else None, origin=HOST)
        assert not any(name.startswith("access-control") for name in reply.headers)
        assert "origin" not in reply.headers.get("vary", "")


@named
async def test_answers_on_one_connection_are_each_for_their_own_origin(api: Api, phone: Phone) -> None:
    asked: Any = [HOST, STRANGER, OTHER, HOST]
    await phone.say(b"".join(request(api, Origin=origin) for origin in asked))
    shown = [(await phone.answer())[1].get("access-control-allow-origin") for _ in asked]
    assert shown == [HOST, None, OTHER, HOST]


@named
async def test_a_question_that_is_no_preflight_is_refused_as_ever(api: Api) -> None:
    async with api.session.options(f"{api.url}/api/check-in", headers={"origin": HOST}) as reply:
        assert (reply.status, (await reply.json())["code"]) == (405, "method_not_allowed")
