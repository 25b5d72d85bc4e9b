"""Which refusal comes first, and that a refusal changes nothing."""

import itertools

import pytest

from tests.conftest import Api, at
from tests.flow.http.stage import EXTRA, ME, OTHER, ask, json, kept, unlimited, user_verbs
from tests.raw import Redis

FAULTS = ("too_large", "unauthenticated", "bad_request", "forbidden")
COMBINATIONS = [some for count in range(5) for some in itertools.combinations(FAULTS, count)]


OPERATORS = {
    "/ops/rounds/2026-11-22/settle": ("/ops/rounds/yesterday/settle", b"{}", b"{}"),
    "/ops/rounds/2026-11-22/void": ("/ops/rounds/2026-11-22/void", b'{"reason": "an outage"}', b"{}"),
}
"""Path: the same with a bad request, a good body, a body with a bad request."""


@unlimited
async def test_the_first_refusal_is_413_then_401_then_400_then_403_then_the_games(api: Api) -> None:
    """Whatever is wrong with a request besides, the first of its faults in that order is the answer."""
    api.service.time.stop_at(at("20:00"))
    for faults in reversed(COMBINATIONS):  # what has no fault changes the round
        await _the_first_is_answered(api, faults)


async def _the_first_is_answered(api: Api, faults: tuple[str, ...]) -> None:
    requests: list[tuple[str, bytes, dict[str, str]]] = []
    for path in user_verbs(api):
        body = {"uid": OTHER if "forbidden" in faults else ME, "extra": EXTRA, "on": True}
        raw = json(body)[:-1] if "bad_request" in faults else json(body)
        if {"bad_request", "forbidden"} <= set(faults):
            raw = json({**body, "uid": str(OTHER)})
        requests.append((path, raw, api.token(ME)))
    for path, (bad_path, good, bad) in OPERATORS.items():
        role = "user" if "forbidden" in faults else "operator"
        wrong = "bad_request" in faults
        requests.append((bad_path if wrong else path, bad if wrong else good, api.token(ME, role)))
    for path, raw, token in requests:
        headers = {"authorization": "Bearer garbage"} if "unauthenticated" in faults else token
        sent = raw.ljust(65_537) if "too_large" in faults else raw
        reply = await ask(api, "POST", path, sent, **headers)
        if faults:
            assert reply.code == faults[0], (path, faults)
        else:
            assert reply.status == 200, path


@pytest.mark.parametrize(
    "path",
    [
        "/ops/rounds/yesterday",
        "/ops/reconcile/yesterday",
        "/ops/unanswered/yesterday",
        "/ops/quarantine?page=0",
        "/ops/outgoing?state=lost",
    ],
)
async def test_reads_are_refused_in_the_same_order(api: Api, path: str) -> None:
    assert (await ask(api, "GET", path)).code == "unauthenticated"
    assert (await ask(api, "GET", path, **api.token(ME))).code == "bad_request"
    assert (await ask(api, "GET", path.replace("yesterday", "2026-11-22").split("?")[0], **api.token(ME))).code == (
        "forbidden"
    )


async def test_a_refusal_changes_nothing(api: Api, redis: Redis) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(ME)
    before = await kept(redis)
    for path in user_verbs(api):
        body = json({"uid": ME, "extra": EXTRA, "on": True})
        await ask(api, "POST", path, body.ljust(70_000), **api.token(ME))
        await ask(api, "POST", path, body, authorization="Bearer garbage")
        await ask(api, "POST", path, body[:-1], **api.token(ME))
        await ask(api, "POST", path, body, **api.token(OTHER))
        await ask(api, "PUT", path, body, **api.token(ME))
    for word in ("already_joined", "profile_required"):
        extra = EXTRA if word == "already_joined" else {}
        assert (await api.post("/api/join", ME, extra=extra))["code"] == word
    assert (await api.post("/api/check-in", ME))["code"] == "too_late"
    assert (await api.post("/api/claim", ME))["code"] == "not_settled"
    assert await kept(redis) == before
