"""release: a quarantined payment is owed back once, unless it was taken after all."""

import asyncio

import pytest

from clock.game.events import Payment
from tests.lua.stage import EVENING, MORNING, MORNING_ENDS, Stage, payment, payment_row

OWED = (*payment_row(1, "refund_released", transaction="T-1")[:3], 250, EVENING, "refund_released", "platform")


def event(now: int = EVENING) -> Payment:
    return Payment(now, [(*OWED, str(payment(1)["raw"]))])


@pytest.mark.parametrize(
    "user, round_", [("O", "open"), ("O", "closed"), ("O", "settled"), ("O", "void"), ("O", "finished")]
)
async def test_it_is_owed_back_once_in_every_state_of_the_round(stage: Stage, user: str, round_: str) -> None:
    await stage.bring(user, round_)
    before, was = await stage.totals(), await stage.status(1)
    assert await stage.release(1, amount_fen=250) == "released"
    assert await stage.new_events() == [event()]
    assert await stage.totals() == {**before, "refused_payments": 1}
    async with stage.nothing_changes():
        assert await stage.release(1, amount_fen=250) == "released"
    assert await stage.status(1) == was


@pytest.mark.parametrize("user", list("MLCP"))
async def test_a_member_keeps_what_was_accepted_and_gets_anything_else_back(stage: Stage, user: str) -> None:
    await stage.bring(user, "settled" if user == "P" else "open")
    async with stage.nothing_changes():
        assert await stage.release(1, "T-1") == "accepted"
    assert await stage.release(1, "T-2", now=MORNING) == "released"
    assert await stage.status(1) == user


async def test_what_pay_owes_back_already_is_not_owed_again(stage: Stage) -> None:
    await stage.members(1)
    assert await stage.call("pay", payment(1, transaction="T-2")) == ["refund_due"]
    async with stage.nothing_changes():
        assert await stage.release(1, "T-2") == "refunded"


async def test_pay_does_not_take_it_afterwards(stage: Stage) -> None:
    await stage.join(1)
    assert await stage.release(1, "T-1") == "released"
    async with stage.nothing_changes():
        assert await stage.call("pay", payment(1)) == ["refund_due"]
    assert await stage.call("pay", payment(1, transaction="T-2")) == ["paid"]


async def test_of_forty_at_once_one_owes_it(stage: Stage) -> None:
    await stage.join(1)
    await stage.drained()
    assert set(await asyncio.gather(*(stage.release(1) for _ in range(40)))) == {"released"}
    assert len(await stage.events()) == 1


async def test_an_order_that_is_not_there(stage: Stage) -> None:
    await stage.members(1)
    async with stage.nothing_changes():
        assert await stage.release(1, "T-9", tail="anothertail9") == "order_not_found"
        assert await stage.release(2, "T-9") == "order_not_found"
        assert await stage.release(2, "T-9", tail="") == "order_not_found"


async def test_a_round_that_is_not_there(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.release(1) == "no_round"


async def test_the_outbox_of_an_ended_round_does_not_expire_unread(stage: Stage) -> None:
    await stage.bring("O", "finished")
    assert await stage.release(1, now=MORNING_ENDS) == "released"
    assert (await stage.ttls())["outbox"] == -1


async def test_the_largest_sum(stage: Stage) -> None:
    await stage.join(1)
    await stage.drained()
    assert await stage.release(1, amount_fen=2**53 - 1) == "released"
    [owed] = await stage.events()
    assert isinstance(owed, Payment)
    assert owed.rows[0][3] == 2**53 - 1
