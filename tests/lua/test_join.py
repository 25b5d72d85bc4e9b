"""join: one order a user and round, while joining is open."""

import asyncio
from dataclasses import dataclass

import pytest

from clock.domain import order_no
from clock.game.events import Ordered
from tests.conftest import DAY, at
from tests.lua.stage import (
    EVENING,
    MAX_UID,
    MIDNIGHT,
    MORNING,
    MORNING_ENDS,
    SETTLES,
    Stage,
    order,
    tail_of,
)

FIRST_ID = order_no.first_order_id(DAY, 0)
DAY_STARTS = at("00:00")
JOIN_OPENS, JOIN_CLOSES = at("06:00"), at("22:00")


def row_of(uid: int, number: int, tail: str = "", **changes: str) -> tuple[int, str, int, int, str, str, str]:
    """What the entry of join says of the shard's order with this number."""
    said = {name: str(value) for name, value in {**order(uid, tail=tail), **changes}.items()}
    return (uid, said["order_no"], FIRST_ID + number, 100, said["open_id"], said["mobile"], said["nickname"])


@dataclass(frozen=True)
class Case:
    user: str
    round: str
    now: int
    result: str
    waited_ms: int = 0

    def __str__(self) -> str:
        return f"{self.user} {self.round} {self.now - DAY_STARTS:+}ms waited {self.waited_ms} - {self.result}"


