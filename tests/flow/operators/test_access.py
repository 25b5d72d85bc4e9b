"""Who may see it, and which requests make no sense."""

from typing import Any

import pytest

from tests.conftest import DAY, Api
from tests.flow.operators.stage import BOSS, NO_ENTRY, operate

PATHS: list[tuple[str, str, Any]] = [
    ("GET", "/ops/live", None),
    ("GET", f"/ops/steps/{DAY}", None),
    ("GET", f"/ops/outgoing?day={DAY}", None),
    ("GET", "/ops/quarantine?waiting=true", None),
    ("POST", f"/ops/quarantine/{NO_ENTRY}/release", {"action": "refund", "reason": "x"}),
]


@pytest.mark.parametrize(("method", "path", "body"), PATHS, ids=lambda given: str(given)[:20])
async def test_only_an_operator_may(api: Api, method: str, path: str, body: Any) -> None:
    for headers, expected in (({}, 401), (api.token(BOSS), 403), (api.token(BOSS, "service"), 403)):
        status, _ = await api.send(method, path, body, headers)
        assert status == expected
    assert (await api.send(method, path, b"x" * 70_000, api.token(BOSS, "operator")))[0] == 413


async def test_a_request_that_makes_no_sense_is_refused_and_says_why(api: Api) -> None:
    for path, named in (
        ("/ops/steps/today", "day"),
        ("/ops/outgoing?day=2026-02-30", "day"),
        ("/ops/quarantine?waiting=7", "waiting"),
    ):
        status, reply = await operate(api, "GET", path)
        assert (status, reply["code"], named in reply["message"]) == (400, "bad_request", True), reply
    for entry in ("7", NO_ENTRY.upper(), NO_ENTRY + "00"):
        status, reply = await operate(
            api, "POST", f"/ops/quarantine/{entry}/release", {"action": "refund", "reason": "x"}
        )
        assert (status, reply["code"], "entry" in reply["message"]) == (400, "bad_request", True), reply
    bodies: list[Any] = [
        {},
        {"action": "accept", "reason": "x"},
        {"action": "refund"},
        {"action": "refund", "reason": ""},
    ]
    bodies += [{"action": "refund", "reason": "x" * 501}, {"action": "refund", "reason": "\0"}, []]
    for body in bodies:
        status, reply = await operate(api, "POST", f"/ops/quarantine/{NO_ENTRY}/release", body)
        assert (status, reply["code"]) == (400, "bad_request"), body
    assert (await operate(api, "GET", "/ops/steps/2026-01-01"))[1]["code"] == "round_not_found"
    status, reply = await operate(
        api, "POST", f"/ops/quarantine/{NO_ENTRY}/release", {"action": "dismiss", "reason": "x"}
    )
    assert (status, reply["code"]) == (404, "quarantined_not_found")
