"""Whole days on the doubles of WeChat Pay and Alipay: nothing is lost, nothing moves twice."""

import asyncio
from typing import Any

import pytest

from tests.conftest import at
from tests.flow.providers.stage import Town
from tests.flow.stage import send

both = pytest.mark.parametrize("provider", ["wechat", "alipay"])
wechat = pytest.mark.parametrize("provider", ["wechat"])


@both
async def test_a_day(town: Town) -> None:
    await town.members(1, 2, 3)
    status, reply = await town.pays(1, {}, again=True)  # twice: what comes second goes back
    assert (status, reply["code"]) == (200, "told")
    await town.check_in(1, 2)
    await town.people.drain()
    await town.people.settle()
    packets = await town.claim(1, 2)
    assert sum(packets) == 100
    await town.all_sent()
    if town.double.name == "wechat":
        for uid, fen in ((1, packets[0]), (2, packets[1])):
            if fen >= 30:
                withdrawal = await town.withdraw(uid)
                assert (withdrawal["amount"], withdrawal["state"]) == (fen, "processing")
                assert withdrawal["confirm"]
                assert await town.confirms(withdrawal["no"]) == 200
        await town.all_sent()
    await town.people.finish()
    await town.people.drain()
    assert await town.differences() == []
    assert await town.bill_differences() == []
    balances = await town.people.balances()
    held = {name: fen for name, fen in balances.items() if name.startswith("user:")}
    assert sum(held.values()) == sum(fen for fen in packets if town.double.name == "wechat" and fen < 30)


ALL: dict[str, dict[str, Any]] = {
    "wechat": {
        "old_key": 0.5,
        "signtest": 0.3,
        "coupon": 0.3,
        "busy": 0.3,
        "abnormal": 0,
        "refund_closed": 0.1,
    },
    "alipay": {"fund_change_n": 0.4, "system_error": 0.2},
}


def troubles(town: Town) -> dict[str, Any]:
    return {
        "callback_twice": 0.3,
        "callback_forged": 0.3,
        "callback_delay_ms": 100,
        "time_out_before": 0.15,
        "time_out_after": 0.15,
        "processing": 0.3,
        "processing_ms": 50,
        "not_enough": 0.2,
        "unsigned": 0.2,
        "lapses": 0.2,
        **ALL[town.double.name],
    }


@both
async def test_a_day_under_all_troubles_at_once(town: Town) -> None:
    uids = range(1, 25)
    await town.trouble(callback_lost=0.2, **troubles(town))
    await town.joined(*uids)

    async def pays(uid: int) -> None:
        body = {"uid": uid, "order_no": town.people.orders[uid]}
        for _ in range(40):  # the provider's silence is answered with 503: ask again
            status, reply = await town.api.send("POST", "/api/pay", body, town.api.token(uid))
            if status == 200:
                break
        assert reply["code"] == "ok", reply
        assert (await town.pays(uid, reply["data"]["pay"]))[0] == 200

    await asyncio.gather(*(pays(uid) for uid in uids))
    await town.people.drain()
    await _hear_the_rest(town)
    await town.trouble(
        **troubles(town)
    )  # a second payment of an order is heard of by its callback alone, or by the bill
    await asyncio.gather(*(town.pays(uid, {}, again=uid % 2 == 0) for uid in uids if uid % 3 == 0))
    await town.check_in(*range(1, 13))
    await town.people.drain()
    town.people.it_is("08:05", 1)
    await _until_settled(town)
    await town.claim(*range(1, 13))
    await town.people.finish()
    await town.people.drain()
    await town.all_sent()
    assert await town.differences() == []
    assert await town.people.rows("SELECT 1 FROM quarantine") == []
    assert {row["uid"] for row in await town.people.rows("SELECT uid FROM members")} == set(uids)
    await _nobody_is_owed_or_has_too_much(town)


async def _hear_the_rest(town: Town) -> None:
    """The worker asks about orders whose callback was lost, until it has heard of all."""
    service, day = town.api.service, town.people.day
    for minute in range(3, 299, 5):
        town.people.it_is(f"{minute // 60:02}:{minute % 60:02}", 1)
        await service.questions.ask_some(day, service.time.now_ms())
        await town.people.drain()
        members = await town.people.rows("SELECT 1 FROM members")
        if len(members) == len(town.people.orders):
            return
        await town.people.rows("UPDATE unpaid SET next_at_ms = 0")  # rather than wait twice as long each time
    raise AssertionError(f"{len(members)} of {len(town.people.orders)} were heard of")


