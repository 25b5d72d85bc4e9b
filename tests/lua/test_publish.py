"""publish: the manifest's chunks arrive in order, each once, whatever is repeated."""

import asyncio

import pytest

from tests.lua.stage import MORNING, Stage


@pytest.fixture
async def closed(stage: Stage) -> Stage:
    """Five winners, nothing published."""
    await stage.winners(1, 2, 3, 4, 5)
    await stage.close()
    await stage.drained()
    return stage


@pytest.mark.parametrize(
    "user, round_, word",
    [
        ("M", "open", "not_closed"),
        ("P", "settled", "already_published"),
        ("P", "finished", "already_published"),
        ("M", "void", "not_closed"),
        ("M", "closed", "published"),
        ("M", "published", "published"),
    ],
)
async def test_only_a_closed_round_takes_packets(stage: Stage, user: str, round_: str, word: str) -> None:
    await stage.bring(user, round_)
    if word == "published":
        assert await stage.publish(0, 1) == word
    else:
        async with stage.nothing_changes():
            assert await stage.publish(0, 1) == word
            assert await stage.publish(0, 7) == word, "before already_published by what is there"
            assert await stage.publish(9, 7) == word, "before gap"


async def test_a_round_that_is_not_open_takes_none(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.publish(0, 1, 2) == "not_closed"


async def test_chunks_follow_each_other(closed: Stage) -> None:
    assert await closed.publish(0, 30, 0) == "published"
    assert await closed.publish(2, 7) == "published"
    assert await closed.publish(3, 1, 2) == "published"
    assert await closed.packets() == [30, 0, 7, 1, 2]
    totals = await closed.totals()
    assert (totals["published"], totals["published_fen"]) == (5, 40)
    assert await closed.events() == []


@pytest.mark.parametrize(
    "first, fens, word",
    [
        # what is there is left alone: the whole of it, its beginning, its end, its middle
        (0, [30, 0, 7], "already_published"),
        (0, [30], "already_published"),
        (2, [7], "already_published"),
        (1, [0], "already_published"),
        # already_published comes before gap
        (1, [0, 7], "already_published"),
        # something is missing before it, or it overlaps: no chunk is ever there in part
        (4, [1], "gap"),
        (5, [1, 2], "gap"),
        (2, [7, 1], "gap"),
        (0, [30, 0, 7, 1], "gap"),
        # and what follows is taken
        (3, [1], "published"),
    ],
)
async def test_a_chunk_is_taken_if_it_is_the_next(closed: Stage, first: int, fens: list[int], word: str) -> None:
    await closed.publish(0, 30, 0, 7)
    if word == "published":
        assert await closed.publish(first, *fens) == word
        assert await closed.packets() == [30, 0, 7, *fens]
    else:
        async with closed.nothing_changes():
            assert await closed.publish(first, *fens) == word


async def test_after_a_crash_all_is_sent_again_and_nothing_is_there_twice(closed: Stage) -> None:
    chunks = [(0, [1, 2]), (2, [3, 4]), (4, [5])]
    for dies_after in range(len(chunks) + 1):
        for first, fens in chunks[:dies_after]:
            await closed.publish(first, *fens)
    for first, fens in chunks:
        assert await closed.publish(first, *fens) == "already_published"
    assert await closed.packets() == [1, 2, 3, 4, 5]
    totals = await closed.totals()
    assert (totals["published"], totals["published_fen"]) == (5, 15)


async def test_two_workers_at_once_publish_each_chunk_once(closed: Stage) -> None:
    answers = await asyncio.gather(*(closed.publish(0, 1, 2, 3, 4, 5) for _ in range(20)))
    assert sorted(answers) == ["already_published"] * 19 + ["published"]
    assert await closed.packets() == [1, 2, 3, 4, 5]


async def test_a_chunk_of_500_and_sums_up_to_2_53_are_exact(closed: Stage) -> None:
    fens = [10**13 + i for i in range(500)]
    fens.append(2**53 - 1 - sum(fens))
    assert await closed.publish(0, *fens[:500]) == "published"
    assert await closed.publish(500, fens[500]) == "published"
    totals = await closed.totals()
    assert (totals["published"], totals["published_fen"]) == (501, 2**53 - 1)
    assert await closed.packets() == fens


async def test_no_window_matters(closed: Stage) -> None:
    assert await closed.publish(0, 1, now=MORNING) == "published"
