"""close: fixes members and winners, to settle or to void, and tells the books the totals."""

import asyncio

import pytest

from clock.game.events import Closed
from tests.lua.stage import CLOSES, EVENING, GRACE_MS, MORNING, MORNING_ENDS, SETTLES, Stage, payment

STATES = {"settle": "closed", "void": "void"}


@pytest.mark.parametrize(
    "why, round_, now, word",
    [
        # already_closed before not_due
        ("settle", "closed", MORNING, "already_closed"),
        ("settle", "closed", SETTLES, "already_closed"),
        ("settle", "published", SETTLES, "already_closed"),
        ("settle", "settled", SETTLES, "already_closed"),
        ("settle", "finished", MORNING_ENDS, "already_closed"),
        ("settle", "void", MORNING, "already_closed"),
        ("settle", "void", SETTLES, "already_closed"),
        ("void", "void", SETTLES, "already_closed"),
        # what is settled cannot be voided
        ("void", "settled", SETTLES, "already_closed"),
        ("void", "finished", MORNING_ENDS, "already_closed"),
        # not_due until whoever came in time, and waited for us, has been served
        ("settle", "open", EVENING, "not_due"),
        ("settle", "open", CLOSES, "not_due"),
        ("settle", "open", CLOSES + GRACE_MS - 1, "not_due"),
        # closed
        ("settle", "open", CLOSES + GRACE_MS, "closed"),
        ("settle", "open", SETTLES, "closed"),
        ("settle", "open", MORNING_ENDS, "closed"),
        ("void", "open", EVENING, "closed"),
        ("void", "open", MORNING, "closed"),
        ("void", "open", SETTLES, "closed"),
        ("void", "closed", SETTLES, "closed"),
        ("void", "published", SETTLES, "closed"),
    ],
)
async def test_first_result_that_applies_is_the_answer(
    stage: Stage, why: str, round_: str, now: int, word: str
) -> None:
    user = "P" if round_ in ("settled", "finished") else "C"
    await stage.bring(user, round_)
    if word == "closed":
        before = await stage.totals()
        assert await stage.close(why, now) == "closed"
        assert await stage.state() == STATES[why]
        assert await stage.totals() == before
        assert await stage.new_events() == [Closed(now, why, 1, 1, 0, 100)]  # type: ignore[arg-type]
    else:
        async with stage.nothing_changes():
            assert await stage.close(why, now) == word


async def test_a_round_that_is_not_open_says_so(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.close("settle") == "no_round"
        assert await empty_stage.close("void") == "no_round"


async def test_the_entry_says_what_the_books_must_add_up_to(stage: Stage) -> None:
    await stage.members(1, 2, 3)
    await stage.late_members(4, 5)
    await stage.join(6)
    await stage.check_in(1, 4)
    await stage.drained()
    assert await stage.close() == "closed"
    assert await stage.new_events() == [Closed(SETTLES, "settle", 5, 2, 2, 500)]


@pytest.mark.parametrize("why", ["settle", "void"])
async def test_an_empty_round_closes_with_zeros(stage: Stage, why: str) -> None:
    assert await stage.close(why) == "closed"
    assert await stage.new_events() == [Closed(SETTLES, why, 0, 0, 0, 0)]  # type: ignore[arg-type]


@pytest.mark.parametrize("why", ["settle", "void"])
async def test_after_it_nobody_joins_pays_in_or_checks_in(stage: Stage, why: str) -> None:
    await stage.winners(1)
    await stage.members(2)
    await stage.join(3)
    await stage.drained()
    await stage.close(why, SETTLES)
    closed = (await stage.new_events())[0]
    assert isinstance(closed, Closed)
    refused = "voided" if why == "void" else "too_late"
    assert await stage.check_in(2, now=CLOSES + GRACE_MS, waited_ms=GRACE_MS) == [refused]
    assert await stage.check_in(2, now=MORNING) == [refused]
    assert await stage.call("pay", payment(3), now=MORNING) == ["refund_due"]
    totals = await stage.totals()
    assert (totals["members"], totals["winners"], totals["pool_fen"]) == (
        closed.members,
        closed.winners,
        closed.pool_fen,
    )


async def test_the_last_in_time_is_served_before_the_first_close_succeeds(stage: Stage) -> None:
    """The grace is the longest wait that counts: there is no instant at which both would be possible."""
    await stage.members(1)
    last = CLOSES + GRACE_MS - 1
    assert await stage.close("settle", last) == "not_due"
    assert await stage.check_in(1, now=last, waited_ms=GRACE_MS) == ["checked_in"]
    assert await stage.check_in(2, now=last + 1, waited_ms=GRACE_MS) == ["too_late"]
    assert await stage.close("settle", last + 1) == "closed"


async def test_voiding_a_closed_round_tells_the_books_again_and_stops_claiming(stage: Stage) -> None:
    await stage.bring("C", "published")
    assert await stage.close("void") == "closed"
    assert await stage.publish(1, 5) == "not_closed"
    assert await stage.settle(1, 7) == "not_closed"
    assert await stage.claim(1) == ["voided"]
    assert await stage.claim(1, by="system", now=MORNING_ENDS) == ["voided"]


@pytest.mark.parametrize("why", ["settle", "void"])
async def test_one_of_many_simultaneous_closings_closes(stage: Stage, why: str) -> None:
    await stage.members(1)
    await stage.drained()
    answers = await asyncio.gather(*(stage.close(why) for _ in range(20)))
    assert sorted(answers) == ["already_closed"] * 19 + ["closed"]
    assert len(await stage.events()) == 1


async def test_check_ins_that_race_the_closing_are_in_the_entry_or_refused(stage: Stage) -> None:
    uids = list(range(1, 31))
    await stage.members(*uids)
    await stage.drained()
    calls = [stage.check_in(uid) for uid in uids]
    *answers, word = await asyncio.gather(*calls, stage.close())
    assert word == "closed"
    winners = [answer for answer in answers if answer == ["checked_in"]]
    closed = (await stage.events())[-1]
    found = [event for event in await stage.events() if isinstance(event, Closed)]
    assert len(found) == 1 and closed == found[0], "nothing comes after it"
    assert found[0].winners == len(winners) == (await stage.totals()).get("winners", 0)
    assert all(answer in (["checked_in"], ["too_late"]) for answer in answers)


async def test_a_pool_of_the_largest_size_is_told_to_the_fen(empty_stage: Stage) -> None:
    await empty_stage.open()
    await empty_stage.redis.hset(
        empty_stage.key("totals"), mapping={"members": 2**53 - 1, "winners": 10**15, "late": 0, "pool_fen": 2**53 - 1}
    )
    assert await empty_stage.close() == "closed"
    assert await empty_stage.events() == [Closed(SETTLES, "settle", 2**53 - 1, 10**15, 0, 2**53 - 1)]