CASES = [
    # wrong_round: people join on D, midnight to midnight
    Case("-", "open", DAY_STARTS - 1, "wrong_round"),
    Case("-", "open", DAY_STARTS, "join_closed"),
    Case("-", "open", MIDNIGHT - 1, "join_closed"),
    Case("-", "open", MIDNIGHT, "wrong_round"),
    Case("-", "open", MIDNIGHT, "join_closed", waited_ms=1),
    Case("-", "open", DAY_STARTS - 1, "wrong_round", waited_ms=5_000),
    # wrong_round before voided, already_joined, order_pending
    Case("-", "void", MIDNIGHT, "wrong_round"),
    Case("M", "open", MIDNIGHT, "wrong_round"),
    Case("O", "open", DAY_STARTS - 1, "wrong_round"),
    # voided before the rest
    Case("-", "void", EVENING, "voided"),
    Case("M", "void", EVENING, "voided"),
    Case("O", "void", EVENING, "voided"),
    Case("-", "void", DAY_STARTS, "voided"),
    # already_joined before join_closed
    Case("M", "open", DAY_STARTS, "already_joined"),
    Case("M", "open", JOIN_OPENS, "already_joined"),
    Case("M", "open", MIDNIGHT - 1, "already_joined"),
    Case("L", "open", EVENING, "already_joined"),
    Case("C", "open", EVENING, "already_joined"),
    Case("P", "settled", EVENING, "already_joined"),
    # join_closed before order_pending
    Case("O", "open", JOIN_OPENS - 1, "join_closed"),
    Case("O", "open", JOIN_CLOSES, "join_closed"),
    Case("-", "open", JOIN_OPENS - 1, "join_closed"),
    Case("-", "open", JOIN_OPENS - 1, "join_closed", waited_ms=5_000),
    Case("-", "open", JOIN_CLOSES, "join_closed"),
    Case("-", "open", JOIN_CLOSES + 5_000, "join_closed", waited_ms=5_000),
    # order_pending
    Case("O", "open", JOIN_OPENS, "order_pending"),
    Case("O", "open", JOIN_CLOSES - 1, "order_pending"),
    Case("O", "open", JOIN_CLOSES, "order_pending", waited_ms=1),
    # ordered
    Case("-", "open", JOIN_OPENS, "ordered"),
    Case("-", "open", JOIN_OPENS, "ordered", waited_ms=5_000),
    Case("-", "open", JOIN_OPENS + 1, "ordered"),
    Case("-", "open", JOIN_CLOSES - 1, "ordered"),
    Case("-", "open", JOIN_CLOSES, "ordered", waited_ms=1),
    Case("-", "open", JOIN_CLOSES + 4_999, "ordered", waited_ms=5_000),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_first_result_that_applies_is_the_answer(empty_stage: Stage, case: Case) -> None:
    await empty_stage.open(join_opens_ms=JOIN_OPENS, join_closes_ms=JOIN_CLOSES)
    await empty_stage.bring(case.user, case.round)
    wish = order(1, case.waited_ms, tail="anothertail9")
    if case.result == "ordered":
        assert await empty_stage.call("join", wish, now=case.now) == [["ordered", FIRST_ID + 1, "anothertail9"]]
        assert await empty_stage.new_events() == [Ordered(case.now, [row_of(1, 1, tail="anothertail9")])]
        assert await empty_stage.totals() == {"orders": 1}
        assert await empty_stage.status(1) == "O"
    else:
        pending = ["order_pending", FIRST_ID + 1, tail_of(1)]
        expected = pending if case.result == "order_pending" else case.result
        async with empty_stage.nothing_changes():
            assert await empty_stage.call("join", wish, now=case.now) == [expected]


@pytest.mark.parametrize(
    "now, waited_ms, word",
    [
        (DAY_STARTS - 1, 0, "wrong_round"),
        (DAY_STARTS, 0, "ordered"),
        (MIDNIGHT - 1, 0, "ordered"),
        (MIDNIGHT, 0, "wrong_round"),
        (MIDNIGHT, 1, "ordered"),
        (MIDNIGHT + 4_999, 5_000, "ordered"),
        (MIDNIGHT + 5_000, 5_000, "wrong_round"),
    ],
)
async def test_by_default_the_whole_day_is_open(stage: Stage, now: int, waited_ms: int, word: str) -> None:
    reply = (await stage.call("join", order(1, waited_ms), now=now))[0]
    assert (reply if isinstance(reply, str) else reply[0]) == word


async def test_a_round_that_is_not_open_says_so_at_any_time(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        for now in (DAY_STARTS, EVENING, MORNING, MORNING_ENDS):
            assert await empty_stage.call("join", order(1), order(2), now=now) == ["no_round", "no_round"]


async def test_a_second_wish_before_paying_gets_the_first_order(stage: Stage) -> None:
    first = await stage.join(1)
    async with stage.nothing_changes():
        assert await stage.call("join", order(1, tail="anothertail9"), now=EVENING + 60_000) == [
            ["order_pending", *first[0][1:]]
        ]


async def test_a_user_twice_or_three_times_in_one_call_gets_one_order(stage: Stage) -> None:
    wishes = [order(1, tail="firsttail001"), order(2), order(1, tail="secondtail02"), order(1, tail="thirdtail003")]
    assert await stage.call("join", *wishes) == [
        ["ordered", FIRST_ID + 1, "firsttail001"],
        ["ordered", FIRST_ID + 2, tail_of(2)],
        ["order_pending", FIRST_ID + 1, "firsttail001"],
        ["order_pending", FIRST_ID + 1, "firsttail001"],
    ]
    assert await stage.totals() == {"orders": 2}
    assert await stage.new_events() == [Ordered(EVENING, [row_of(1, 1, tail="firsttail001"), row_of(2, 2)])]


async def test_an_order_is_not_a_membership(stage: Stage) -> None:
    await stage.join(1, 2)
    assert await stage.status(1, 2) == "OO"
    assert await stage.totals() == {"orders": 2}


async def test_each_user_of_a_call_gets_the_own_answer_in_order(stage: Stage) -> None:
    await stage.members(1)
    await stage.join(2)
    await stage.drained()
    assert await stage.join(3, 2, 1, 4) == [
        ["ordered", FIRST_ID + 3, tail_of(3)],
        ["order_pending", FIRST_ID + 2, tail_of(2)],
        "already_joined",
        ["ordered", FIRST_ID + 4, tail_of(4)],
    ]
    assert await stage.new_events() == [Ordered(EVENING, [row_of(3, 3), row_of(4, 4)])]


async def test_users_of_one_call_are_judged_by_their_own_arrival(stage: Stage) -> None:
    wishes = [order(1, waited_ms=100), order(2, waited_ms=99)]
    assert await stage.call("join", *wishes, now=MIDNIGHT + 99) == [
        ["ordered", FIRST_ID + 1, tail_of(1)],
        "wrong_round",
    ]


async def test_one_of_many_simultaneous_wishes_makes_the_order(stage: Stage) -> None:
    wishes = [order(1, tail=f"tail{i:08}") for i in range(40)]
    answers = [one[0] for one in await asyncio.gather(*(stage.call("join", wish) for wish in wishes))]
    assert sorted(word for word, _, _ in answers) == ["order_pending"] * 39 + ["ordered"]
    assert len({(order_id, tail) for _, order_id, tail in answers}) == 1
    assert len(await stage.new_events()) == 1
    assert await stage.totals() == {"orders": 1}


async def test_order_ids_are_unique_over_calls_and_a_full_vector_of_256_users(stage: Stage) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    await stage.join(1)
    answers = await stage.join(*uids)
    assert answers == [["ordered", FIRST_ID + 2 + i, tail_of(uid)] for i, uid in enumerate(uids)]
    event = (await stage.new_events())[1]
    assert isinstance(event, Ordered)
    assert [(row[0], row[2]) for row in event.rows] == [(uid, FIRST_ID + 2 + i) for i, uid in enumerate(uids)]


async def test_texts_that_look_like_numbers_stay_texts(stage: Stage) -> None:
    wish = order(1, tail="000000000012", open_id="007", mobile="1e5", nickname="0x10")
    await stage.call("join", wish)
    assert await stage.call("join", wish) == [["order_pending", FIRST_ID + 1, "000000000012"]]
    row = row_of(1, 1, tail="000000000012", open_id="007", mobile="1e5", nickname="0x10")
    assert await stage.new_events() == [Ordered(EVENING, [row])]
    assert await stage.call("order", uid=1, tail="000000000012") == ["found", 100, "007", "O", 0]


async def test_the_amount_is_the_stake_of_the_round(empty_stage: Stage) -> None:
    await empty_stage.open(stake_fen=10**8)
    await empty_stage.join(1)
    event = (await empty_stage.new_events())[0]
    assert isinstance(event, Ordered)
    assert event.rows[0][3] == 10**8


async def test_a_settled_round_still_knows_its_members(stage: Stage) -> None:
    await stage.bring("P", "finished")
    async with stage.nothing_changes():
        assert await stage.call("join", order(1), now=SETTLES) == ["wrong_round"]


async def test_a_server_that_may_have_fallen_behind_gives_no_number_twice(stage: Stage) -> None:
    """A replica that is promoted may miss numbers that were given out; every server has a name of its own."""
    await stage.join(1, 2)
    first = await stage.call("join", order(3), server="another server")
    then = await stage.call("join", order(4), server="another server")
    assert [answer[1] for answer in (*first, *then)] == [FIRST_ID + 65_539, FIRST_ID + 65_540]
    assert await stage.totals() == {"orders": 4}
