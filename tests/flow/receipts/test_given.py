"""Receipts come with the answers `checked_in` and `paid`, and what they promise is what the books have."""

import asyncio
from collections import Counter

import msgspec
import pytest

from clock.config import Settings
from clock.game import keys
from tests.conftest import DAY, Api, at
from tests.flow.receipts.stage import Receipt, callback, is_kept, member, promised, proof, tap
from tests.flow.stage import People

SHARDS = 3
CROWD = range(1, 41)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, shards=SHARDS)


@pytest.fixture
def people(api: Api) -> People:
    api.service.time.stop_at(at("20:00"))
    return People(api.service)


async def test_what_a_crowd_is_promised_is_in_the_signed_trees(api: Api, people: People) -> None:
    stakes = dict(zip(CROWD, await asyncio.gather(*(member(api, uid) for uid in CROWD)), strict=True))
    given: dict[int, Receipt] = {}
    sizes: Counter[int] = Counter()
    for minute, some in enumerate((CROWD[:1], CROWD[1:25], CROWD[25:35])):  # the first brings the salt key
        api.service.time.stop_at(at("06:00", 1, 60_000 * minute))
        await api.post("/api/check-in/status", 1)
        taps = [(uid, tap(api, uid, plain=bool(uid % 2))) for uid in (*some, *some)]
        for (uid, _), reply in zip(taps, await asyncio.gather(*(one for _, one in taps)), strict=True):
            assert reply["data"]["money"] == 100 * len(CROWD)
            if reply["code"] == "checked_in":
                assert uid not in given
                receipt = given[uid] = promised("checked_in", reply["data"]["receipt"])
                sizes[receipt.size] += 1
                shard, _, who, at_ms, _ = receipt.values[1:]
                assert (int(shard), int(who)) == (keys.shard_of(uid, SHARDS), uid)
                assert int(at_ms) == at("06:00", 1, 60_000 * minute)
            else:
                assert (reply["code"], set(reply["data"])) == ("already_checked_in", {"money"})
    assert set(given) == set(CROWD[:35])
    assert max(sizes) > 1, "batches are shared"
    await people.drain()
    await people.settle()
    for uid in CROWD:
        assert await is_kept(api, "stake", uid, stakes[uid])
        if uid in given:
            assert await is_kept(api, "checked_in", uid, given[uid])
            packet = await proof(api, "packet", uid, given[uid].salt)
            assert packet["data"]["leaf"].split("\n")[1:4] == given[uid].values[:3]


async def test_a_payment_that_comes_again_has_the_same_promise(api: Api, people: People) -> None:
    number = (await api.join(7))["data"]["order_no"]
    first = await callback(api, number, 7)
    again = await callback(api, number, 7)
    assert (first["code"], again["code"]) == ("paid", "already_paid")
    leaves = [promised("stake", reply["data"]["receipt"]).leaf for reply in (first, again)]
    assert leaves[0] == leaves[1]
    assert leaves[0].split("\n")[3:6] == ["7", number, "100"]
    for query in ("", "?receipt=0", "?receipt", "?receipt=1&receipt=1"):
        assert (await callback(api, number, 7, query))["data"] == {}
    second = await callback(api, number, 7, transactionId="another")
    assert (second["code"], second["data"]) == ("refund_due", {})


async def test_nobody_has_a_receipt_who_did_not_ask_or_did_not_check_in(api: Api, people: People) -> None:
    for uid in (1, 2):
        await member(api, uid)
    assert (await tap(api, 1))["data"] == {}  # too early
    api.service.time.stop_at(at("06:00", 1))
    for plain in (True, False, True):
        assert await tap(api, 9, plain=plain) == {**await tap(api, 9, plain=plain), "code": "not_joined", "data": {}}
    assert (await api.post("/api/check-in", 1))["data"] == {"money": 200}
    assert (await api.post("/api/check-in", 2, receipt=False))["data"] == {"money": 200}
    status, reply = await api.send("POST", "/api/check-in", {"uid": 2, "receipt": "yes"}, api.token(2))
    assert (status, reply["code"]) == (400, "bad_request")


async def test_receipts_say_when_they_were_signed(api: Api, people: People) -> None:
    await member(api, 1)
    api.service.time.stop_at(at("06:00", 1))
    receipt = promised("checked_in", (await tap(api, 1))["data"]["receipt"])
    assert f"\nsigned_ms: {at('06:00', 1)}\n" in receipt.note
    assert receipt.values == [str(DAY), str(keys.shard_of(1, SHARDS)), "1", "1", str(at("06:00", 1)), receipt.salt]