async def _until_settled(town: Town) -> None:
    for _ in range(50):
        if await town.api.service.settling.settle(town.people.day) == "settled":
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it does not settle")


async def _nobody_is_owed_or_has_too_much(town: Town) -> None:
    """What came in is at the users', at the provider or in balances, to the fen."""
    books = town.double.books
    came = sum(row["amount"] for row in books.rows("SELECT amount FROM payments"))
    went = sum(row["amount"] for row in books.rows("SELECT amount FROM movements WHERE state = 'done'"))
    balances = await town.people.balances()
    held = sum(fen for name, fen in balances.items() if name.startswith("user:"))
    assert went + held == came, (came, went, held)
    for row in books.rows("SELECT transaction_id, amount FROM payments"):
        assert books.refunded(row["transaction_id"]) <= row["amount"]


@wechat
async def test_a_withdrawal_lapses_returns_and_is_confirmed_under_the_next_number(town: Town) -> None:
    await town.members(1, 2, 3)
    await town.check_in(1)
    await town.people.drain()
    await town.people.settle()
    assert await town.claim(1) == [200]
    await town.all_sent()
    await town.trouble(lapses=1, processing_ms=0)
    first = await town.withdraw(1)
    assert (first["no"], first["amount"]) == ("W1N1", 200)
    await town.all_sent()
    assert await town.people.balance("user:1") == 200
    assert await town.confirms("W1N1") == 409  # nobody can confirm it any more
    await town.trouble(time_out_after=1)
    second = await town.withdraw(1)  # it has arrived, and what is needed to confirm it has not
    assert (second["no"], second.get("confirm")) == ("W1N2", None)
    await town.trouble()
    assert (await town.withdrawn(1))["no"] == "W1N2"
    assert await town.confirms("W1N2") == 200
    await town.all_sent()
    assert await town.people.balance("user:1") == 0
    assert await town.differences() == []
    sent = town.double.books.rows("SELECT no, amount, state FROM movements WHERE kind = 'transfer' ORDER BY no")
    assert [tuple(row) for row in sent] == [("W1N1", 200, "failed"), ("W1N2", 200, "done")]


@wechat
async def test_an_abnormal_refund_waits_for_an_operator_and_is_never_paid_otherwise(town: Town) -> None:
    await town.members(1, 2)
    await town.trouble(abnormal=1, processing_ms=0)
    status, _ = await town.pays(1, {}, again=True)
    assert status == 200
    await town.people.drain()
    for _ in range(4):
        await send(town.people)
    [row] = await town.moving()
    assert row["state"] == "processing"
    assert await town.people.balance("user:1") == 0
    assert [row["state"] for row in town.double.books.rows("SELECT state FROM movements")] == ["abnormal"]


@pytest.mark.parametrize("provider", ["alipay"])
async def test_a_link_is_no_trade_until_its_user_pays_and_pays_after_it_was_closed_in_vain(town: Town) -> None:
    await town.joined(1)
    number = town.people.orders[1]
    channel = town.api.service.channels["alipay"]
    pay = await town.asks(1, "h5")
    assert (await channel.query_order(number)).state == "unpaid"
    assert (await channel.close_order(number)).state == "unpaid"  # not closed: nobody knows that trade
    status, reply = await town.pays(1, pay)
    assert (status, reply["code"]) == (200, "told")
    assert (await channel.query_order(number)).state == "paid"
    assert (await town.api.join(1))["code"] == "already_joined"
    late = {"at_ms": at("00:00", 1) + 120_000}
    await town.joined(2)
    assert (await town.pays(2, await town.asks(2, "h5"), **late))[0] == 409


@wechat
async def test_a_second_payment_of_which_nobody_told_is_found_in_the_bill_and_goes_back(town: Town) -> None:
    await town.members(1, 2)
    await town.trouble(callback_lost=1)
    assert (await town.pays(1, {}, again=True))[1]["code"] == "untold"
    await town.trouble()
    await town.check_in(1)
    await town.people.drain()
    await town.people.settle()
    await town.people.finish()
    await town.people.drain()
    await town.all_sent()
    assert [found.split("'")[1] for found in await town.differences()] == [f"S{town.people.orders[1]}1"]
    assert await town.bill_differences() == []
    await town.all_sent()
    assert await town.differences() == []
    assert len(await town.people.rows("SELECT 1 FROM refunds")) == 1
