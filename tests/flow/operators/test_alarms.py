"""An alarm rings for its reason, and stops with it."""

import asyncio
import time
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from clock import metrics
from clock.audit.counts import Lag
from clock.channels.platform import Platform
from clock.game import keys
from clock.game.gametime import Verdict
from clock.operators import live
from clock.operators.watch import alarms as limits
from clock.operators.watch.alarms import alarms
from clock.operators.watch.room import FULL, ROOMS, Used
from clock.operators.watch.seen import Watched
from clock.runtime import worker
from tests.conftest import DAY, WEBHOOK_SECRET, Api, at
from tests.flow.operators.stage import codes, drain, operate, seen
from tests.flow.work.stage import until


def witness(unsigned_seconds: int, contradicts: bool = False) -> dict[str, Any]:
    return {"witness": "w", "said": "", "contradicts": contradicts, "unsigned_seconds": unsigned_seconds}


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
        ({"promises": 1, "promises_day": "2026-07-01"}, "promises"),
        ({"settlement_late_ms": limits.SETTLEMENT_LATE_MS}, None),
        ({"settlement_late_ms": limits.SETTLEMENT_LATE_MS + 1}, "settlement_late"),
        ({"draw_awaited_ms": limits.DRAW_AWAITED_MS}, None),
        ({"draw_awaited_ms": limits.DRAW_AWAITED_MS + 1}, "draw_awaited"),
        ({"draws_failed": 1}, "draw_failed"),
        ({"outbox_oldest_ms": limits.OUTBOX_OLD_MS}, None),
        ({"outbox_oldest_ms": limits.OUTBOX_OLD_MS + 1}, "outbox_old"),
        ({"traffic": {**quiet, "fullest": FULL}}, None),
        ({"traffic": {**quiet, "fullest": FULL + 0.01}}, "connections"),
        ({"traffic": {**quiet, "failed_per_second": 0.5}}, "failing"),
        ({"disk_failing": True}, "disk_failing"),
        ({"disk_free": limits.DISK_FREE}, None),
        ({"disk_free": limits.DISK_FREE - 0.01}, "disk_low"),
        ({"disk_free": 0.0}, "disk_low"),
        *(({"room": {name: Used(round(1_000 * part), 1_000)}}, None) for name, part in ROOMS.items()),
        *(({"room": {name: Used(round(1_000 * part) + 1, 1_000)}}, name) for name, part in ROOMS.items()),
        *(({"room": {name: Used(10**12, 0)}}, None) for name in ROOMS),
        ({"days_without": 1, "first_without": "2026-12-01"}, "partitions_missing"),
        ({"months_due": ["2024-11", "2024-12"]}, "archive_due"),
        ({"dead_rows": 1_000_000, "dead_rows_table": "orders"}, "dead_rows"),
        ({"traffic": {**quiet, "ahead_ms": {"a": limits.HOST_AHEAD_MS, "b": 0}}}, None),
        ({"traffic": {**quiet, "ahead_ms": {"a": 0, "b": -limits.HOST_AHEAD_MS - 1}}}, "host_clock"),
        ({"traffic": {**quiet, "bad_signatures": limits.BAD_SIGNATURES - 1}}, None),
        ({"traffic": {**quiet, "bad_signatures": limits.BAD_SIGNATURES}}, "bad_signatures"),
        ({"channels_silent": {"platform": limits.SILENT_SECONDS}}, None),
        ({"channels_silent": {"platform": limits.SILENT_SECONDS + 1}}, "channel_silent"),
        ({"outgoing": failed}, "money_failed"),
        ({"outgoing": waits}, None),
        ({"outgoing_stuck": 1}, "money_stuck"),
        ({"events_oldest_seconds": limits.EVENTS_OLD_SECONDS}, None),
        ({"events_oldest_seconds": limits.EVENTS_OLD_SECONDS + 1}, "events_waiting"),
        ({"events_given_up": 1}, "events_given_up"),
        ({"log_waiting_seconds": limits.LOG_WAITING_SECONDS}, None),
        ({"log_waiting_seconds": limits.LOG_WAITING_SECONDS + 1}, "log_waiting"),
        ({"witnesses": [witness(limits.WITNESS_SECONDS)]}, None),
        ({"witnesses": [witness(limits.WITNESS_SECONDS + 1)]}, "witness_silent"),
        ({"witnesses": [witness(0), witness(limits.WITNESS_SECONDS + 1, True)]}, "log_contradicted"),
        ({"quarantine_waiting": 1}, "quarantine"),
        ({"unanswered_orders": 1}, "unanswered"),
    ]
    for changes, code in reasons:
        rung = alarms(msgspec.structs.replace(fine, **changes))
        assert [alarm["code"] for alarm in rung] == ([code] if code else []), changes


async def test_the_alarms_follow_what_happens(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SIGNATURES_SECONDS", 0.0)  # other tests of this process forge some
    service = api.service
    service.time.stop_at(at("20:00"))
    await service.opener.prepare(DAY)
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


async def test_forged_callbacks_and_a_wrong_clock_ring(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def rung(code: str) -> list[dict[str, Any]]:
        return [one for one in (await seen(api))["alarms"] if one["code"] == code]

    monkeypatch.setattr(live, "EVERY_SECONDS", 0.05)  # the process says so often what it did
    for _ in range(limits.BAD_SIGNATURES):
        assert (await api.send("POST", "/callbacks/platform", {"order_no": "x"}))[0] == 401
    await until(lambda: rung("bad_signatures"))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 360)
    [alarm] = await until(lambda: rung("host_clock"))
    assert abs(alarm["ahead_ms"] + 360_000) < 2_000
    monkeypatch.setattr(metrics, "SIGNATURES_SECONDS", 0.0)
    monkeypatch.setattr(time, "time", real)

    async def quiet() -> bool:
        return not {"bad_signatures", "host_clock"} & set(codes(await seen(api)))

    await until(quiet)


async def test_a_channel_that_does_not_answer_rings_until_it_does(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENT_SECONDS", 0)
    answers = 503

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=answers, text="{}")

    async def said() -> list[str]:
        await channel.query_refund("R1", "O1")
        await asyncio.sleep(1.1)  # seconds are whole
        await worker.beat({"service": api.service})
        found = [code for code in codes(await seen(api)) if code == "channel_silent"]
        await api.service.redis.delete(keys.SILENT + "platform")  # as it expires
        return found

    provider = TestServer(web.Application())
    provider.app.router.add_route("*", "/{action}", answer)
    await provider.start_server()
    channel = Platform(str(provider.make_url("")), WEBHOOK_SECRET)
    api.service.channels["platform"] = channel
    assert await said() == ["channel_silent"]
    answers = 404
    assert await said() == []
    await provider.close()
    assert await said() == ["channel_silent"]
    await channel.close()


@pytest.mark.parametrize("changes", [{"database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}])
async def test_without_postgres_the_live_figures_say_so(api: Api, database_url: str) -> None:
    status, reply = await operate(api, "GET", "/ops/live")
    assert (status, reply["data"]["postgres"]) == (200, False)
    assert "postgres_away" in codes(reply["data"])
    async with api.session.get(f"{api.url}/metrics") as answer:
        text = await answer.text()
    assert "clock_postgres_up 0.0" in text
    assert 'clock_room_used{of="postgres' not in text
    assert "clock_quarantine_waiting" not in text, "what nobody knows is not said to be zero"
