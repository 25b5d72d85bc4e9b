"""Settling, voiding and looking at a round over HTTP."""

from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import figures, operate

FIGURES = {
    "day",
    "state",
    "rules",
    "members",
    "winners",
    "late",
    "pool",
    "forfeited",
    "fee",
    "carried_in",
    "pot",
    "packets_published",
    "packets_claimed",
    "refunds",
    "outbox_depth",
    "seed_hash",
    "seed",
}


async def test_a_round_is_settled_when_it_is_due_and_not_before(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2):
        await api.member(uid)
    shown = await figures(api)
    assert set(shown) >= FIGURES
    assert (shown["day"], shown["state"], shown["members"], shown["pool"]) == ("2026-11-22", "joining", 2, 200)
    assert shown["rules"]["stake_fen"] == 100
    assert shown["seed"] is None

    api.service.time.stop_at(at("00:00", 1))
    assert (await figures(api))["state"] == "waiting"
    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 1)
    assert (await figures(api))["state"] == "checking_in"
    for instant, state in ((at("05:00", 1), "checking_in"), (at("08:05", 1, -1), "closed")):
        api.service.time.stop_at(instant)
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
        assert (status, reply["status"], reply["code"]) == (200, 0, "not_due")
        shown = await figures(api)
        assert (shown["state"], shown["seed"]) == (state, None)

    api.service.time.stop_at(at("08:05", 1))
    for _ in range(2):
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/settle", {})
        assert (status, reply["status"], reply["code"]) == (200, 1, "settled")
    shown = await figures(api)
    assert (shown["state"], shown["forfeited"], shown["pot"], shown["packets_published"]) == ("settled", 100, 100, 1)
    assert len(bytes.fromhex(shown["seed"])) == 32
    status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/void", {"reason": "too late for that"})
    assert (status, reply["status"], reply["code"]) == (200, 0, "round_settled")


async def test_voiding_refunds_every_stake_and_keeps_the_reason(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    for uid in (1, 2, 3):
        await api.member(uid)
    api.service.time.stop_at(at("05:00", 1))
    await api.post("/api/check-in", 1)
    for body in ({}, {"reason": ""}, {"reason": 7}, {"reason": "x" * 501}):
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/void", body)
        assert (status, reply["code"]) == (400, "bad_request")
        assert "reason" in reply["message"]
    for _ in range(2):
        status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/void", {"reason": "全城停电"})
        assert (status, reply["status"], reply["code"]) == (200, 1, "ok")
    shown = await figures(api)
    assert (shown["state"], shown["refunds"], shown["refunds_fen"]) == ("void", 3, 300)
    assert shown["void_reason"] == "全城停电"
    assert (await api.post("/api/check-in", 2))["code"] == "voided"
    api.service.time.stop_at(at("08:05", 1))
    status, reply = await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
    assert (status, reply["status"], reply["code"]) == (200, 0, "round_void")
    assert (await api.post("/api/claim", 1))["code"] == "voided"


async def test_a_day_without_a_round_is_not_found_and_a_day_that_is_none_is_a_bad_request(api: Api) -> None:
    requests = [
        ("GET", "/ops/rounds/{}", None),
        ("GET", "/ops/reconcile/{}", None),
        ("POST", "/ops/rounds/{}/settle", None),
        ("POST", "/ops/rounds/{}/void", {"reason": "an outage"}),
    ]
    for method, path, body in requests:
        status, reply = await operate(api, method, path.format("2026-01-01"), body)
        assert (status, reply["code"]) == (404, "round_not_found"), path
        for day in ("tomorrow", "2026-13-01", "2026-02-29", "2026-11-2", "20261122", "2026-W47-1", "2019-12-31", "0"):
            status, reply = await operate(api, method, path.format(day), body)
            assert (status, reply["code"]) == (400, "bad_request"), (path, day)
            assert "day" in reply["message"]
