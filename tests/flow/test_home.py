"""What the home page tells a user of the open order, of yesterday's round and of the last result, through days."""

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.channels.platform import PaymentCallback, PaymentExtra
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.domain.rounds import day_number, instant_ms
from clock.game import keys
from clock.operators import quarantine
from tests.conftest import DAY, WEBHOOK_SECRET, Api, at
from tests.flow.stage import IN_TIME, NEXT_DAY, People, forget
from tests.model.world import new_world
from tests.payments import paid

GUEST = None


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared, shards=4) as service:
        yield People(service)


async def look(people: People, uid: int | None) -> dict[str, Any]:
    people.service.asking.totals._known.clear()
    home: dict[str, Any] = (await people.service.home.summary(uid, None, time.monotonic())).data["summary"]
    msgspec.json.encode(home)
    return home


async def order(people: People, uid: int) -> Any:
    return (await look(people, uid))["order"]


async def result(people: People, uid: int) -> dict[str, Any] | None:
    """The result; it is there exactly as long as it is unseen."""
    home = await look(people, uid)
    assert home["is_alert"] == int(home["result"] is not None)
    found: dict[str, Any] | None = home["result"]
    return found


async def call_back(people: People, uid: int, **changes: Any) -> str:
    """A signed callback of the user's order that is refused."""
    extra = {"amount": 100, "buyerId": f"open-{uid}", "notify_time": IN_TIME, "transactionId": "T-1", **changes}
    callback = PaymentCallback(people.orders[uid], PaymentExtra(**extra))
    raw = msgspec.json.encode(callback)
    return (await people.service.incoming.pay(paid(callback, raw), "platform", time.monotonic())).word


async def decide_all(people: People, action: quarantine.Action, most: int = 99) -> None:
    await people.drain()
    found = await people.rows("SELECT encode(digest, 'hex') AS id FROM quarantine ORDER BY at_ms, raw LIMIT %s", most)
    for row in found:
        answer = await quarantine.release(people.service, row["id"], action, "looked", "operator 99")
        assert answer.word == "released", answer


async def lose_redis(people: People) -> None:
    await people.drain()
    redis: Any = people.service.redis
    await redis.flushall()
    forget(people)
    assert await rebuild_lost(people.service)


# -- the open order


async def test_the_open_order_is_told_until_it_is_paid(people: People) -> None:
    assert await order(people, 1) is None
    await people.join(1, 2, 3)
    for uid in (1, 2, 3):
        assert await order(people, uid) == {"order_no": people.orders[uid], "amount": 100, "state": "open"}
    assert (await look(people, GUEST))["order"] is None
    assert await people.pay(2) == "paid"
    assert await order(people, 2) is None
    assert await order(people, 3) is not None


async def test_an_order_that_can_no_longer_be_paid_is_not_offered(people: People) -> None:
    await people.join(1)
    people.service.time.stop_at(at("00:00", 1, -1))
    assert await order(people, 1) is not None
    people.service.time.stop_at(at("00:00", 1))
    assert await order(people, 1) is None
    await people.service.voiding.void(NEXT_DAY, "an outage")
    people.day = NEXT_DAY
    assert await order(people, 1) is None


async def test_an_order_of_a_void_round_is_not_offered(people: People) -> None:
    await people.join(1)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"
    assert await order(people, 1) is None


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("amount_mismatch", {"amount": 101}),
        ("buyer_mismatch", {"buyerId": "a stranger"}),
        ("transaction_missing", {"transactionId": None}),
    ],
)
async def test_an_order_with_a_refused_payment_is_checking_until_it_is_dismissed(
    people: People, word: str, changes: dict[str, Any]
) -> None:
    await people.join(1, 2)
    assert await call_back(people, 1, **changes) == word
    checking = {"order_no": people.orders[1], "amount": 100, "state": "checking"}
    assert await order(people, 1) == checking
    assert (await order(people, 2))["state"] == "open"
    await lose_redis(people)
    assert await order(people, 1) == checking
    await decide_all(people, "dismiss")
    assert (await order(people, 1))["state"] == "open"
    assert await call_back(people, 1, **changes) == word  # the provider says it again
    assert (await order(people, 1))["state"] == "open"
    await lose_redis(people)
    assert await call_back(people, 1, **changes) == word
    assert (await order(people, 1))["state"] == "open"


async def test_a_refund_of_the_refused_payment_opens_the_order_again(people: People) -> None:
    await people.join(1)
    assert await call_back(people, 1, amount=250) == "amount_mismatch"
    await decide_all(people, "refund")
    assert (await order(people, 1))["state"] == "open"
    assert await people.pay(1, "T-2") == "paid"
    assert await order(people, 1) is None


