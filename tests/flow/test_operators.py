"""What operators watch: steps by the minute, live figures, alarms, metrics; the quarantine over HTTP."""

import asyncio
import json
import re
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from clock.books import outbox
from clock.config import Settings
from clock.game import keys
from clock.metrics import BOUNDS_MS, Answered, Recent
from clock.operators import live, watch
from clock.operators.live import Said
from clock.operators.watch import Watched, alarms
from clock.runtime import worker
from tests.conftest import DAY, Api, at
from tests.flow.test_ops import BOSS, clock, operate

ROOT = Path(__file__).parents[2]
NO_ENTRY = "ab" * 32


@pytest.fixture
def changes() -> dict[str, Any]:
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return msgspec.structs.replace(settings, **changes)


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told what was seen a moment ago."""
    monkeypatch.setattr(watch, "FRESH_SECONDS", -1.0)


async def drain(api: Api) -> None:
    for shard in range(api.settings.shards):
        await outbox.drain(api.service.store, api.service.redis, DAY, shard)


async def seen(api: Api) -> dict[str, Any]:
    status, reply = await operate(api, "GET", "/ops/live")
    assert (status, reply["code"]) == (200, "ok")
    shown: dict[str, Any] = reply["data"]
    return shown


def codes(shown: dict[str, Any]) -> list[str]:
    return [alarm["code"] for alarm in shown["alarms"]]


# -- who may see it


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


# -- steps


@pytest.mark.parametrize("changes", [{}, {"shards": 4}], ids=["one shard", "four"])
async def test_the_steps_of_a_round_are_counted_by_the_minute_each_user_once(api: Api, changes: dict[str, Any]) -> None:
    async def steps() -> dict[str, Any]:
        await drain(api)
        status, reply = await operate(api, "GET", f"/ops/steps/{DAY}")
        assert status == 200
        return dict(reply["data"])

    api.service.time.stop_at(at("20:00", 0, 59_999))
    for uid in range(1, 6):
        await api.member(uid)
    await api.join(6)
    assert (await steps())["minutes"] == [[at("20:00"), 6, 5, 0, 0]]
    await api.join(8)  # in the same minute, and read by another transaction
    assert (await steps())["minutes"] == [[at("20:00"), 7, 5, 0, 0]]
    api.service.time.stop_at(at("20:01"))
    await api.join(6)  # the same order
    await api.join(7)
    api.service.time.stop_at(at("05:00", 1))
    for uid in (1, 2, 3, 3):
        await api.post("/api/check-in", uid)
    api.service.time.stop_at(at("08:05", 1))
    await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
    for _ in range(2):
        await api.post("/api/claim", 1)
    shown = await steps()
    assert shown["steps"] == ["ordered", "paid", "checked_in", "claimed"]
    assert shown["minutes"] == [
        [at("20:00"), 7, 5, 0, 0],
        [at("20:01"), 1, 0, 0, 0],
        [at("05:00", 1), 0, 0, 3, 0],
        [at("08:05", 1), 0, 0, 0, 1],
    ]
    assert shown["totals"] == {"ordered": 8, "paid": 5, "checked_in": 3, "claimed": 1}


async def test_an_entry_that_is_read_twice_is_counted_once(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    stream = keys.name(DAY, 0, "outbox")
    redis: Any = api.service.redis
    entries = await redis.xrange(stream)
    await drain(api)
    for _, fields in entries:
        await redis.xadd(stream, fields)
    await drain(api)
    _, reply = await operate(api, "GET", f"/ops/steps/{DAY}")
    assert reply["data"]["totals"] == {"ordered": 1, "paid": 1, "checked_in": 0, "claimed": 0}


# -- live


async def test_however_many_ask_it_is_looked_once_in_a_while(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FRESH_SECONDS", 60.0)
    looker, looks = watch.Watch(api.service), []
    look = looker._look

    async def counted() -> Watched:
        looks.append(1)
        return await look()

    monkeypatch.setattr(looker, "_look", counted)
    await asyncio.gather(*(looker.look() for _ in range(20)))
    assert len(looks) == 1


def busy(at_s: float, seconds: float, count: int, ms: float, failed: int = 0) -> bytes:
    """What a process said: so many check-ins, each within the bound above ``ms``."""
    within = [0] * (len(BOUNDS_MS) + 1)
    within[next(i for i, bound in enumerate(BOUNDS_MS) if bound >= ms)] = count
    recent = Recent({"check_in": Answered(count, failed, within)}, 10, 10 * count, count)
    return msgspec.msgpack.encode(Said(at_s, seconds, recent))


async def test_the_figures_of_all_processes_are_added_up_and_those_of_the_dead_are_not(api: Api) -> None:
    redis: Any = api.service.redis
    now = time.time()
    await redis.delete(keys.LIVE)
    said = {"a": busy(now, 2.0, 200, 5), "b": busy(now, 4.0, 400, 50, failed=8), "dead": busy(now - 60, 2.0, 9_999, 5)}
    await redis.hset(keys.LIVE, mapping=said)
    figures = await live.traffic(redis)
    assert (figures["processes"], figures["per_second"], figures["failed_per_second"]) == (2, 200.0, 2.0)
    assert (figures["batches_per_second"], figures["batch_users"], figures["largest_batch"]) == (7.5, 300.0, 400)
    assert 5 < figures["latency_ms"]["p50"] <= 64
    assert 45 < figures["latency_ms"]["p99"] <= 64
    assert figures["verbs"]["check_in"]["per_second"] == 200.0
    assert await redis.hexists(keys.LIVE, "dead") is False


def test_percentiles_are_those_of_the_values_that_were_counted() -> None:
    values = [(i + 0.5) / 10 for i in range(10_000)]  # 0.05 … 1000 ms, evenly
    within = [0] * (len(BOUNDS_MS) + 1)
    for one in values:
        within[bisect_left(BOUNDS_MS, one)] += 1
    found = live.percentiles(within)
    for percent in live.PERCENTILES:
        value = found[f"p{percent}"]
        assert value is not None
        assert abs(value / (10 * percent) - 1) < 0.1, percent  # bounds are a quarter apart
    assert live.percentiles([0] * len(within)) == {"p50": None, "p95": None, "p99": None}
    within = [0] * len(BOUNDS_MS) + [7]
    assert live.percentiles(within)["p99"] == round(BOUNDS_MS[-1], 1)


async def test_a_process_says_what_it_did_and_only_that(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await asyncio.gather(*(api.member(uid) for uid in range(1, 21)))
    said: dict[str, Any] = {}
    for _ in range(60):
        said = (await operate(api, "GET", "/ops/live"))[1]["data"]["traffic"]
        if "join" in said["verbs"]:
            break
        await asyncio.sleep(0.1)
    assert said["processes"] == 1
    assert 0 < said["verbs"]["join"]["per_second"] <= 20 / live.EVERY_SECONDS
    assert said["verbs"]["join"]["latency_ms"]["p99"] > 0
    assert said["largest_batch"] >= 1
    assert await api.service.redis.pttl(keys.LIVE) > 0


# -- alarms


def test_every_alarm_rings_for_its_reason_alone() -> None:
    fine = Watched(redis=True, postgres=True, worker=True)
    failed = [{"kind": "refund", "state": "failed", "count": 2, "fen": 300, "oldest_seconds": 9}]
    waits = [{"kind": "refund", "state": "owed", "count": 2, "fen": 300, "oldest_seconds": 9}]
    reasons: list[tuple[dict[str, Any], str | None]] = [
        ({}, None),
        ({"redis": False}, "redis_away"),
        ({"postgres": False}, "postgres_away"),
        ({"worker": False}, "worker_away"),
        ({"replicas_wanted": 1}, "replica_short"),
        ({"replicas_wanted": 1, "replicas": 1}, None),
        ({"differences": 1}, "books_differ"),
        ({"settlement_late_ms": watch.SETTLEMENT_LATE_MS}, None),
        ({"settlement_late_ms": watch.SETTLEMENT_LATE_MS + 1}, "settlement_late"),
        ({"outbox_oldest_ms": watch.OUTBOX_OLD_MS}, None),
        ({"outbox_oldest_ms": watch.OUTBOX_OLD_MS + 1}, "outbox_old"),
        ({"fullest": watch.FULL}, None),
        ({"fullest": watch.FULL + 0.01}, "connections"),
        ({"outgoing": failed}, "money_failed"),
        ({"outgoing": waits}, None),
        ({"outgoing_stuck": 1}, "money_stuck"),
        ({"quarantine_waiting": 1}, "quarantine"),
        ({"unanswered_orders": 1}, "unanswered"),
    ]
    for changes, code in reasons:
        rung = alarms(msgspec.structs.replace(fine, **changes), 0.0)
        assert [alarm["code"] for alarm in rung] == ([code] if code else []), changes
    assert [alarm["code"] for alarm in alarms(fine, 0.5)] == ["failing"]


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


# -- metrics


async def exported(url: str, session: aiohttp.ClientSession) -> dict[str, float]:
    """Every sample of ``/metrics``, by name and labels."""
    async with session.get(f"{url}/metrics") as reply:
        assert reply.status == 200
        families = list(text_string_to_metric_families(await reply.text()))
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for sample in samples
    }


def named_in(file: str) -> set[str]:
    return set(re.findall(r"\bclock_[a-z_]+", (ROOT / "docs" / file).read_text("utf-8")))


async def test_every_metric_of_the_dashboard_and_the_rules_is_exported_and_the_other_way_round(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await worker.beat({"service": api.service})
    await api.member(1)
    names = {sample.partition(" ")[0] for sample in await exported(api.url, api.session)}
    ours = {name for name in names if name.startswith("clock_") and not name.endswith("_created")}
    assert named_in("grafana.json") | named_in("alerts.yml") <= ours
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in named_in("grafana.json")}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in ours} - shown == set()


def test_the_dashboard_and_the_rules_are_whole() -> None:
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or all(target["expr"] for target in panel["targets"])
    rules = yaml.safe_load((ROOT / "docs/alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert "clock_" in rule["expr"]
    assert len({rule["alert"] for rule in rules}) == len(rules)


async def test_gauges_tell_of_rounds_books_and_money(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    before = await exported(api.url, api.session)
    for uid in (1, 2):
        await api.member(uid)
    await api.join(3)
    number = (await api.join(4))["data"]["order_no"]
    assert (await api.pay(number, 4, amount=7))[1]["code"] == "amount_mismatch"
    now = await exported(api.url, api.session)
    assert now["clock_round_users round=today step=ordered"] == 4
    assert now["clock_round_users round=today step=paid"] == 2
    assert now["clock_round_pool_fen round=today"] == 200
    assert now["clock_outbox_entries"] > 0
    assert now["clock_quarantine_waiting"] == 0
    assert now["clock_batch_users_count script=join"] - before.get("clock_batch_users_count script=join", 0) == 4
    assert now["clock_worker_up"] == 0
    await drain(api)
    await worker.beat({"service": api.service})
    now = await exported(api.url, api.session)
    assert (now["clock_outbox_entries"], now["clock_quarantine_waiting"], now["clock_worker_up"]) == (0, 1, 1)
    assert now["clock_outgoing kind=refund state=owed"] == 0


async def test_gauges_tell_of_what_users_said_and_of_reminders_that_wait(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    now = await exported(api.url, api.session)
    assert (now["clock_outbox_entries"], now["clock_reminders_due"]) == (0, 0)
    await api.post("/api/remind", 1)
    assert (await exported(api.url, api.session))["clock_outbox_entries"] == 1
    async with api.service.store.transaction() as connection:
        await connection.execute(
            "INSERT INTO reminders (day, uid, state) VALUES (%s, 1, 'due'), (%s, 2, 'due'), (%s, 3, 'sent')", [DAY] * 3
        )
    assert (await exported(api.url, api.session))["clock_reminders_due"] == 2


async def test_refusals_of_ordinary_handlers_are_counted_too(api: Api) -> None:
    async def count() -> float:
        return (await exported(api.url, api.session)).get("clock_requests_total code=round_not_found verb=round", 0)

    before = await count()
    await operate(api, "GET", "/ops/rounds/2026-01-01")
    assert await count() - before == 1


# -- the quarantine over HTTP and from the command line


async def test_an_operator_decides_over_http_once(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    number = (await api.join(1))["data"]["order_no"]
    for amount in (7, 8):
        assert (await api.pay(number, 1, amount=amount))[1]["code"] == "amount_mismatch"
    assert (await api.pay(number, 1, transactionId=None))[1]["code"] == "transaction_missing"
    await drain(api)

    async def quarantined(query: str) -> dict[str, Any]:
        status, reply = await operate(api, "GET", f"/ops/quarantine?{query}")
        assert status == 200
        return dict(reply["data"])

    shown = await quarantined("waiting=true")
    assert (shown["total"], shown["waiting"], len(shown["items"])) == (3, 3, 3)
    without = next(one for one in shown["items"] if one["reason"] == "transaction_missing")
    entry = next(one for one in shown["items"] if one["amount"] == 8)
    assert (without["why_not"], entry["why_not"], entry["released"]) == ("transaction_missing", "", None)

    async def release(entry: dict[str, Any], action: str, reason: str = "looked") -> tuple[int, str, Any]:
        body = {"action": action, "reason": reason}
        status, reply = await operate(api, "POST", f"/ops/quarantine/{entry['id']}/release", body)
        return status, reply["code"], reply["data"]

    assert await release(without, "refund") == (200, "cannot_release", {"why": "transaction_missing"})
    status, code, first = await release(entry, "refund", "多付了")
    assert (status, code, first["by"], first["reason"], first["amount_fen"]) == (
        200,
        "released",
        "operator 99",
        "多付了",
        8,
    )
    assert await release(entry, "refund", "again") == (200, "released", first)
    assert await release(entry, "dismiss") == (200, "already_released", first)
    shown = await quarantined("waiting=true")
    assert (shown["total"], [one["id"] for one in shown["items"]]) == (1, [without["id"]])  # 7 and 8 are one payment
    assert (await release(without, "dismiss"))[1] == "released"
    shown = await quarantined("")
    assert (shown["total"], shown["waiting"]) == (3, 0)
    assert {one["released"]["action"] for one in shown["items"]} == {"refund", "dismiss"}
    status, reply = await operate(api, "GET", f"/ops/outgoing?day={DAY}&state=owed")
    assert [(one["kind"], one["count"], one["fen"]) for one in reply["data"]["counts"]] == [("refund", 1, 8)]
    assert [one["no"] for one in reply["data"]["items"]] == [first["refund_no"]]
    assert (await operate(api, "GET", "/ops/outgoing?day=2026-11-21&state=owed"))[1]["data"] == {
        "counts": [],
        "items": [],
    }


@pytest.mark.long
async def test_the_command_decides_as_well(api: Api, settings: Settings) -> None:
    assert (await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"}))[0] == 200
    for number in ("SHOP-1", "SHOP-2"):
        await api.pay(number, 7, transactionId=f"T-{number}")
    await drain(api)
    status, said = await clock(settings, "quarantine", "--waiting")
    assert status == 0
    ids = {one["order_no"]: one["id"] for one in json.loads(said)["items"]}
    refunded, dismissed, nothing = await asyncio.gather(
        clock(settings, "quarantine", "release", ids["SHOP-1"], "--refund", "--reason", "not ours"),
        clock(settings, "quarantine", "release", ids["SHOP-2"], "--dismiss", "--reason", "by hand"),
        clock(settings, "quarantine", "release", NO_ENTRY, "--refund", "--reason", "x"),
    )
    assert (refunded[0], json.loads(refunded[1])["by"]) == (0, "command line")
    assert (dismissed[0], json.loads(dismissed[1])["action"]) == (0, "dismiss")
    assert (nothing[0], "quarantined_not_found" in nothing[1]) == (1, True)
    wrong = await asyncio.gather(
        clock(settings, "quarantine", "release", ids["SHOP-1"], "--reason", "x"),
        clock(settings, "quarantine", "release", ids["SHOP-1"], "--refund"),
        clock(settings, "quarantine", "release", "7", "--refund", "--reason", "x"),
        clock(settings, "quarantine", "release", ids["SHOP-1"], "--refund", "--reason", ""),
    )
    assert [status for status, _ in wrong] == [2, 2, 2, 2]
    assert "Traceback" not in "".join(said for _, said in wrong)
