"""status: a letter a user, and no writes."""

import pytest

from tests.conftest import at
from tests.lua.stage import MAX_UID, Stage


@pytest.mark.parametrize(
    "user, round_, letter",
    [
        ("-", "open", "-"),
        ("O", "open", "O"),
        ("M", "open", "M"),
        ("L", "open", "L"),
        ("C", "open", "C"),
        ("M", "closed", "M"),
        ("C", "published", "C"),
        ("C", "settled", "C"),
        ("P", "settled", "P"),
        ("P", "finished", "P"),
        ("-", "void", "V"),
        ("O", "void", "V"),
        ("M", "void", "V"),
        ("C", "void", "V"),
    ],
)
async def test_a_letter_says_what_the_user_is(stage: Stage, user: str, round_: str, letter: str) -> None:
    await stage.bring(user, round_)
    async with stage.nothing_changes():
        assert await stage.status(1) == letter


async def test_a_round_that_is_not_open_says_so(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.call("status", {"uid": 1}, {"uid": 2}) == ["no_round", "no_round"]


async def test_answers_are_in_the_order_of_the_users_who_may_come_twice(stage: Stage) -> None:
    await stage.winners(1)
    await stage.late_members(2)
    await stage.join(3)
    assert await stage.status(4, 3, 2, 1, 1, 3) == "-OLCCO"


async def test_no_window_hides_it(stage: Stage) -> None:
    await stage.members(1)
    for now in (at("00:00"), at("05:00", 1), at("00:00", 9)):
        assert await stage.call("status", {"uid": 1}, now=now) == ["M"]


async def test_a_full_vector_of_256_users(stage: Stage) -> None:
    uids = list(range(MAX_UID - 255, MAX_UID + 1))
    await stage.members(*uids[::2])
    assert await stage.status(*uids) == "M-" * 128
