"""Everything that is kept about a user is in one document, and nothing of others; only for those with the right."""

import asyncio
from typing import Any

import msgspec
import pytest

from clock.books.months import Month
from clock.config import Settings
from clock.operators.records.own import export_user
from tests.conftest import DAY, Api
from tests.flow.archive.stage import played as months_played
from tests.flow.operators.stage import BOSS, clock, operate
from tests.flow.personal.stage import ANNA, named_in_postgres, wrong_callback
from tests.flow.stage import People

RIGHTS = {"read money rules": (403, "forbidden"), "people": (404, "person_not_found")}


@pytest.fixture
async def played(api: Api) -> People:
    """71 and 72 have won, and have claimed; 71 has paid twice, and by a callback that was kept aside."""
    people = People(api.service)
    await people.join(71, 72)
    await wrong_callback(people, 71, 3)
    for uid in (71, 72):
        assert await people.pay(uid) == "paid"
    assert await people.pay(71, "again") == "refund_due"
    await people.morning(winners=2)
    await people.settle()
    await people.claim(71, 72)
    await people.drain()
    return people


async def document(api: Api, uid: int) -> tuple[int, Any]:
    async with api.session.get(f"{api.url}/ops/people/{uid}/export", headers=api.token(BOSS, "operator")) as reply:
        return reply.status, msgspec.json.decode(await reply.read())


async def test_the_copy_has_all_of_a_user_and_nothing_of_others(api: Api, played: People) -> None:
    status, copy = await document(api, 71)
    assert status == 200
    assert copy["profile"]["nickname"] == "用户 71"
    assert (copy["sums"]["join_num"], copy["archived_months"]) == (1, [])
    [round_] = copy["rounds"]
    assert (round_["day"], round_["order_no"], round_["rank"] > 0) == (str(DAY), played.orders[71], True)
    for kind, salt in round_["salts"].items():
        _, proof = await api.send("GET", f"/api/rounds/{DAY}/proof/{kind}?uid=71&salt={salt}")
        assert (proof["code"], kind) in (("ok", "stake"), ("ok", "checked_in")), "without a token"
    assert len(round_["salts"]) == 2
    assert [one["outcome"] for one in round_["payments"]] == ["paid", "refund_second"]
    assert [one["transaction_id"] for one in round_["refunds"]] == ["again"]
    assert {one["kind"] for one in round_["outgoing"]} == {"payout", "refund"}
    assert {one["kind"] for one in round_["transfers"]} == {"stake", "unwanted", "stake_back", "payout"}
    [callback] = round_["callbacks"]
    assert (callback["reason"], "open-71" in callback["raw"]) == ("amount_mismatch", True)
    assert "open-72" not in msgspec.json.encode(copy).decode()
    assert played.orders[72] not in msgspec.json.encode(copy).decode()
    _, again = await document(api, 71)
    assert [act["act"] for act in again["acts"]] == ["export_user", "export_user"]


async def test_a_user_who_was_forgotten_is_shown_as_what_is_left(api: Api, played: People) -> None:
    status, reply = await operate(api, "POST", "/ops/people/71/forget", {"reason": "asked by letter"})
    assert (status, reply["code"], reply["data"]["replaced"]) == (200, "forgotten_in_part", {"profiles": 1})
    _, copy = await document(api, 71)
    assert (copy["profile"]["nickname"], copy["profile"]["mobile"]) == ("", "")
    assert copy["rounds"][0]["amount_fen"] == 100
    assert [act["reason"] for act in copy["acts"] if act["act"] == "forget"] == ["asked by letter"]
    _, acts = await operate(api, "GET", "/ops/actions?about=71")
    assert [act["word"] for act in acts["data"]["items"] if act["act"] == "forget"] == ["forgotten_in_part"]
    assert "profiles" not in await named_in_postgres(played, 71)


async def test_only_who_has_the_right_gets_or_empties_a_users_data(api: Api) -> None:
    for scope, expected in RIGHTS.items():
        token = api.service.tokens.issue(BOSS, "operator", scope=scope)
        headers = {"authorization": f"Bearer {token}"}
        for method, path, body in (
            ("GET", "/ops/people/71/export", None),
            ("POST", "/ops/people/71/forget", {"reason": "x"}),
        ):
            status, reply = await api.send(method, path, body, headers)
            assert (status, reply["code"]) == expected, (scope, path)
    assert (await operate(api, "POST", "/ops/people/71/forget", {}))[0] == 400
    assert (await operate(api, "GET", f"/ops/people/{1 << 53}/export"))[0] == 400


async def test_years_are_written_a_month_at_a_time(api: Api) -> None:
    for month in ("2022-01", "2022-02"):
        await months_played(api.service, month, users=1)
    _, pieces = await export_user(api.service, ANNA, 1)
    assert pieces is not None
    head, january, february, tail = [piece async for piece in pieces]
    copy = msgspec.json.decode(head + january + february + tail)
    assert [one["day"] for one in copy["rounds"]] == [
        str(day) for m in (1, 2) for day in Month.parse(f"2022-0{m}").days
    ]
    assert b'"2022-01-31"' in january and b"2022-01" not in february


async def test_the_commands_do_the_same(settings: Settings, api: Api, played: People) -> None:
    (status, copy), (_, said) = await asyncio.gather(
        clock(settings, "export-user", "72"), clock(settings, "forget", "71", "--reason", "asked by letter")
    )
    assert status == 0
    assert msgspec.json.decode(copy.splitlines()[-1])["profile"]["nickname"] == "用户 72"
    assert '"forgotten_in_part"' in said
