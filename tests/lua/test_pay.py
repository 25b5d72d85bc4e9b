"""pay: the checks of docs/rules.md in their order, repeated payments, and what a callback carries."""

import asyncio
from dataclasses import dataclass
from datetime import date
from time import monotonic
from typing import Any

import msgspec
import pytest

from clock.channels.platform import PaymentCallback
from clock.config import Settings
from clock.game.asking import Asking
from clock.game.events import Payment
from clock.game.gametime import GameTime
from clock.game.receipts import Receipts
from clock.payments.incoming import Incoming
from tests.lua.stage import (
    EVENING,
    MAX_UID,
    MIDNIGHT,
    MORNING,
    MORNING_ENDS,
    OPENS,
    SETTLES,
    Stage,
    order,
    pay,
    payment,
    payment_row,
)
from tests.payments import paid


@dataclass(frozen=True)
class Check:
    """A callback that something may be wrong with."""

    user: str
    result: str
    tail: bool = True
    amount: bool = True
    transaction: str = "T-1"
    buyer: bool = True
    round: str = "open"
    now: int = EVENING

    def __str__(self) -> str:
        wrong = [name for name in ("tail", "amount", "buyer") if not getattr(self, name)]
        return (
            f"{self.user} {self.round} {self.transaction or '-'} wrong {' '.join(wrong) or 'nothing'} - {self.result}"
        )


NEW = "T-new"
CHECKS = [
    # order_not_found before everything
    Check("-", "order_not_found"),
    Check("-", "order_not_found", amount=False, transaction="", buyer=False),
    Check("O", "order_not_found", tail=False),
    Check("M", "order_not_found", tail=False),
    Check("O", "order_not_found", tail=False, amount=False),
    Check("-", "order_not_found", round="void"),
    Check("-", "order_not_found", round="closed", now=SETTLES),
    # already_paid before the amount, the buyer and timing: the same callback answers as the first time
    Check("M", "already_paid"),
    Check("L", "already_paid"),
    Check("C", "already_paid"),
    Check("P", "already_paid", round="settled", now=SETTLES),
    Check("P", "already_paid", round="finished", now=MORNING_ENDS),
    Check("M", "already_paid", amount=False),
    Check("M", "already_paid", buyer=False),
    Check("M", "already_paid", amount=False, buyer=False),
    Check("M", "already_paid", round="closed", now=SETTLES),
    Check("M", "already_paid", round="void", now=SETTLES),
    # amount_mismatch before transaction_missing, buyer_mismatch and timing
    Check("O", "amount_mismatch", amount=False),
    Check("O", "amount_mismatch", amount=False, transaction=""),
    Check("O", "amount_mismatch", amount=False, buyer=False),
    Check("O", "amount_mismatch", amount=False, transaction="", buyer=False),
    Check("O", "amount_mismatch", amount=False, now=SETTLES),
    Check("O", "amount_mismatch", amount=False, round="void"),
    Check("M", "amount_mismatch", amount=False, transaction=NEW),
    # transaction_missing before buyer_mismatch and timing
    Check("O", "transaction_missing", transaction=""),
    Check("O", "transaction_missing", transaction="", buyer=False),
    Check("O", "transaction_missing", transaction="", now=SETTLES),
    Check("O", "transaction_missing", transaction="", round="void"),
    Check("M", "transaction_missing", transaction=""),
    # buyer_mismatch before timing
    Check("O", "buyer_mismatch", buyer=False),
    Check("O", "buyer_mismatch", buyer=False, now=SETTLES),
    Check("O", "buyer_mismatch", buyer=False, round="closed", now=SETTLES),
    Check("O", "buyer_mismatch", buyer=False, round="void"),
    Check("M", "buyer_mismatch", buyer=False, transaction=NEW),
]


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_first_check_that_fails_is_the_answer_and_changes_nothing(stage: Stage, check: Check) -> None:
    await stage.bring(check.user, check.round)
    changes: dict[str, Any] = {} if check.tail else {"tail": "anothertail9"}
    changes |= {} if check.amount else {"amount_fen": 99}
    changes |= {} if check.buyer else {"buyer_id": "somebody else"}
    one = payment(1, **{**changes, "transaction_id": check.transaction})
    async with stage.nothing_changes(but="checking"):
        assert await pay(stage, one, now=check.now) == [check.result]


@pytest.mark.parametrize("amount_fen", [-1, 0, 99, 101, 10_000, 2**53 - 1, "", "1e2x", "100.5"])
async def test_only_the_exact_amount_is_accepted(stage: Stage, amount_fen: Any) -> None:
    await stage.join(1)
    async with stage.nothing_changes(but="checking"):
        assert await pay(stage, payment(1, amount_fen=amount_fen)) == ["amount_mismatch"]
    assert await pay(stage, payment(1)) == ["paid"]


