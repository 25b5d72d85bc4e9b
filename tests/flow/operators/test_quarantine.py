"""The quarantine over HTTP and from the command line."""

import asyncio
import json
from typing import Any

import pytest

from clock.books import outbox
from clock.config import Settings
from clock.operators import acts
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import NO_ENTRY, clock, drain, operate


async def test_the_quarantine_is_shown_page_by_page_newest_first(api: Api) -> None:
    for minute in range(5):
        api.service.time.stop_at(at(f"20:0{minute}"))
        assert (await api.pay(f"nothing{minute}", 7))[0] == 404
    await outbox.drain(api.service.store, api.service.redis, DAY, 0)
    shown = []
    for page in (1, 2, 3, 4):
        status, reply = await operate(api, "GET", f"/ops/quarantine?page={page}&limit=2")
        assert (status, reply["data"]["total"]) == (200, 5)
        shown.append([item["order_no"] for item in reply["data"]["items"]])
    assert shown == [["nothing4", "nothing3"], ["nothing2", "nothing1"], ["nothing0"], []]
    for query in ("page=0", "page=-1", "page=x", "limit=0", "limit=201", "limit=1.5", "page=99999999999"):
        status, reply = await operate(api, "GET", f"/ops/quarantine?{query}")
        assert (status, reply["code"]) == (400, "bad_request"), query


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
        "99",
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
    assert (refunded[0], json.loads(refunded[1])["by"]) == (0, acts.command_line().who)
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
