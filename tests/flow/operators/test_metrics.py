"""Metrics, and the dashboard and the rules that name them."""

import asyncio
import json
import re

import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from clock.runtime import worker
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import ROOT, drain, exported, operate


async def test_metrics_count_every_answer_by_verb_and_word(api: Api) -> None:
    async def counted(verb: str, code: str) -> float:
        async with api.session.get(f"{api.url}/metrics") as reply:
            assert reply.headers["content-type"].startswith("text/plain")
            families = list(text_string_to_metric_families(await reply.text()))
        labels = {"verb": verb, "code": code}
        samples = [sample for family in families for sample in family.samples if sample.name == "clock_requests_total"]
        return sum(sample.value for sample in samples if sample.labels == labels)

    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    api.service.time.stop_at(at("05:00", 1))
    before = [await counted("check_in", code) for code in ("checked_in", "not_joined", "unauthenticated")]
    await api.post("/api/check-in", 1)
    for _ in range(2):
        await api.post("/api/check-in", 2)
    await api.send("POST", "/api/check-in", {"uid": 1})
    after = [await counted("check_in", code) for code in ("checked_in", "not_joined", "unauthenticated")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 1]


def named_in(file: str) -> set[str]:
    return set(re.findall(r"\bclock_[a-z_]+", (ROOT / "docs" / file).read_text("utf-8")))


async def test_every_metric_of_the_dashboard_and_the_rules_is_exported_and_the_other_way_round(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await worker.beat({"service": api.service})
    await api.member(1)
    async with asyncio.timeout(10):  # the process says every two seconds how far its clock is ahead
        while "clock_host_ahead_seconds" not in (
            names := {sample.partition(" ")[0] for sample in await exported(api.url, api.session)}
        ):
            await asyncio.sleep(0.2)
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