async def test_one_decision_leaves_the_other_payment_checking(people: People) -> None:
    await people.join(1)
    await call_back(people, 1, amount=1)
    people.service.time.stop_at(at("20:05"))
    await call_back(people, 1, amount=2, transactionId="T-2")
    await decide_all(people, "dismiss", most=1)
    assert (await order(people, 1))["state"] == "checking"


async def test_a_decision_whose_word_to_redis_was_lost_is_sent_again(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.join(1)
    await call_back(people, 1, amount=1)
    await people.drain()
    [row] = await people.rows("SELECT encode(digest, 'hex') AS id FROM quarantine")

    async def lost(*_: Any) -> None:
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "_tell_order", lost)
        with pytest.raises(OSError, match="lost"):
            await quarantine.release(people.service, row["id"], "dismiss", "looked", "operator 99")
    assert (await order(people, 1))["state"] == "checking"
    await quarantine.release(people.service, row["id"], "dismiss", "looked", "operator 99")
    assert (await order(people, 1))["state"] == "open"


async def test_joining_again_answers_all_that_is_needed_to_pay(api: Api) -> None:
    api.service.time.stop_at(at("20:00"))
    first = await api.join(1)
    again = await api.join(1)
    assert (first["code"], again["code"]) == ("ordered", "order_pending")
    assert again["data"] == first["data"]
    assert set(first["data"]) == {"order_id", "order_no", "amount", "pay"}
    home = (await api.post("/api/summary", 1))["data"]["summary"]
    assert home["order"] == {"order_no": again["data"]["order_no"], "amount": 100, "state": "open"}
    pay = again["data"]["pay"]
    extra = {"amount": pay["amount"], "buyerId": "open-1", "transactionId": "T-1"}
    raw = msgspec.json.encode({"order_no": pay["order_no"], "extra": extra})
    assert (await api.send("POST", "/callbacks/platform", raw, Signatures(WEBHOOK_SECRET).sign(raw)))[0] == 200
    assert (await api.post("/api/summary", 1))["data"]["summary"]["order"] is None
    _, guest = await api.send("GET", "/api/summary")
    assert [guest["data"]["summary"][name] for name in ("order", "yesterday", "result")] == [None] * 3


# -- yesterday


async def test_yesterday_is_what_its_own_path_says_all_day(people: People) -> None:
    await people.members(1, 2, 3)
    await people.join(4)

    async def says(state: str) -> list[tuple[int, int]]:
        found = []
        for uid in range(1, 6):
            told = (await look(people, uid))["yesterday"]
            own = (await people.service.verbs.yesterday(uid, time.monotonic())).data["yesterday"]
            assert told == {"round": str(DAY), "state": state, **own}
            found.append((told["clock_status"], told["red_status"]))
        assert (await look(people, GUEST))["yesterday"] is None
        return found

    people.it_is("06:00", 1)
    await people.check_in(1, 2)
    assert await says("open") == [(2, 1), (2, 1), (1, 0), (0, 0), (0, 0)]
    await people.settle()
    assert await says("settled") == [(2, 1), (2, 1), (1, 0), (0, 0), (0, 0)]
    await people.claim(1)
    assert await says("settled") == [(2, 2), (2, 1), (1, 0), (0, 0), (0, 0)]
    people.it_is("23:00", 1)
    assert await says("settled") == [(2, 2), (2, 1), (1, 0), (0, 0), (0, 0)]
    people.it_is("00:00", 2)
    assert (await look(people, 1))["yesterday"]["round"] == str(NEXT_DAY)


@pytest.mark.parametrize("time_of_day", ["06:00", "09:00"])
async def test_yesterday_of_a_void_round(people: People, time_of_day: str) -> None:
    await people.members(1)
    people.it_is("05:30", 1)
    await people.check_in(1)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"
    people.it_is(time_of_day, 1)
    told = (await look(people, 1))["yesterday"]
    assert told == {"round": str(DAY), "clock_status": 0, "red_status": 0, "state": "void"}


# -- the result

NOTHING = {"money": 0, "stake": 0, "total": 0, "claimed": 0, "void": 0, "extended_s": 0}


async def test_the_result_is_there_from_settlement_until_it_is_acknowledged(people: People) -> None:
    await people.members(1, 2, 3)
    people.it_is("06:00", 1)
    await people.check_in(1, 2)
    assert [await result(people, uid) for uid in (1, 3)] == [None, None]
    await people.settle()
    won, other, slept = [await result(people, uid) for uid in (1, 2, 3)]
    assert won and other
    assert won["money"] + other["money"] == 100
    common = {"round": str(DAY), "sleepers": 1}
    assert won == {**NOTHING, **common, "clock_status": 2, "money": won["money"], "stake": 100} | {
        "total": won["money"] + 100
    }
    assert slept == {**NOTHING, **common, "clock_status": 1}
    assert await people.claim(1) == [won["money"]]
    assert await result(people, 1) == {**won, "claimed": 1}
    assert (await look(people, GUEST))["result"] is None
    await lose_redis(people)
    assert await result(people, 1) == {**won, "claimed": 1}
    assert await result(people, 2) == other
    await people.service.flags.ack_alert(1, time.monotonic())
    assert await result(people, 1) is None
    people.it_is("12:00", 5)
    assert await result(people, 3) == slept


