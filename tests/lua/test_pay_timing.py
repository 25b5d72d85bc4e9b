"""pay: the table of timing, a late member, and what is owed back after the round."""

from dataclasses import dataclass

import pytest

from clock.game.events import CheckedIn, Payment
from tests.conftest import at
from tests.lua.stage import (
    CLOSES,
    EVENING,
    MIDNIGHT,
    MORNING,
    MORNING_ENDS,
    OPENS,
    SETTLES,
    Stage,
    pay,
    payment,
    payment_row,
)

MEMBERS = {"paid": "M", "paid_late": "L"}


@dataclass(frozen=True)
class Timing:
    """A first payment of an order, all else being well."""

    round: str
    now: int
    paid_at_ms: int
    outcome: str
    counted_as_ms: int
    """When the books say that it was paid."""
    waited_ms: int = 0

    def __str__(self) -> str:
        paid_at = self.paid_at_ms - MIDNIGHT if self.paid_at_ms >= 0 else "?"
        return f"{self.round} paid {paid_at} said {self.now - MIDNIGHT:+} waited {self.waited_ms} - {self.outcome}"


LAST = MIDNIGHT - 1
TIMINGS = [
    # the callback arrives before joining closes: paid before / after (cannot be: it is the time of receipt)
    Timing("open", EVENING, EVENING - 1, "paid", EVENING - 1),
    Timing("open", EVENING, EVENING, "paid", EVENING),
    Timing("open", LAST, LAST, "paid", LAST),
    Timing("open", EVENING, EVENING + 1, "paid", EVENING),
    Timing("open", EVENING, MIDNIGHT + 1, "paid", EVENING),
    Timing("open", LAST, MIDNIGHT, "paid", LAST),
    Timing("open", EVENING, -1, "paid", EVENING),
    Timing("open", LAST, -1, "paid", LAST),
    Timing("open", EVENING, 0, "paid", 0),
    # until check-in opens: member / refund
    Timing("open", MIDNIGHT, LAST, "paid", LAST),
    Timing("open", OPENS - 1, LAST, "paid", LAST),
    Timing("open", MIDNIGHT, MIDNIGHT, "refund_late", MIDNIGHT),
    Timing("open", MIDNIGHT + 1, MIDNIGHT, "refund_late", MIDNIGHT),
    Timing("open", OPENS - 1, MIDNIGHT, "refund_late", MIDNIGHT),
    Timing("open", OPENS - 1, OPENS - 1, "refund_late", OPENS - 1),
    Timing("open", MIDNIGHT, -1, "refund_late", MIDNIGHT),
    Timing("open", MIDNIGHT, at("09:00", 3), "refund_late", MIDNIGHT),
    # during check-in: late member / refund
    Timing("open", OPENS, LAST, "paid_late", LAST),
    Timing("open", OPENS + 1, EVENING, "paid_late", EVENING),
    Timing("open", CLOSES - 1, LAST, "paid_late", LAST),
    Timing("open", OPENS, MIDNIGHT, "refund_late", MIDNIGHT),
    Timing("open", CLOSES - 1, CLOSES - 1, "refund_late", CLOSES - 1),
    Timing("open", MORNING, -1, "refund_late", MORNING),
    # after check-in closes: refund / refund
    Timing("open", CLOSES, LAST, "refund_closed", LAST),
    Timing("open", CLOSES + 1, EVENING, "refund_closed", EVENING),
    Timing("open", CLOSES, MIDNIGHT, "refund_late", MIDNIGHT),
    Timing("open", MORNING_ENDS, EVENING, "refund_closed", EVENING),
    Timing("closed", SETTLES, EVENING, "refund_closed", EVENING),
    Timing("closed", SETTLES, CLOSES, "refund_late", CLOSES),
    Timing("published", SETTLES, EVENING, "refund_closed", EVENING),
    Timing("settled", SETTLES, EVENING, "refund_closed", EVENING),
    Timing("settled", MORNING_ENDS, MORNING, "refund_late", MORNING),
    Timing("finished", MORNING_ENDS, EVENING, "refund_closed", EVENING),
    # a closed pool never changes, whatever the clock says
    Timing("closed", MORNING, EVENING, "refund_closed", EVENING),
    Timing("closed", EVENING, EVENING, "refund_closed", EVENING),
    Timing("closed", CLOSES + 5_000, EVENING, "refund_closed", EVENING, waited_ms=5_000),
    # a void round gives back whatever comes, whenever
    Timing("void", EVENING, EVENING, "refund_void", EVENING),
    Timing("void", MORNING, EVENING, "refund_void", EVENING),
    Timing("void", SETTLES, MORNING, "refund_void", MORNING),
    # a closing is judged by when the callback reached the service
    Timing("open", MIDNIGHT, -1, "paid", LAST, waited_ms=1),
    Timing("open", MIDNIGHT + 4_999, -1, "paid", LAST, waited_ms=5_000),
    Timing("open", MIDNIGHT + 5_000, -1, "refund_late", MIDNIGHT, waited_ms=5_000),
    Timing("open", OPENS, EVENING, "paid", EVENING, waited_ms=1),
    Timing("open", OPENS + 4_999, EVENING, "paid", EVENING, waited_ms=5_000),
    Timing("open", OPENS + 5_000, EVENING, "paid_late", EVENING, waited_ms=5_000),
    Timing("open", CLOSES, EVENING, "paid_late", EVENING, waited_ms=1),
    Timing("open", CLOSES + 4_999, EVENING, "paid_late", EVENING, waited_ms=5_000),
    Timing("open", CLOSES + 5_000, EVENING, "refund_closed", EVENING, waited_ms=5_000),
]


