"""check_in: each result of docs/rules.md in its order, at its boundaries, once a user."""

import asyncio
from dataclasses import dataclass

import pytest

from clock.game.events import CheckedIn
from tests.conftest import at
from tests.lua.stage import (
    CLOSES,
    EVENING,
    MAX_UID,
    MIDNIGHT,
    MORNING,
    MORNING_ENDS,
    OPENS,
    SETTLES,
    Stage,
    payment,
    tap,
)


@dataclass(frozen=True)
class Case:
    user: str
    round: str
    now: int
    result: str
    waited_ms: int = 0

    def __str__(self) -> str:
        return f"{self.user} {self.round} {self.now - OPENS:+}ms waited {self.waited_ms} - {self.result}"


CASES = [
    # wrong_round: the morning is D+1, midnight to midnight
    Case("M", "open", MIDNIGHT - 1, "wrong_round"),
    Case("M", "open", MIDNIGHT, "too_early"),
    Case("M", "open", MORNING_ENDS - 1, "too_late"),
    Case("M", "open", MORNING_ENDS, "wrong_round"),
    Case("M", "open", MORNING_ENDS + 1, "wrong_round"),
    Case("M", "open", MORNING_ENDS, "too_late", waited_ms=1),
    Case("M", "open", MORNING_ENDS + 4_999, "too_late", waited_ms=5_000),
    # wrong_round before voided
    Case("M", "void", MORNING_ENDS, "wrong_round"),
    Case("M", "void", MIDNIGHT - 1, "wrong_round"),
    # wrong_round before already_checked_in: that was another round's answer
    Case("C", "open", MORNING_ENDS, "wrong_round"),
    # voided before everything else of the round
    Case("M", "void", MIDNIGHT, "voided"),
    Case("M", "void", MORNING, "voided"),
    Case("M", "void", CLOSES, "voided"),
    Case("C", "void", MORNING, "voided"),
    # already_checked_in before too_early and before too_late
    Case("C", "open", OPENS - 1, "already_checked_in"),
    Case("C", "open", MORNING, "already_checked_in"),
    Case("C", "open", CLOSES, "already_checked_in"),
    Case("C", "open", SETTLES, "already_checked_in"),
    Case("P", "settled", OPENS - 1, "already_checked_in"),
    Case("P", "settled", MORNING_ENDS - 1, "already_checked_in"),
    # too_early; before too_late (the round is closed) and before not_joined
    Case("M", "open", OPENS - 1, "too_early"),
    Case("L", "open", OPENS - 1, "too_early"),
    Case("M", "closed", OPENS - 1, "too_early"),
    Case("-", "open", OPENS - 1, "too_early"),
    Case("O", "open", OPENS - 1, "too_early"),
    # opening is judged when the script runs: having waited does not make it earlier or later
    Case("M", "open", OPENS, "checked_in", waited_ms=5_000),
    Case("M", "open", OPENS - 1, "too_early", waited_ms=5_000),
    # too_late; before not_joined
    Case("M", "open", CLOSES, "too_late"),
    Case("L", "open", CLOSES, "too_late"),
    Case("-", "open", CLOSES, "too_late"),
    Case("O", "open", CLOSES, "too_late"),
    # a closed round takes nobody, whatever the clock says
    Case("M", "closed", MORNING, "too_late"),
    Case("M", "closed", CLOSES + 5_000, "too_late", waited_ms=5_000),
    # closing is judged by when the request reached the service
    Case("M", "open", CLOSES, "checked_in", waited_ms=1),
    Case("M", "open", CLOSES + 4_999, "checked_in", waited_ms=5_000),
    Case("M", "open", CLOSES + 5_000, "too_late", waited_ms=5_000),
    # not_joined: no order, or one that is not paid
    Case("-", "open", OPENS, "not_joined"),
    Case("-", "open", CLOSES - 1, "not_joined"),
    Case("O", "open", OPENS, "not_joined"),
    Case("O", "open", CLOSES - 1, "not_joined"),
    # checked_in
    Case("M", "open", OPENS, "checked_in"),
    Case("M", "open", OPENS + 1, "checked_in"),
    Case("M", "open", CLOSES - 1, "checked_in"),
    Case("L", "open", OPENS, "checked_in"),
    Case("L", "open", CLOSES - 1, "checked_in"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_first_result_that_applies_is_the_answer(stage: Stage, case: Case) -> None:
    await stage.bring(case.user, case.round)
    if case.result == "checked_in":
        before = await stage.totals()
        assert await stage.check_in(1, now=case.now, waited_ms=case.waited_ms) == ["checked_in"]
        assert await stage.totals() == {**before, "winners": 1}
        assert await stage.new_events() == [CheckedIn(case.now, 1, [1])]
        assert await stage.status(1) == "C"
    else:
        async with stage.nothing_changes():
            assert await stage.check_in(1, now=case.now, waited_ms=case.waited_ms) == [case.result]


async def test_a_round_that_is_not_open_says_so_at_any_time(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        for now in (EVENING, MORNING, MORNING_ENDS):
            assert await empty_stage.check_in(1, 2, now=now) == ["no_round", "no_round"]


async def test_a_retry_is_answered_and_counts_once(stage: Stage) -> None:
    await stage.members(1)
    assert await stage.check_in(1) == ["checked_in"]
    async with stage.nothing_changes():
        assert await stage.check_in(1) == ["already_checked_in"]
        assert await stage.check_in(1, 1, 1, now=CLOSES) == ["already_checked_in"] * 3


async def test_a_user_twice_or_three_times_in_one_call_counts_once(stage: Stage) -> None:
    await stage.members(1, 2)
    await stage.drained()
    words = await stage.check_in(1, 2, 1, 1, 2)
    assert words == ["checked_in", "checked_in", *["already_checked_in"] * 3]
    assert (await stage.totals())["winners"] == 2
    assert await stage.new_events() == [CheckedIn(MORNING, 1, [1, 2])]


async def test_a_winner_is_told_the_rank_that_the_entry_says(stage: Stage) -> None:
    """Over the bounds of a byte, at which the script computes it anew, and with others among them."""
    members = range(1, 601)
    for first in members[::200]:
        await stage.members(*range(first, first + 200))
    await stage.drained()
    assert await stage.ranks(1, 2, 1) == [1, 2, "already_checked_in"]
    told: dict[int, int] = {1: 1, 2: 2}
    for first in range(3, 601, 200):
        uids = [uid for pair in zip(range(first, first + 200), range(1_000, 1_200), strict=True) for uid in pair]
        for uid, said in zip(
            uids,
            await stage.ranks(
                *uids[:256],
            )
            + await stage.ranks(*uids[256:]),
            strict=True,
        ):
            if uid < 601:
                told[uid] = said
            else:
                assert said == "not_joined"
    entries = [one for one in await stage.new_events() if isinstance(one, CheckedIn)]
    assert told == {uid: one.first_rank + i for one in entries for i, uid in enumerate(one.uids)}
    assert sorted(told.values()) == list(members)
    for uid in members:
        record = await stage.redis.hget(stage.key("members"), uid)
        assert int.from_bytes(record[-4:], "big") == told[uid]


async def test_each_user_of_a_call_gets_the_own_answer_in_order(stage: Stage) -> None:
    await stage.winners(1)
    await stage.members(2, 3)
    await stage.late_members(4)
    await stage.join(5)
    await stage.drained()
    assert await stage.check_in(5, 1, 4, 6, 2) == [
        "not_joined",
        "already_checked_in",
        "checked_in",
        "not_joined",
        "checked_in",
    ]
    assert await stage.new_events() == [CheckedIn(MORNING, 2, [4, 2])]
    assert await stage.totals() == {"orders": 5, "members": 4, "pool_fen": 400, "late": 1, "winners": 3}
    assert await stage.status(1, 2, 3, 4, 5, 6) == "CCMCO-"


async def test_users_of_one_call_are_judged_by_their_own_arrival(stage: Stage) -> None:
    await stage.members(1, 2, 3)
    users = [tap(1, waited_ms=300), tap(2, waited_ms=200), tap(3, waited_ms=199)]
    assert await stage.call("check_in", *users, now=CLOSES + 199) == [1, 2, "too_late"]


async def test_one_of_many_simultaneous_requests_checks_in(stage: Stage) -> None:
    await stage.members(1)
    await stage.drained()
    answers = await asyncio.gather(*(stage.check_in(1) for _ in range(40)))
    assert sorted(answers) == [["already_checked_in"]] * 39 + [["checked_in"]]
    assert await stage.new_events() == [CheckedIn(MORNING, 1, [1])]
    assert (await stage.totals())["winners"] == 1


async def test_a_full_vector_of_256_users_checks_in(stage: Stage) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    await stage.members(*uids)
    await stage.drained()
    assert await stage.check_in(*uids) == ["checked_in"] * 256
    assert await stage.new_events() == [CheckedIn(MORNING, 1, uids)]
    assert (await stage.totals())["winners"] == 256


@pytest.mark.parametrize("opens, closes", [("00:00", "23:59"), ("04:30", "04:31")])
async def test_windows_are_those_of_the_round(empty_stage: Stage, opens: str, closes: str) -> None:
    await empty_stage.open(check_in_opens_ms=at(opens, 1), check_in_closes_ms=at(closes, 1))
    await empty_stage.members(1, 2)
    assert await empty_stage.check_in(1, now=at(opens, 1)) == ["checked_in"]
    assert await empty_stage.check_in(2, now=at(closes, 1)) == ["too_late"]


async def test_a_record_of_an_older_version_gets_its_rank_too(stage: Stage) -> None:
    """It has no place for it; the order is still known afterwards."""
    await stage.members(1, 2)
    for uid in (1, 2):
        whole = await stage.redis.hget(stage.key("members"), uid)
        await stage.redis.hset(stage.key("members"), uid, whole[:-5])
    assert await stage.check_in(2, 1) == ["checked_in", "checked_in"]
    await stage.settled(30, 12)
    assert await stage.claim(1, 2) == [["claimed", 12, 100], ["claimed", 30, 100]]
    assert await stage.call("pay", payment(1)) == ["already_paid"]


async def test_a_check_in_leaves_a_record_as_long_as_it_was(stage: Stage) -> None:
    await stage.members(*range(1, 301))
    before = await stage.redis.hmget(stage.key("members"), range(1, 301))
    await stage.check_in(*range(1, 201))
    await stage.check_in(*range(201, 301))
    after = await stage.redis.hmget(stage.key("members"), range(1, 301))
    assert [record[1:-5] for record in before] == [record[1:-5] for record in after]
    ranks = [int.from_bytes(record[-4:], "big") for record in after]
    assert (ranks, {record[-5] for record in after}) == (list(range(1, 301)), {0xCE})
