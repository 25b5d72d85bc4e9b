"""Finding a person, a person's whole story, and what looks alike."""

from datetime import timedelta
from typing import Any

import pytest

from clock.config import Settings
from clock.operators import people as looked
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import BOSS, drain, operate
from tests.flow.stage import People, play
from tests.model.world import new_world


async def test_a_person_is_found_by_whatever_a_user_can_tell(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    orders = {uid: await api.member(uid) for uid in (1, 7, 138)}
    await drain(api)
    people = People(api.service)
    await people.drain()

    async def found(text: str, scope: str | None = None) -> list[tuple[int, str]]:
        token = api.service.tokens.issue("anna", "operator", scope=scope)
        status, reply = await api.send("GET", f"/ops/find?q={text}", headers={"authorization": f"Bearer {token}"})
        assert status == 200, reply
        return [(one["uid"], one["mobile"]) for one in reply["data"]["items"]]

    seven = [(7, "13800000007")]
    for text in ("7", "13800000007", "open-7", orders[7], f"T{orders[7]}", "P202611227", "P202611227A2", "%207%20"):
        assert await found(text) == seven, text
    assert await found("7", "read") == [(7, "138****0007")]
    assert await found("138") == [(138, "13800000138")]
    another = orders[7][:-1] + ("y" if orders[7].endswith("x") else "x")
    for text in ("8", "nobody", another, "open", "%25", "9" * 30, "' OR true --"):
        assert await found(text) == [], text
    for query in ("", "?q=", f"?q={'x' * 129}", "?q=a%00b", "?q=%0A"):
        status, reply = await operate(api, "GET", f"/ops/find{query}")
        assert (status, "q" in reply["message"]) == (400, True), query


async def test_a_story_has_everything_about_a_user_and_nothing_of_others(api: Api) -> None:
    people = People(api.service)
    await people.members(1, 2)
    assert await people.pay(1, "again") == "refund_due"
    assert (await api.pay(people.orders[1], 1, amount=1, transactionId="wrong"))[1]["code"] == "amount_mismatch"
    await people.morning(winners=1)
    await people.settle()
    await people.claim(1)
    await people.drain()

    async def story(uid: int, query: str = "") -> tuple[int, Any]:
        status, reply = await operate(api, "GET", f"/ops/people/{uid}{query}")
        return status, reply["data"] if status == 200 else reply["code"]

    status, one = await story(1)
    assert (status, one["person"]["nickname"], one["person"]["mobile"]) == (200, "用户 1", "13800000001")
    [round_] = one["rounds"]
    assert (round_["day"], round_["order_no"], round_["packet_fen"]) == (str(DAY), people.orders[1], 100)
    assert round_["ordered_ms"] < round_["checked_in_ms"] < round_["claimed_ms"]
    assert [(pay["transaction_id"], pay["outcome"]) for pay in one["payments"]] == [
        ("again", "refund_second"),
        (f"S{people.orders[1]}0", "paid"),
    ] or len(one["payments"]) == 2
    assert {(out["kind"], out["amount_fen"]) for out in one["outgoing"]} == {("payout", 200), ("refund", 100)}
    assert [kept["reason"] for kept in one["quarantine"]] == ["amount_mismatch"]
    assert (one["info"]["income_money"], one["more"]) == (100, False)
    status, other = await story(2)
    assert (len(other["rounds"]), other["rounds"][0]["checked_in_ms"], other["outgoing"]) == (1, None, [])
    assert await story(99) == (404, "person_not_found")
    for wrong in ("0", str(2**53), "seven"):
        assert (await operate(api, "GET", f"/ops/people/{wrong}"))[0] in (400, 404), wrong
    assert (await story(1, "?page=2"))[1]["rounds"] == []


@pytest.mark.parametrize("days", [3])
async def test_a_story_comes_in_pages_of_rounds(shared: Settings, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    monkeypatch.setattr(looked, "ROUNDS_A_PAGE", 2)
    async with new_world(shared) as service:
        people = People(service)
        for _ in range(days):
            await play(people, [1], [2])
        pages = [(await looked.story(service, 1, page, False)).data for page in (1, 2, 3)]
        listed = [[row["day"] for row in page["rounds"]] for page in pages]
        assert [day for page in listed for day in page] == [DAY + timedelta(n) for n in (2, 1, 0)]
        assert [page["more"] for page in pages][-1] is False
        for page, rounds in zip(pages, listed, strict=True):
            assert {row["day"] for row in page["payments"]} == set(rounds)
            assert {row["day"] for row in page["outgoing"]} == set(rounds)


async def test_who_looks_alike_is_listed_and_nothing_is_decided(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looked, "MEMBERS_AT_ONCE", 3)
    monkeypatch.setattr(looked, "TIMES", 2)
    async with new_world(shared) as service:
        people = People(service)
        for _ in range(2):
            await play(people, [1, 2], [3, 4])
        last = people.day - timedelta(days=1)
        await people.rows("UPDATE profiles SET mobile = '13812345678' WHERE uid IN (1, 4)")
        await people.rows("UPDATE profiles SET open_id = 'open-3' WHERE uid = 2")
        await people.rows("UPDATE profiles SET mobile = '' WHERE uid IN (2, 3)")
        await people.rows("UPDATE check_ins SET at_ms = at_ms + 2000 WHERE uid = 2 AND day = %s", last)
        first = (await looked.lookalikes(service.store, last, 0)).data
        assert [(one["what"], one["uid"], one["others"]) for one in first["shared"]] == [
            ("mobile", 1, [4]),
            ("open_id", 2, [3]),
            ("open_id", 3, [2]),
        ]
        assert [(one["uid"], one["second"], one["times"]) for one in first["clockwork"]] == [(1, 0, 2)]
        assert (first["looked"], first["after"]) == (3, 3)
        second = (await looked.lookalikes(service.store, last, 3)).data
        assert [(one["what"], one["uid"], one["others"]) for one in second["shared"]] == [("mobile", 4, [1])]
        assert (second["looked"], second["after"]) == (1, None)
        assert (await looked.lookalikes(service.store, DAY - timedelta(900), 0)).word == "round_not_found"


async def test_acts_are_listed_over_http(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    await api.member(1)
    await operate(api, "POST", f"/ops/rounds/{DAY}/settle")
    await operate(api, "POST", f"/ops/rounds/{DAY}/void", {"reason": "全城停电"})
    status, reply = await operate(api, "GET", f"/ops/actions?about={DAY}")
    shown = [
        (one["who"], one["address"], one["act"], one["reason"], one["amount_fen"], one["word"])
        for one in reply["data"]["items"]
    ]
    assert (status, shown) == (
        200,
        [
            (str(BOSS), "127.0.0.1", "void", "全城停电", 100, "ok"),
            (str(BOSS), "127.0.0.1", "settle", "", None, "not_due"),
        ],
    )
    assert (await operate(api, "GET", "/ops/actions?page=2"))[1]["data"]["items"] == []
    assert (await operate(api, "GET", "/ops/actions?who=nobody"))[1]["data"]["items"] == []
    assert (await operate(api, "GET", "/ops/actions?who=a%00"))[0] == 400
