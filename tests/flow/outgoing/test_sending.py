"""Payouts and refunds leave once, under one number, by the channel that the money came by."""

import re

import msgspec

from clock.channels import Result
from tests.conftest import DAY
from tests.flow.outgoing.stage import PAYOUT, owe_a_payout, owe_a_refund, queue, state
from tests.flow.stage import IN_TIME, NEXT_DAY, People, Sandbox, Scripted, send


async def test_a_payout_leaves_once_and_is_posted_once(people: People, provider: Sandbox) -> None:
    await owe_a_payout(people)
    assert await people.balance("owed:payout") == 200
    assert await send(people) == 1
    assert await state(people) == "done"
    assert [await send(people) for _ in range(2)] == [0, 0]
    assert provider.movements() == [(PAYOUT, "transfer", 200, "done")]
    assert provider.asked == ["transfer"]
    assert await people.balances() == {}
    [sent] = [row for row in await people.transfers() if row["kind"] == "payout_sent"]
    assert (sent["cause"], sent["amount_fen"], sent["uid"]) == (PAYOUT, 200, 1)


async def test_a_refund_leaves_once_for_its_own_payment(people: People, provider: Sandbox) -> None:
    number = await owe_a_refund(people, provider)
    assert await send(people) == 1
    assert await send(people) == 0
    assert provider.movements() == [(number, "refund", 100, "done")]
    [body] = provider.provider.books.rows("SELECT body FROM movements")
    assert msgspec.json.decode(body["body"])["transactionId"] == "T2"
    assert await people.balances() == {"channel:platform": -100, f"pool:{DAY}": 100}


async def test_numbers_are_fixed_and_at_most_32_letters_and_digits(people: People) -> None:
    most = 2**53 - 1
    await people.members(most, 2, 3)
    assert await people.pay(most, "x" * 128) == "refund_due"
    await people.morning()
    await people.check_in(most)
    await people.settle()
    await people.claim(most)
    await people.drain()
    numbers = {row["no"]: row["kind"] for row in await queue(people)}
    assert sorted(numbers.values()) == ["payout", "refund"]
    assert all(re.fullmatch("[0-9A-Za-z]{1,32}", no) for no in numbers)
    assert f"P{DAY:%Y%m%d}{most}" in numbers
    again = await people.rows("SELECT refund_no(order_no, transaction_id) AS no FROM refunds")
    assert [row["no"] for row in again] == [no for no, kind in numbers.items() if kind == "refund"]


async def test_each_refund_goes_the_way_that_its_payment_came(people: People) -> None:
    """One order may be paid through two channels; each payment is given back where it was made."""
    one, other = Scripted(), Scripted()
    people.service.channels.update({"platform": one, "other": other})
    await people.join(1)
    words = [await people.pay(1, transaction, channel="platform") for transaction in ("T1", "T2")]
    words += [await people.pay(1, transaction, channel="other") for transaction in ("T3", "T4")]
    assert words == ["paid", "refund_due", "refund_due", "refund_due"]
    await people.drain()

    async def done(_action: str, _no: str) -> Result:
        return Result("done")

    one.result = other.result = done
    await send(people)
    assert [call[3] for call in one.calls] == ["T2"]
    assert sorted(call[3] for call in other.calls) == ["T3", "T4"]
    assert await people.balances() == {"channel:platform": -100, f"pool:{DAY}": 100}


async def test_a_payout_leaves_by_the_channel_that_the_stake_came_by(people: People) -> None:
    """Not by that of a payment that was refused before it."""
    one, other = Scripted(), Scripted()
    people.service.channels.update({"platform": one, "other": other})
    await people.join(1)
    people.it_is("00:30", 1)
    assert await people.pay(1, "T1", channel="other", paid_at=f"{NEXT_DAY} 00:10:00") == "refund_due"
    assert await people.pay(1, "T2", channel="platform", paid_at=IN_TIME) == "paid"
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.settle()
    await people.claim(1)
    await people.drain()
    await send(people)
    assert [call[0] for call in one.calls if call[0] != "query_order"] == ["transfer"]
    assert [call[0] for call in other.calls] == ["refund"]