@pytest.mark.parametrize("case", TIMINGS, ids=str)
async def test_timing_decides_between_member_late_member_and_refund(stage: Stage, case: Timing) -> None:
    await stage.bring("O", case.round)
    one = payment(1, case.paid_at_ms, waited_ms=case.waited_ms)
    status = await stage.status(1)
    word = "paid" if case.outcome in MEMBERS else "refund_due"
    assert await pay(stage, one, now=case.now) == [word]
    assert await stage.new_events() == [Payment(case.now, [payment_row(1, case.outcome, case.counted_as_ms)])]
    totals = await stage.totals()
    if word == "paid":
        late = {"late": 1} if case.outcome == "paid_late" else {}
        assert totals == {"orders": 1, "members": 1, "pool_fen": 100, **late}
        assert await stage.status(1) == MEMBERS[case.outcome]
    else:
        assert totals == {"orders": 1, "refused_payments": 1}
        assert await stage.status(1) == status
    async with stage.nothing_changes():
        again = "already_paid" if word == "paid" else "refund_due"
        assert await pay(stage, one, one, now=case.now) == [again, again]


async def test_a_payment_received_before_joining_closed_is_never_judged_as_paid_after(stage: Stage) -> None:
    """A provider's clock a moment ahead of ours, and a callback that waited in our queue over midnight: a success
    time after the receipt is in the future, and the receipt counts."""
    await stage.join(1)
    ahead = payment(1, paid_at_ms=MIDNIGHT, waited_ms=100)
    assert await pay(stage, ahead, now=MIDNIGHT + 99) == ["paid"]
    assert await stage.status(1) == "M"


async def test_a_late_member_may_check_in(stage: Stage) -> None:
    await stage.late_members(1)
    await stage.drained()
    assert await stage.check_in(1) == ["checked_in"]
    assert await stage.new_events() == [CheckedIn(MORNING, 1, [1])]
    assert await pay(stage, payment(1), now=MORNING) == ["already_paid"]


async def test_what_is_owed_after_the_round_is_finished_is_kept_until_it_is_read(stage: Stage) -> None:
    """A finished round's keys expire; the entry of a late payment does not, until it has been drained."""
    await stage.winners(1)
    await stage.join(2)
    await stage.settled(0)
    await stage.claim(1)
    await stage.drained()
    assert await stage.finish() == "finished"
    assert await pay(stage, payment(2), now=MORNING_ENDS) == ["refund_due"]
    assert (await stage.ttls())["outbox"] == -1
    assert await stage.finish() == "undrained"
    assert (await stage.ttls())["outbox"] == -1
    assert await stage.new_events() == [Payment(MORNING_ENDS, [payment_row(2, "refund_closed")])]
    assert await stage.finish() == "finished"
    assert all(left > 0 for left in (await stage.ttls()).values())


async def test_what_is_owed_in_a_finished_void_round_is_kept_until_it_is_read(stage: Stage) -> None:
    await stage.bring("O", "void")
    assert await stage.finish() == "finished"
    assert await pay(stage, payment(1), now=MORNING_ENDS) == ["refund_due"]
    assert (await stage.ttls())["outbox"] == -1
    await stage.drained()
    assert await stage.finish() == "finished"
    assert all(left > 0 for left in (await stage.ttls()).values())


async def test_a_payment_that_changes_nothing_does_not_keep_a_finished_round(stage: Stage) -> None:
    await stage.bring("P", "finished")
    async with stage.nothing_changes():
        assert await pay(stage, payment(1), payment(2), now=MORNING_ENDS) == ["already_paid", "order_not_found"]
