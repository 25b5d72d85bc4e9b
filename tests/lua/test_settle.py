"""settle: claiming opens when what was published is exactly the manifest."""

import asyncio

import pytest

from clock.game import keys
from tests.lua.stage import SETTLES, Stage


@pytest.mark.parametrize(
    "user, round_, packets, fen, word",
    [
        # settled already, with the same packets or with others
        ("C", "settled", 1, 7, "already_settled"),
        ("P", "settled", 1, 7, "already_settled"),
        ("P", "finished", 1, 7, "already_settled"),
        ("P", "settled", 2, 9, "mismatch"),
        # not_closed before mismatch
        ("C", "open", 1, 7, "not_closed"),
        ("C", "open", 2, 9, "not_closed"),
        ("C", "void", 1, 7, "not_closed"),
        # mismatch: of the winners, of what was published, of its sum
        ("C", "closed", 1, 7, "mismatch"),
        ("C", "closed", 0, 0, "mismatch"),
        ("C", "published", 0, 0, "mismatch"),
        ("C", "published", 2, 7, "mismatch"),
        ("C", "published", 1, 6, "mismatch"),
        ("C", "published", 1, 8, "mismatch"),
        ("M", "closed", 1, 7, "mismatch"),
        ("M", "closed", 0, 1, "mismatch"),
        # settled
        ("C", "published", 1, 7, "settled"),
        ("M", "closed", 0, 0, "settled"),
        ("-", "closed", 0, 0, "settled"),
    ],
)
async def test_first_result_that_applies_is_the_answer(
    stage: Stage, user: str, round_: str, packets: int, fen: int, word: str
) -> None:
    await stage.bring(user, round_)
    if word == "settled":
        before = await stage.totals()
        assert await stage.settle(packets, fen) == "settled"
        assert await stage.state() == "settled"
        assert (await stage.totals(), await stage.events()) == (before, [])
    else:
        async with stage.nothing_changes():
            assert await stage.settle(packets, fen) == word


async def test_a_round_that_is_not_open_is_not_settled(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.settle(0, 0) == "not_closed"


async def test_claiming_opens_with_it_and_not_before(stage: Stage) -> None:
    await stage.bring("C", "published")
    assert await stage.claim(1) == ["not_settled"]
    assert await stage.settle(1, 7) == "settled"
    assert await stage.claim(1) == [["claimed", 7, 100]]


@pytest.mark.parametrize(
    "round_, packets, word",
    [
        ("settled", 2, "mismatch"),
        ("settled", 1, "already_settled"),
        ("open", 1, "not_closed"),
        ("published", 2, "mismatch"),
        ("published", 1, "matches"),
    ],
)
async def test_checking_says_the_same_and_opens_nothing(stage: Stage, round_: str, packets: int, word: str) -> None:
    await stage.bring("C", round_)
    async with stage.nothing_changes():
        assert await stage.settle(packets, 7, how="check") == word


async def test_a_list_that_lost_a_packet_is_a_mismatch(stage: Stage) -> None:
    await stage.bring("C", "published")
    await stage.redis.delete(*keys.pieces(stage.key("packets"), 1))
    async with stage.nothing_changes():
        assert await stage.settle(1, 7) == "mismatch"


async def test_more_published_than_winners_is_a_mismatch(stage: Stage) -> None:
    await stage.bring("C", "published")
    await stage.publish(1, 5)
    async with stage.nothing_changes():
        assert await stage.settle(2, 12) == "mismatch"
        assert await stage.settle(1, 7) == "mismatch"


async def test_one_of_many_simultaneous_workers_settles(stage: Stage) -> None:
    await stage.bring("C", "published")
    answers = await asyncio.gather(*(stage.settle(1, 7) for _ in range(20)))
    assert sorted(answers) == ["already_settled"] * 19 + ["settled"]


async def test_sums_up_to_2_53_are_compared_to_the_fen(stage: Stage) -> None:
    await stage.winners(1, 2)
    await stage.close()
    await stage.publish(0, 2**53 - 2, 1)
    assert await stage.settle(2, 2**53 - 2, now=SETTLES) == "mismatch"
    assert await stage.settle(2, 2**53 - 1, now=SETTLES) == "settled"
