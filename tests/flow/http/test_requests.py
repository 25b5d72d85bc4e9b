"""A request that is none, by its body, uid, profile, query, path, method or size, is refused in the envelope."""

import itertools
from collections.abc import AsyncIterator

import pytest

from tests.conftest import Api, at
from tests.flow.http.stage import EXTRA, ME, Reply, ask, json, unlimited, user_verbs

NOT_A_UID = {
    "a string": "7",
    "a float": 7.0,
    "true": True,
    "null": None,
    "negative": -1,
    "zero": 0,
    "above 2^53-1": 2**53,
    "above 2^64": 2**64 + 7,
    "a list": [7],
}


async def test_a_uid_that_is_not_one_is_a_bad_request_that_names_it(api: Api) -> None:
    for path in user_verbs(api):
        for what, uid in NOT_A_UID.items():
            reply = await ask(api, "POST", path, json({"uid": uid}), **api.token(ME))
            assert (reply.status, reply.code, reply.body["status"]) == (400, "bad_request", 0), (path, what)
            assert "uid" in reply.body["message"], (path, what)
        reply = await ask(api, "POST", path, b"{}", **api.token(ME))
        assert (reply.status, reply.code) == (400, "bad_request"), path
        assert "uid" in reply.body["message"], path


@pytest.mark.parametrize("uid", [1, 2**53 - 1])
async def test_the_smallest_and_the_largest_uid_are_served(api: Api, uid: int) -> None:
    api.service.time.stop_at(at("20:00"))
    for path in user_verbs(api):
        assert (await ask(api, "POST", path, json({"uid": uid}), **api.token(uid))).status == 200, path
    await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    assert (await api.post("/api/check-in", uid))["code"] == "checked_in"


NO_OBJECTS = {
    "cut off": b'{"uid": 7',
    "a list": b"[]",
    "a text": b'"7"',
    "a number": b"7",
    "null": b"null",
    "not UTF-8": b"\xff\xfe",
    "trailing": b'{"uid": 7}{',
    "too deep": b"[" * 60_000,
    "uid twice": b'{"uid": 7, "uid": "7"}',
    "x no UTF-8": b'{"uid": 7, "x": "\xff"}',
}


@unlimited
async def test_what_is_not_a_json_object_is_a_bad_request(api: Api) -> None:
    for (what, raw), path in itertools.product(NO_OBJECTS.items(), user_verbs(api)):
        reply = await ask(api, "POST", path, raw, **api.token(ME))
        assert (reply.status, reply.code, reply.body["data"]) == (400, "bad_request", {}), (path, what)


async def test_a_profile_of_the_wrong_type_is_a_bad_request_that_names_the_field(api: Api) -> None:
    for field, value in itertools.product(("mobile", "nickname", "openId"), (7, True, ["x"], {}, "x" * 129, "a\0b")):
        for path in ("/api/join", "/api/summary"):
            body = json({"uid": ME, "extra": {**EXTRA, field: value}})
            reply = await ask(api, "POST", path, body, **api.token(ME))
            assert (reply.status, reply.code) == (400, "bad_request"), (path, field, value)
            assert field in reply.body["message"], (path, field, value)


NO_ACTS = {
    "nothing": b"",
    "an empty object": b"{}",
    "null": b"null",
    "a number": b'{"reason": 5}',
    "not UTF-8": b'{"reason": "\xff"}',
    "too deep": b'{"reason": "an outage", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
}


async def test_what_an_operator_posts_is_read_like_any_other_body(api: Api) -> None:
    paths = ("/ops/rounds/2026-11-22/void", f"/ops/quarantine/{'ab' * 32}/release")
    for (what, raw), path in itertools.product(NO_ACTS.items(), paths):
        reply = await ask(api, "POST", path, raw, **api.token(ME, "operator"))
        assert (reply.status, reply.code) == (400, "bad_request"), (path, what)
        if raw in (b"", b"{}"):
            assert "`reason`" in reply.body["message"] or "`action`" in reply.body["message"]


async def test_a_query_that_is_not_one_is_said_of_its_field_and_not_repeated(api: Api) -> None:
    for query in ("page=0", "page=" + "9" * 5_000, "page=%3Cb%3E", "page="):
        reply = await ask(api, "GET", f"/api/board?{query}")
        assert (reply.status, reply.code) == (400, "bad_request")
        assert "`page`" in reply.body["message"] and len(reply.body["message"]) < 100, reply.body


async def test_a_path_that_does_not_exist_is_not_found_in_the_envelope(api: Api) -> None:
    for path in ("/api/nothing", "/api/check-in/nothing", "/callbacks/nobody", "/ops/nothing", "/nothing"):
        for method in ("GET", "POST"):
            reply = await ask(api, method, path, **api.token(ME))
            assert (reply.status, reply.code) == (404, "not_found"), (method, path)


WRONG_METHODS = [
    ("GET", "/api/check-in", {"POST"}),
    ("PUT", "/api/join", {"POST"}),
    ("DELETE", "/api/summary", {"POST", "GET"}),
    ("GET", "/callbacks/platform", {"POST"}),
    ("GET", "/ops/rounds/2026-11-22/settle", {"POST"}),
    ("POST", "/ops/quarantine", {"GET"}),
    ("PATCH", "/ops/rounds/2026-11-22", {"GET"}),
    ("POST", "/healthz", {"GET"}),
    ("OPTIONS", "/api/check-in", {"POST"}),
    ("OPTIONS", "/api/board", {"GET"}),
    ("OPTIONS", "/api/me/history", {"GET"}),
    ("OPTIONS", "/ops/rounds/2026-11-22", {"GET"}),
]
"""Method, path, and the methods that there are."""


async def test_a_wrong_method_is_answered_with_the_right_ones(api: Api) -> None:
    for method, path, allowed in WRONG_METHODS:
        reply = await ask(api, method, path, b"{}", **api.token(ME))
        assert (reply.status, reply.code) == (405, "method_not_allowed"), (method, path)
        named = {name.strip() for name in reply.headers["allow"].split(",")}
        assert allowed <= named <= allowed | {"OPTIONS", "HEAD"}, (method, path)
        assert method not in named, path


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
async def test_a_body_over_64_kib_is_too_large(api: Api, chunked: bool) -> None:
    async def send(path: str, size: int) -> Reply:
        raw = json({"uid": ME}).ljust(size)

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, size, 10_000):
                yield raw[start : start + 10_000]

        return await ask(api, "POST", path, parts() if chunked else raw, **api.token(ME))

    for path in [*user_verbs(api), "/callbacks/platform", "/ops/rounds/2026-11-22/settle"]:
        for size in (64 * 1024 + 1, 700_000):
            reply = await send(path, size)
            assert (reply.status, reply.code) == (413, "too_large"), (path, size)
    assert (await send("/api/check-in/status", 64 * 1024)).status == 200
