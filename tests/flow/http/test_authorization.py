"""Who may ask: a good token, its own user, the right role; what needs one is stored nowhere on its way."""

import time
from typing import Any

import jwt
import pytest

from tests.conftest import JWT_SECRET, Api
from tests.flow.http.stage import ME, OTHER, ask, json, user_verbs


def signed(key: str = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": str(ME), "exp": int(time.time()) + 60, **claims}, key, algorithm=algorithm)


BAD_CREDENTIALS = {
    "none": "",
    "no token": "Bearer",
    "garbage": "Bearer garbage",
    "three parts of garbage": "Bearer a.b.c",
    "another scheme": f"Basic {signed()}",
    "expired": f"Bearer {signed(exp=int(time.time()) - 1)}",
    "of another key": f"Bearer {signed('another secret, which is also 32 bytes long')}",
    "of no algorithm": f"Bearer {signed('', 'none')}",
    "cut": f"Bearer {signed()[:-2]}",
    "for ever": f"Bearer {jwt.encode({'sub': str(ME)}, JWT_SECRET)}",
    "of nobody": f"Bearer {jwt.encode({'exp': int(time.time()) + 60}, JWT_SECRET)}",
}


async def test_without_a_good_token_nobody_is_served(api: Api) -> None:
    posts = [*user_verbs(api), "/ops/rounds/2026-11-22/settle", "/ops/rounds/2026-11-22/void"]
    gets = ["/ops/quarantine", "/ops/rounds/2026-11-22"]
    for method, path in [("POST", path) for path in posts] + [("GET", path) for path in gets]:
        for what, authorization in BAD_CREDENTIALS.items():
            headers = {"authorization": authorization} if authorization else {}
            reply = await ask(api, method, path, json({"uid": ME}) if method == "POST" else None, **headers)
            assert (reply.status, reply.code) == (401, "unauthenticated"), (path, what)


async def test_a_user_acts_for_nobody_else_and_a_service_for_anybody(api: Api) -> None:
    for path in user_verbs(api):
        reply = await ask(api, "POST", path, json({"uid": OTHER}), **api.token(ME))
        assert (reply.status, reply.code) == (403, "forbidden"), path
        assert (await ask(api, "POST", path, json({"uid": OTHER}), **api.token(ME, "service"))).status == 200, path


async def test_only_an_operator_operates(api: Api) -> None:
    requests = [
        ("GET", "/ops/quarantine", None),
        ("GET", "/ops/rounds/2026-11-22", None),
        ("POST", "/ops/rounds/2026-11-22/settle", b"{}"),
        ("POST", "/ops/rounds/2026-11-22/void", b'{"reason": "an outage"}'),
    ]
    for method, path, body in requests:
        for role in ("user", "service"):
            reply = await ask(api, method, path, body, **api.token(ME, role))
            assert (reply.status, reply.code) == (403, "forbidden"), (path, role)
        assert (await ask(api, method, path, body, **api.token(ME, "operator"))).code not in ("forbidden", "internal")


@pytest.mark.parametrize("path", ["/api/me", "/api/me/history", "/api/me/yesterday", "/ops/quarantine"])
async def test_what_needs_a_token_is_stored_nowhere_on_its_way(api: Api, path: str) -> None:
    reply = await ask(api, "GET", path, **api.token(ME, "operator"))
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
