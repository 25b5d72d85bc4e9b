"""An alarm rings for its reason, and stops with it."""

from typing import Any

import msgspec
import pytest

from clock.audit.counts import Lag
from clock.game.gametime import Verdict
from clock.operators import watch
from clock.operators.watch import Watched, alarms
from clock.runtime import worker
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import codes, drain, operate, seen


def test_every_alarm_rings_for_its_reason_alone() -> None:
    fine = Watched(redis=True, postgres=True, worker=True)
    quiet = fine.traffic
    failed = [{"kind": "refund", "state": "failed", "count": 2, "fen": 300, "oldest_seconds": 9}]
    waits = [{"kind": "refund", "state": "owed", "count": 2, "fen": 300, "oldest_seconds": 9}]
    reasons: list[tuple[dict[str, Any], str | None]] = [
        ({}, None),
        ({"redis": False}, "redis_away"),
        ({"postgres": False}, "postgres_away"),
        ({"worker": False}, "worker_away"),
        ({"replicas_wanted": 1}, "replica_short"),
        ({"replicas_wanted": 1, "replicas": 1}, None),
        ({"clocks": Verdict("a", 0, {"redis": 0, "postgres": 9, "worker": -9}, [])}, None),
        ({"clocks": Verdict("a", 0, {"redis": 6_000, "postgres": 0, "worker": -9}, ["redis"])}, "clocks_differ"),
        ({"differing": [Lag("2026-07-01", 0, "paid", "redis", 3)]}, "redis_behind"),
        ({"differing": [Lag("2026-07-01", 0, "paid", "books", 3)]}, "books_behind"),
        ({"differences": 1}, "books_differ"),
        ({"settlement_late_ms": watch.SETTLEMENT_LATE_MS}, None),
        ({"settlement_late_ms": watch.SETTLEMENT_LATE_MS + 1}, "settlement_late"),
        ({"outbox_oldest_ms": watch.OUTBOX_OLD_MS}, None),
        ({"outbox_oldest_ms": watch.OUTBOX_OLD_MS + 1}, "outbox_old"),
        ({"traffic": {**quiet, "fullest": watch.FULL}}, None),
        ({"traffic": {**quiet, "fullest": watch.FULL + 0.01}}, "connections"),
        ({"traffic": {**quiet, "failed_per_second": 0.5}}, "failing"),
        ({"outgoing": failed}, "money_failed"),
        ({"outgoing": waits}, None),
        ({"outgoing_stuck": 1}, "money_stuck"),
        ({"quarantine_waiting": 1}, "quarantine"),
        ({"unanswered_orders": 1}, "unanswered"),
    ]
    for changes, code in reasons:
        rung = alarms(msgspec.structs.replace(fine, **changes))
        assert [alarm["code"] for alarm in rung] == ([code] if code else []), changes


async def test_the_alarms_follow_what_happens(api: Api) -> None:
    service = api.service
    service.time.stop_at(at("20:00"))
    await seen(api)  # opens yesterday's round, which is due
    await worker.settle({"service": service})
    assert codes(await seen(api)) == ["worker_away"]
    await worker.beat({"service": service})
    assert (await api.pay("SHOP-1", 7))[0] == 404
    await api.member(1)
    await drain(api)
    shown = await seen(api)
    assert codes(shown) == ["quarantine"]
    assert (shown["rounds"]["today"]["members"], shown["days"]["today"]) == (1, DAY.isoformat())
    assert shown["states"][DAY.isoformat()] == "joining"
    service.time.stop_at(at("08:07", 1, 1))
    assert codes(await seen(api)) == ["settlement_late", "quarantine"]
    await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
    assert codes(await seen(api)) == ["quarantine"]
    reports = await service.store.all("save_reconciliation", day=DAY, differences='[{"what": "x"}]', mended="[]")
    assert reports == []
    assert codes(await seen(api)) == ["books_differ", "quarantine"]
    await service.store.all("save_reconciliation", day=DAY, differences="[]", mended="[]")
    assert codes(await seen(api)) == ["quarantine"]


@pytest.mark.parametrize("changes", [{"database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}])
async def test_without_postgres_the_live_figures_say_so(api: Api, database_url: str) -> None:
    status, reply = await operate(api, "GET", "/ops/live")
    assert (status, reply["data"]["postgres"]) == (200, False)
    assert "postgres_away" in codes(reply["data"])
    async with api.session.get(f"{api.url}/metrics") as answer:
        text = await answer.text()
    assert "clock_postgres_up 0.0" in text
    assert "clock_quarantine_waiting" not in text, "what nobody knows is not said to be zero"