async def test_a_missing_buyer_is_a_mismatch(stage: Stage) -> None:
    await stage.join(1)
    assert await pay(stage, payment(1, buyer_id="")) == ["buyer_mismatch"]


async def test_a_round_that_is_not_open_says_so(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await pay(empty_stage, payment(1), payment(2)) == ["no_round", "no_round"]


async def test_a_payment_makes_the_user_a_member_once(stage: Stage) -> None:
    await stage.join(1)
    await stage.drained()
    assert await pay(stage, payment(1)) == ["paid"]
    assert await stage.new_events() == [Payment(EVENING, [payment_row(1, "paid")])]
    assert await stage.totals() == {"orders": 1, "members": 1, "pool_fen": 100}
    async with stage.nothing_changes():
        for now in (EVENING, MIDNIGHT, MORNING, SETTLES):
            assert await pay(stage, payment(1), now=now) == ["already_paid"]


@pytest.mark.parametrize("user, round_, now", [("M", "open", EVENING), ("L", "open", MORNING), ("C", "open", MORNING)])
async def test_a_second_payment_is_refunded_in_full(stage: Stage, user: str, round_: str, now: int) -> None:
    await stage.bring(user, round_)
    before = await stage.totals()
    second = payment(1, transaction="T-second")
    assert await pay(stage, second, now=now) == ["refund_due"]
    assert await stage.new_events() == [Payment(now, [payment_row(1, "refund_second", transaction="T-second")])]
    assert await stage.totals() == {**before, "refused_payments": 1}
    assert await stage.status(1) == user
    async with stage.nothing_changes():
        assert await pay(stage, second, second, now=now) == ["refund_due", "refund_due"]
        assert await pay(stage, payment(1), now=now) == ["already_paid"]


async def test_each_further_payment_is_refunded_once(stage: Stage) -> None:
    await stage.members(1)
    await stage.drained()
    payments = [payment(1, transaction=f"T-{letter}") for letter in "aabcab"]
    assert await pay(stage, *payments) == ["refund_due"] * 6
    rows = [payment_row(1, "refund_second", transaction=f"T-{letter}") for letter in "abc"]
    assert await stage.new_events() == [Payment(EVENING, rows)]
    assert (await stage.totals())["refused_payments"] == 3


async def test_a_refused_transaction_stays_refused_when_it_comes_again(stage: Stage) -> None:
    """Refunded once: neither a later state of the round nor another amount or buyer makes anything of it."""
    await stage.join(1)
    refused = payment(1, paid_at_ms=MIDNIGHT)
    assert await pay(stage, refused, now=MORNING) == ["refund_due"]
    async with stage.nothing_changes():
        assert await pay(stage, payment(1), now=MORNING) == ["refund_due"]
        assert await pay(stage, payment(1, buyer_id="x"), payment(1, amount_fen=1), now=MORNING) == ["refund_due"] * 2
    assert await stage.close("void") == "closed"
    async with stage.nothing_changes():
        assert await pay(stage, refused, now=SETTLES) == ["refund_due"]


async def test_an_order_whose_first_payment_was_refunded_can_be_paid_in_time_by_another(stage: Stage) -> None:
    await stage.join(1)
    assert await pay(stage, payment(1, paid_at_ms=MIDNIGHT, transaction="T-late"), now=MORNING) == ["refund_due"]
    assert await pay(stage, payment(1, transaction="T-in-time"), now=MORNING) == ["paid"]
    assert await stage.status(1) == "L"


async def test_the_same_payment_two_and_three_times_in_one_call_counts_once(stage: Stage) -> None:
    await stage.join(1, 2)
    await stage.drained()
    words = await pay(stage, payment(1), payment(1), payment(2), payment(1))
    assert words == ["paid", "already_paid", "paid", "already_paid"]
    assert await stage.new_events() == [Payment(EVENING, [payment_row(1, "paid"), payment_row(2, "paid")])]
    assert await stage.totals() == {"orders": 2, "members": 2, "pool_fen": 200}


async def test_two_payments_of_one_order_in_one_call_make_one_member_and_one_refund(stage: Stage) -> None:
    await stage.join(1)
    await stage.drained()
    words = await pay(stage, payment(1), payment(1, transaction="T-b"), payment(1, transaction="T-b"), payment(1))
    assert words == ["paid", "refund_due", "refund_due", "already_paid"]
    rows = [payment_row(1, "paid"), payment_row(1, "refund_second", transaction="T-b")]
    assert await stage.new_events() == [Payment(EVENING, rows)]
    assert await stage.totals() == {"orders": 1, "members": 1, "pool_fen": 100, "refused_payments": 1}


async def test_each_payment_of_a_call_gets_its_own_answer_in_order(stage: Stage) -> None:
    await stage.members(1)
    await stage.join(2, 3, 4, 5)
    await stage.drained()
    rows = [
        payment(6),
        payment(5, buyer_id="x"),
        payment(4, paid_at_ms=MIDNIGHT),
        payment(3),
        payment(2, waited_ms=1),
        payment(1),
    ]
    words = await pay(stage, *rows, now=OPENS)
    assert words == ["order_not_found", "buyer_mismatch", "refund_due", "paid", "paid", "already_paid"]
    expected = [payment_row(4, "refund_late", MIDNIGHT), payment_row(3, "paid_late"), payment_row(2, "paid")]
    assert await stage.new_events() == [Payment(OPENS, expected)]
    assert await stage.totals() == {"orders": 5, "members": 3, "pool_fen": 300, "late": 1, "refused_payments": 1}
    assert await stage.status(1, 2, 3, 4, 5, 6) == "MMLOO-"


async def test_one_of_many_simultaneous_callbacks_makes_the_member(stage: Stage) -> None:
    await stage.join(1)
    await stage.drained()
    answers = await asyncio.gather(*(pay(stage, payment(1)) for _ in range(40)))
    assert sorted(answers) == [["already_paid"]] * 39 + [["paid"]]
    assert await stage.new_events() == [Payment(EVENING, [payment_row(1, "paid")])]
    assert (await stage.totals())["pool_fen"] == 100


async def test_of_many_simultaneous_payments_one_makes_the_member_and_the_others_are_refunded(stage: Stage) -> None:
    await stage.join(1)
    payments = [payment(1, transaction=f"T-{i}") for i in range(20)]
    answers = await asyncio.gather(*(pay(stage, one) for one in payments for _ in range(2)))
    words = sorted(word for (word,) in answers)
    assert words == ["already_paid", "paid", *["refund_due"] * 38]
    assert await stage.totals() == {"orders": 1, "members": 1, "pool_fen": 100, "refused_payments": 19}


async def test_a_full_vector_of_256_users_pays_the_largest_stake(empty_stage: Stage) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    await empty_stage.open(stake_fen=10**13)
    await empty_stage.join(*uids)
    await empty_stage.drained()
    rows = [payment(uid, amount_fen=10**13) for uid in uids]
    assert await pay(empty_stage, *rows) == ["paid"] * 256
    event = (await empty_stage.new_events())[0]
    assert isinstance(event, Payment)
    assert [(row[0], row[3]) for row in event.rows] == [(uid, 10**13) for uid in uids]
    assert await empty_stage.totals() == {"orders": 256, "members": 256, "pool_fen": 256 * 10**13}


async def test_texts_that_look_like_numbers_stay_texts(stage: Stage) -> None:
    await stage.join(1)
    numeric = payment(1, transaction="00420", channel="1", raw="1e5")
    await stage.drained()
    assert await pay(stage, numeric) == ["paid"]
    event = (await stage.new_events())[0]
    assert isinstance(event, Payment)
    assert (event.rows[0][2], event.rows[0][6:]) == ("00420", ("1", "1e5"))
    assert await pay(stage, payment(1, transaction="420")) == ["refund_due"]
    assert await pay(stage, numeric) == ["already_paid"]


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536, 300_000])
async def test_a_body_of_any_size_is_kept_as_it_came(stage: Stage, size: int) -> None:
    """MessagePack writes texts in five ways, by their length in bytes."""
    raw = "早" * (size // 3) + "x" * (size % 3)
    await stage.join(1, 2)
    await stage.drained()
    assert await pay(stage, payment(1, raw=raw), payment(2)) == ["paid", "paid"]
    event = (await stage.new_events())[0]
    assert isinstance(event, Payment)
    assert [row[7] for row in event.rows] == [raw, payment(2)["raw"]]


class AllOpen:
    """Every round is open already."""

    async def open_round(self, day: date) -> object:
        raise AssertionError(day)

    async def reopen(self, day: date) -> bool:
        raise AssertionError(day)


async def no_salt_key(day: date) -> bytes | None:
    raise AssertionError(day)


async def test_a_body_that_is_not_utf_8_does_not_block_the_outbox(stage: Stage) -> None:
    """JSON is read leniently where nobody asks for the field; its bytes are kept all the same."""
    time = GameTime()
    time.stop_at(EVENING)
    asking = Asking(Settings(), stage.redis, time, AllOpen())
    incoming = Incoming(asking, stage.redis, AllOpen(), Receipts(None, no_salt_key, time))
    await stage.join(1)
    number = str(order(1)["order_no"]).encode()
    raw = b'{"order_no": "%s", "extra": {"amount": 100, "buyerId": "open-1", "transactionId": "T"}, "more": "\xff"}'
    raw %= number
    answer = await incoming.pay(paid(msgspec.json.decode(raw, type=PaymentCallback), raw), "platform", monotonic())
    assert answer.word == "paid"
    assert isinstance((await stage.events())[-1], Payment)