async def test_a_winner_of_nothing_is_told_that_somebody_slept(shared: Settings) -> None:
    async with new_world(shared, stake_fen=1, fee_bps=0) as service:
        people = People(service)
        await people.join(1, 2, 3)
        for uid in (1, 2, 3):
            assert await call_back(people, uid, amount=1, transactionId=f"T-{uid}") == "paid"
        people.it_is("06:00", 1)
        await people.check_in(1, 2)
        await people.settle()
        found = [await result(people, uid) for uid in (1, 2)]
        assert sorted((one["money"], one["stake"], one["sleepers"]) for one in found if one) == [(0, 1, 1), (1, 1, 1)]


async def test_everybody_got_up(people: People) -> None:
    await people.members(1, 2)
    people.it_is("06:00", 1)
    await people.check_in(1, 2)
    await people.settle()
    found = await result(people, 1)
    assert found == {**NOTHING, "round": str(DAY), "clock_status": 2, "stake": 100, "total": 100, "sleepers": 0}


async def test_a_late_member_who_slept_gets_the_stake_back(people: People) -> None:
    await people.join(1, 2)
    await people.pay(2)
    people.it_is("05:30", 1)
    assert await people.pay(1, paid_at=IN_TIME) == "paid"
    await people.check_in(2)
    await people.settle()
    found = await result(people, 1)
    assert found == {**NOTHING, "round": str(DAY), "clock_status": 1, "stake": 100, "total": 100, "sleepers": 1}


@pytest.mark.parametrize(("nobody", "stake"), [("refund", 100), ("carry", 0)])
async def test_nobody_got_up(shared: Settings, nobody: Any, stake: int) -> None:
    async with new_world(shared, nobody=nobody) as service:
        people = People(service)
        await people.members(1, 2)
        await people.settle()
        found = await result(people, 1)
        assert found == {
            **NOTHING,
            **{"round": str(DAY), "clock_status": 1, "stake": stake, "total": stake, "sleepers": 2},
        }


async def test_a_void_round_gives_the_stake_back_to_sleepers_and_winners(people: People) -> None:
    await people.members(1, 2)
    people.it_is("06:00", 1)
    await people.check_in(1)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"
    void = {**NOTHING, "round": str(DAY), "stake": 100, "total": 100, "void": 1, "sleepers": 1}
    assert [await result(people, uid) for uid in (1, 2)] == [{**void, "clock_status": n} for n in (2, 1)]
    await lose_redis(people)
    assert [await result(people, uid) for uid in (1, 2)] == [{**void, "clock_status": n} for n in (2, 1)]


async def test_a_longer_check_in_is_told_with_the_result(people: People) -> None:
    await people.members(1)
    people.it_is("06:00", 1)
    assert (await people.service.extending.extend(DAY, 5, "fog", "operator 99")) == "extended"
    people.it_is("08:10", 1)
    assert await people.service.settling.settle(DAY) == "settled"
    found = await result(people, 1)
    assert found and found["extended_s"] == 300


async def test_the_result_of_a_round_whose_keys_are_gone_is_null_and_opens_nothing(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.members(1)
    await people.settle()
    assert await result(people, 1) is not None
    redis: Any = people.service.redis
    people.it_is("20:00", 20)
    await look(people, 1)
    for shard in range(4):
        await redis.delete(*keys.names(DAY, shard, keys.NOUNS))

    async def opens(*_: Any) -> None:
        raise AssertionError("Postgres was asked")

    for name in ("open_round", "reopen"):
        monkeypatch.setattr(people.service.opener, name, opens)
    for cached in (True, False):
        if not cached:
            people.service.asking.rounds.pop(DAY, None)
        home = await look(people, 1)
        assert (home["is_alert"], home["result"]) == (1, None)
    await people.service.flags.ack_alert(1, time.monotonic())
    assert (await look(people, 1))["is_alert"] == 0
    name = keys.name(keys.USERS, keys.user_shard(1), "flags")
    assert await redis.hget(name, 1) == f"00{day_number(DAY)}".encode()


# -- the rules


async def test_the_hour_of_the_reminder_is_told_where_there_is_one(shared: Settings) -> None:
    for url, expected in (("", None), ("http://reminded", instant_ms(NEXT_DAY, "07:10", "Asia/Shanghai"))):
        async with new_world(shared, reminder_url=url, remind_at="07:10") as service:
            people = People(service)
            assert (await look(people, 1))["rules"]["remind_at_ms"] == expected
            assert (await look(people, GUEST))["rules"]["remind_at_ms"] == expected
