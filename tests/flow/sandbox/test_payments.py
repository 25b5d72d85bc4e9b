"""Payments come in, and callbacks tell of them."""

import asyncio

import msgspec

from clock.channels.webhooks import Signatures
from tests.conftest import WEBHOOK_SECRET
from tests.flow.sandbox.stage import DAY_OF_AT, Listener, Sandbox


async def test_a_payment_is_told_by_one_signed_callback(sandbox: Sandbox, listener: Listener) -> None:
    assert await sandbox.pay("A1") == (200, 200, {"code": "paid"})
    [(raw, headers)] = listener.got
    Signatures(WEBHOOK_SECRET).verify(raw, headers)
    assert msgspec.json.decode(raw) == {
        "order_no": "A1",
        "extra": {
            "amount": 100,
            "buyerId": "open-1",
            "notify_time": f"{DAY_OF_AT} 20:00:00",
            "content": "clock stake",
            "transactionId": "SA10",
        },
    }


async def test_paying_again_says_the_same_and_again_on_purpose_is_another_transaction(
    sandbox: Sandbox, listener: Listener
) -> None:
    for _ in range(2):
        await sandbox.pay("A2")
    await sandbox.pay("A2", again=True)
    told = [msgspec.json.decode(raw)["extra"]["transactionId"] for raw, _ in listener.got]
    assert told == ["SA20", "SA20", "SA21"]
    assert sorted(line.no for line in await sandbox.lines() if line.order_no == "A2") == ["SA20", "SA21"]


async def test_a_callback_is_sent_again_until_it_is_answered_2xx(sandbox: Sandbox, listener: Listener) -> None:
    listener.answer = lambda count: (500, 404, 204)[min(count, 2)]
    assert (await sandbox.pay("A3"))[1] == 500
    await listener.wait_for(3)
    await asyncio.sleep(0.3)
    assert len(listener.got) == 3
    assert len({raw for raw, _ in listener.got}) == 1
    for raw, headers in listener.got:
        Signatures(WEBHOOK_SECRET).verify(raw, headers)


async def test_orders_are_known_by_what_became_of_them(sandbox: Sandbox) -> None:
    assert (await sandbox.ask("query_order", order_no="A4"))[0] == 404
    assert await sandbox.ask("close_order", order_no="A4") == (200, {"state": "closed"})
    assert await sandbox.ask("query_order", order_no="A4") == (200, {"state": "closed"})
    assert (await sandbox.pay("A4"))[0] == 409
    await sandbox.pay("A5")
    for action in ("query_order", "close_order"):  # closing an order that turns out to be paid says so
        status, reply = await sandbox.ask(action, order_no="A5")
        assert (status, reply["state"], reply["payment"]["transactionId"]) == (200, "paid", "SA50")
    found = await sandbox.channel.query_order("A5")
    assert found.payment is not None
    assert (found.state, found.payment.order_no, found.payment.amount_fen) == ("paid", "A5", 100)
    assert (await sandbox.channel.query_order("unheard")).state == "unpaid"
