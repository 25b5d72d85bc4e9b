"""claim: each result of docs/rules.md in its order, one packet a winner, by the user or by the system."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from clock.game import keys
from clock.game.events import Claimed
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
    tap,
)

CLAIMED = ["claimed", 7, 100]
AGAIN = ["already_claimed", 7, 100]


@dataclass(frozen=True)
class Case:
    user: str
    round: str
    now: int
    result: Any
    waited_ms: int = 0
    by: str = "user"

    def __str__(self) -> str:
        word = self.result if isinstance(self.result, str) else self.result[0]
        return f"{self.user} {self.round} {self.now - CLOSES:+}ms waited {self.waited_ms} by {self.by} - {word}"


CASES = [
    # wrong_round: the user claims in the morning of D+1, midnight to midnight
    Case("C", "settled", MIDNIGHT - 1, "wrong_round"),
    Case("C", "settled", MORNING_ENDS - 1, CLAIMED),
    Case("C", "settled", MORNING_ENDS, "wrong_round"),
    Case("C", "settled", MORNING_ENDS + 1, "wrong_round"),
    Case("C", "settled", MORNING_ENDS, CLAIMED, waited_ms=1),
    Case("C", "settled", MORNING_ENDS + 4_999, CLAIMED, waited_ms=5_000),
    Case("C", "settled", MORNING_ENDS + 5_000, "wrong_round", waited_ms=5_000),
    # wrong_round before voided, before already_claimed and before the rest
    Case("C", "void", MORNING_ENDS, "wrong_round"),
    Case("P", "settled", MORNING_ENDS, "wrong_round"),
    Case("-", "settled", MORNING_ENDS, "wrong_round"),
    # the system credits whenever it comes
    Case("C", "settled", MORNING_ENDS, CLAIMED, by="system"),
    Case("C", "settled", MORNING_ENDS + 90_000_000, CLAIMED, by="system"),
    Case("P", "settled", MORNING_ENDS, AGAIN, by="system"),
    Case("P", "finished", MORNING_ENDS, AGAIN, by="system"),
    Case("C", "void", MORNING_ENDS, "voided", by="system"),
    Case("C", "closed", MORNING_ENDS, "not_settled", by="system"),
    # voided before the rest of the round's answers
    Case("C", "void", MIDNIGHT, "voided"),
    Case("C", "void", CLOSES, "voided"),
    Case("-", "void", SETTLES, "voided"),
    # already_claimed before too_early, with the same amounts
    Case("P", "settled", MORNING, AGAIN),
    Case("P", "settled", CLOSES - 1, AGAIN),
    Case("P", "settled", SETTLES, AGAIN),
    Case("P", "finished", MORNING_ENDS - 1, AGAIN),
    # too_early before not_settled, not_joined, not_checked_in
    Case("C", "open", MIDNIGHT, "too_early"),
    Case("C", "open", CLOSES - 1, "too_early"),
    Case("C", "settled", CLOSES - 1, "too_early"),
    Case("-", "open", OPENS, "too_early"),
    Case("-", "settled", CLOSES - 1, "too_early"),
    Case("M", "settled", CLOSES - 1, "too_early"),
    # an opening is judged when the script runs
    Case("C", "open", CLOSES, "not_settled", waited_ms=5_000),
    Case("C", "settled", CLOSES, CLAIMED, waited_ms=5_000),
    # not_settled before not_joined, not_checked_in
    Case("C", "open", CLOSES, "not_settled"),
    Case("C", "closed", SETTLES, "not_settled"),
    Case("C", "published", SETTLES, "not_settled"),
    Case("-", "open", CLOSES, "not_settled"),
    Case("-", "closed", SETTLES, "not_settled"),
    Case("M", "published", SETTLES, "not_settled"),
    # not_joined
    Case("-", "settled", SETTLES, "not_joined"),
    Case("O", "settled", SETTLES, "not_joined"),
    Case("-", "finished", MORNING_ENDS - 1, "not_joined"),
    # not_checked_in
    Case("M", "settled", SETTLES, "not_checked_in"),
    Case("L", "settled", SETTLES, "not_checked_in"),
    Case("M", "settled", MORNING_ENDS, "not_checked_in", by="system"),
    Case("M", "finished", MORNING_ENDS - 1, "not_checked_in"),
    # claimed
    Case("C", "settled", SETTLES, CLAIMED),
    Case("C", "settled", SETTLES + 1, CLAIMED),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_first_result_that_applies_is_the_answer(stage: Stage, case: Case) -> None:
    await stage.bring(case.user, case.round)
    if case.result == CLAIMED:
        before = await stage.totals()
        assert await stage.claim(1, now=case.now, waited_ms=case.waited_ms, by=case.by) == [CLAIMED]
        assert await stage.totals() == {**before, "claimed": 1, "claimed_fen": 7}
        assert await stage.new_events() == [Claimed(case.now, case.by, 100, [0], [1], [7])]  # type: ignore[arg-type]
        assert await stage.packets() == [7]
        assert await stage.status(1) == "P"
    else:
        async with stage.nothing_changes():
            assert await stage.claim(1, now=case.now, waited_ms=case.waited_ms, by=case.by) == [case.result]


async def test_a_round_that_is_not_open_says_so_at_any_time(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        for by in ("user", "system"):
            for now in (EVENING, SETTLES, MORNING_ENDS):
                assert await empty_stage.claim(1, 2, now=now, by=by) == ["no_round", "no_round"]


async def test_a_packet_belongs_to_a_rank_and_not_to_a_moment(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.winners(3)
    await stage.settled(30, 0, 12)
    await stage.drained()
    assert await stage.claim(3) == [["claimed", 12, 100]]
    assert await stage.claim(2, 1) == [["claimed", 0, 100], ["claimed", 30, 100]]
    assert await stage.new_events() == [
        Claimed(SETTLES, "user", 100, [2], [3], [12]),
        Claimed(SETTLES, "user", 100, [1, 0], [2, 1], [0, 30]),
    ]
    totals = await stage.totals()
    assert (totals["claimed"], totals["claimed_fen"]) == (3, 42) == (totals["published"], totals["published_fen"])


async def test_packets_of_every_piece_are_found(stage: Stage) -> None:
    """At both ends of each list, and one beyond."""
    count = 2 * keys.PIECE + 1
    for start in range(1, count + 1, 200):
        await stage.winners(*range(start, min(start + 200, count + 1)))
    fens = list(range(count))
    assert await stage.close() == "closed"
    for first in range(0, count, 400):
        assert await stage.publish(first, *fens[first : first + 400]) == "published"
    assert await stage.settle(count, sum(fens)) == "settled"
    for rank in (1, keys.PIECE, keys.PIECE + 1, 2 * keys.PIECE, 2 * keys.PIECE + 1):
        assert await stage.claim(rank) == [["claimed", rank - 1, 100]]


async def test_a_retry_gets_the_same_amounts_and_no_second_packet(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.settled(30, 12)
    assert await stage.claim(1) == [["claimed", 30, 100]]
    async with stage.nothing_changes():
        assert await stage.claim(1) == [["already_claimed", 30, 100]]
        assert await stage.claim(1, 1, 1) == [["already_claimed", 30, 100]] * 3
        assert await stage.claim(1, by="system", now=MORNING_ENDS) == [["already_claimed", 30, 100]]
    assert await stage.packets() == [30, 12]


async def test_a_user_twice_or_three_times_in_one_call_gets_one_packet(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.settled(30, 12)
    await stage.drained()
    assert await stage.claim(1, 1, 2, 1, 2) == [
        ["claimed", 30, 100],
        ["already_claimed", 30, 100],
        ["claimed", 12, 100],
        ["already_claimed", 30, 100],
        ["already_claimed", 12, 100],
    ]
    assert await stage.new_events() == [Claimed(SETTLES, "user", 100, [0, 1], [1, 2], [30, 12])]
    assert (await stage.totals())["claimed"] == 2


async def test_each_user_of_a_call_gets_the_own_answer_in_order(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.members(3)
    await stage.late_members(4)
    await stage.join(5)
    await stage.settled(30, 12)
    await stage.claim(1)
    await stage.drained()
    assert await stage.claim(6, 5, 4, 3, 2, 1) == [
        "not_joined",
        "not_joined",
        "not_checked_in",
        "not_checked_in",
        ["claimed", 12, 100],
        ["already_claimed", 30, 100],
    ]
    assert await stage.new_events() == [Claimed(SETTLES, "user", 100, [1], [2], [12])]


async def test_users_of_one_call_are_judged_by_their_own_arrival(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.settled(30, 12)
    users = [tap(1, waited_ms=100), tap(2, waited_ms=99)]
    answers = await stage.call("claim", *users, now=MORNING_ENDS + 99, by="user")
    assert answers == [["claimed", 30, 100], "wrong_round"]
    assert await stage.packets() == [30, 12]


async def test_a_late_member_who_checked_in_is_a_winner_like_others(stage: Stage) -> None:
    await stage.late_members(1)
    await stage.check_in(1)
    await stage.settled(30)
    assert await stage.claim(1) == [["claimed", 30, 100]]


async def test_one_of_many_simultaneous_requests_claims(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.settled(30, 12)
    await stage.drained()
    answers = await asyncio.gather(*(stage.claim(1) for _ in range(40)))
    assert sorted(answers) == [[["already_claimed", 30, 100]]] * 39 + [[["claimed", 30, 100]]]
    assert await stage.new_events() == [Claimed(SETTLES, "user", 100, [0], [1], [30])]
    assert await stage.packets() == [30, 12]


async def test_the_user_and_the_system_at_once_give_one_packet(stage: Stage) -> None:
    await stage.winners(1)
    await stage.settled(30)
    calls = (stage.claim(1, now=MORNING_ENDS - 1, by=by) for by in ("user", "system") * 10)
    words = sorted(answer[0][0] for answer in await asyncio.gather(*calls))
    assert words == ["already_claimed"] * 19 + ["claimed"]
    assert (await stage.totals())["claimed_fen"] == 30


async def test_a_full_vector_of_256_users_claims_large_packets(stage: Stage) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    packets = [10**13 + i for i in range(255)] + [2**53 - 1 - sum(10**13 + i for i in range(255))]
    await stage.winners(*uids)
    await stage.settled(*packets)
    await stage.drained()
    assert await stage.claim(*uids) == [["claimed", packet, 100] for packet in packets]
    assert await stage.new_events() == [Claimed(SETTLES, "user", 100, list(range(256)), uids, packets)]
    assert (await stage.totals())["claimed_fen"] == 2**53 - 1
    assert await stage.claim(*uids) == [["already_claimed", packet, 100] for packet in packets]


async def test_who_has_no_rank_or_no_packet_waits_alone(stage: Stage) -> None:
    await stage.winners(1, 2, 3)
    await stage.settled(5, 7, 9)
    record = await stage.redis.hget(stage.key("members"), 2)
    await stage.redis.hset(stage.key("members"), 2, record[:-5])
    assert await stage.claim(1, 2) == [["claimed", 5, 100], "not_settled"]
    await stage.redis.rpop(keys.pieces(stage.key("packets"), 1)[0])
    assert await stage.claim(3, 1) == ["not_settled", ["already_claimed", 5, 100]]
