"""Receipts from the books, and proofs for whoever knows a salt."""

from typing import Any

import pytest

from clock.fair.leaves import salt_of
from clock.rounds.recorded import find
from tests.conftest import DAY, Api, at
from tests.flow.receipts.stage import member, promised, proof
from tests.flow.stage import People


@pytest.fixture
def people(api: Api) -> People:
    api.service.time.stop_at(at("20:00"))
    return People(api.service)


async def asked(api: Api, kind: str, uid: int) -> tuple[int, dict[str, Any]]:
    return await api.send("GET", f"/api/rounds/{DAY}/receipt/{kind}", headers=api.token(uid))


async def word(api: Api, kind: str, uid: int) -> str:
    _, reply = await asked(api, kind, uid)
    return str(reply["code"])


async def leaf(api: Api, kind: str, uid: int) -> str:
    status, reply = await asked(api, kind, uid)
    assert (status, reply["code"]) == (200, "ok"), reply
    return promised(kind, reply["data"]).leaf


async def test_the_receipt_from_the_books_is_the_one_that_came_with_the_answer(api: Api, people: People) -> None:
    assert await word(api, "stake", 1) == "not_found"
    given = await member(api, 1)
    await member(api, 2)
    assert await word(api, "stake", 3) == "not_joined"
    status, reply = await asked(api, "stake", 1)
    assert (status, reply["code"]) == (503, "unavailable"), "it is on its way into the books"
    await people.drain()
    assert await leaf(api, "stake", 1) == given.leaf
    assert await word(api, "checked_in", 3) == "not_joined"
    assert await word(api, "checked_in", 1) == "not_checked_in"
    api.service.time.stop_at(at("06:00", 1))
    receipt = (await api.post("/api/check-in", 1, receipt=True))["data"]["receipt"]
    assert await word(api, "checked_in", 1) == "unavailable"
    await people.drain()
    before = await leaf(api, "checked_in", 1)
    assert before == promised("checked_in", receipt).leaf
    await people.settle()
    assert await leaf(api, "checked_in", 1) == before
    assert [await word(api, "checked_in", uid) for uid in (2, 3)] == ["not_checked_in", "not_joined"]
    _, proved = await api.send("GET", f"/api/rounds/{DAY}/proof/checked_in", headers=api.token(1))
    assert proved["data"]["leaf"] == before


async def test_of_another_kind_another_user_or_a_void_round_there_is_none(api: Api, people: People) -> None:
    await member(api, 1)
    await people.drain()
    for kind, status in (("packet", 400), ("seed", 400), ("stake", 401)):
        token = api.token(1) if status == 400 else None
        found, _ = await api.send("GET", f"/api/rounds/{DAY}/receipt/{kind}", headers=token)
        assert found == status
    path = f"/api/rounds/{DAY}/receipt/stake?uid=1"
    assert (await api.send("GET", path, headers=api.token(2)))[0] == 403
    _, reply = await api.send("GET", path, headers=api.token(99, "service"))
    promised("stake", reply["data"])
    await people.service.voiding.void(DAY, "rain")
    assert await word(api, "stake", 1) == "voided"


async def test_what_came_after_the_round_was_sealed_is_not_promised(api: Api, people: People) -> None:
    """A server that had forgotten that it was closed let somebody in: C does not have it, and a receipt would say that
    the service broke its word."""
    for uid in (1, 2):
        await member(api, uid)
    await people.drain()
    await people.settle()
    for table in ("orders", "members"):
        row = "(jsonb_populate_record(t, jsonb_build_object('uid', 3, 'order_no', 'TTC3', 'order_id', 3))).*"
        await people.tamper(f"INSERT INTO {table} SELECT {row} FROM {table} t WHERE day = %s AND uid = 2", DAY)
    await people.tamper("INSERT INTO check_ins (day, uid, at_ms, rank) VALUES (%s, 2, %s, 1)", DAY, at("06:00", 1))
    assert await word(api, "stake", 3) == "not_joined"
    assert await word(api, "checked_in", 2) == "not_checked_in"
    await leaf(api, "stake", 2)


async def test_whoever_knows_the_salt_needs_no_token(api: Api, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong salt, a stranger, a member who has not checked in: all hear the same, and nothing is looked up."""
    await member(api, 1)
    await member(api, 2)
    api.service.time.stop_at(at("06:00", 1))
    receipt = promised("checked_in", (await api.post("/api/check-in", 1, receipt=True))["data"]["receipt"])
    assert (await proof(api, "checked_in", 1, receipt.salt))["code"] == "not_settled"
    await people.drain()
    await people.settle()
    with_token = await api.send("GET", f"/api/rounds/{DAY}/proof/packet", headers=api.token(1))
    assert (200, await proof(api, "packet", 1, receipt.salt)) == with_token
    round_ = await find(api.service.store, DAY)
    assert round_ and round_.salt_key
    assert (await proof(api, "packet", 2, salt_of(round_.salt_key, "checked_in", 2)))["code"] == "not_checked_in"
    assert (await proof(api, "stake", 2, salt_of(round_.salt_key, "stake", 2)))["code"] == "ok"
    asks, looked_up = api.service.store.one, []

    async def one(name: str, **given: Any) -> Any:
        looked_up.append(name)
        return await asks(name, **given)

    monkeypatch.setattr(api.service.store, "one", one)
    for kind in ("stake", "checked_in", "packet"):
        for uid, salt in ((1, "0" * 32), (2, receipt.salt), (4711, receipt.salt)):
            assert (await proof(api, kind, uid, salt))["code"] == "not_joined"
    assert (await proof(api, "stake", 1, receipt.salt))["code"] == "not_joined", "each kind has its own"
    assert {"get_tree", "steps_of_user"}.isdisjoint(looked_up), "strangers may ask: a tree's tiles are large"
    for query, status in (("", 401), ("?uid=1", 401), (f"?salt={receipt.salt}", 400), ("?uid=1&salt=0", 400)):
        assert (await api.send("GET", f"/api/rounds/{DAY}/proof/stake{query}"))[0] == status
    path = f"/api/rounds/{DAY}/proof/checked_in?uid=1&salt={receipt.salt}"
    assert (await api.send("GET", path, headers=api.token(2)))[0] == 403, "a token counts"
    assert (await api.send("GET", path, headers={"authorization": "Bearer nobody"}))[0] == 401
