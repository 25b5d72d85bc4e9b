"""result: what a round brought each member, from settlement on, and no writes."""

from typing import Any

import pytest

from tests.conftest import at
from tests.lua.stage import MORNING, SETTLES, Stage, tap


async def results(stage: Stage, *uids: int) -> list[Any]:
    return await stage.call("result", *({"uid": uid} for uid in uids), now=SETTLES)


@pytest.mark.parametrize(
    "user, round_, said",
    [
        ("M", "open", "not_settled"),
        ("C", "closed", "not_settled"),
        ("C", "published", "not_settled"),
        ("-", "settled", "not_joined"),
        ("O", "settled", "not_joined"),
        ("M", "settled", ["settled", "M", 0, 0]),
        ("L", "settled", ["settled", "L", 0, 0]),
        ("C", "settled", ["settled", "C", 7, 0]),
        ("P", "settled", ["settled", "P", 7, 0]),
        ("P", "finished", ["settled", "P", 7, 0]),
        ("-", "void", "not_joined"),
        ("O", "void", "not_joined"),
        ("M", "void", ["void", "M", 0, 0]),
        ("C", "void", ["void", "C", 0, 0]),
    ],
)
async def test_what_each_got(stage: Stage, user: str, round_: str, said: Any) -> None:
    await stage.bring(user, round_)
    async with stage.nothing_changes():
        assert await results(stage, 1) == [said]


async def test_a_round_whose_keys_are_gone_says_so(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await results(empty_stage, 1, 2) == ["no_round", "no_round"]


async def test_the_packet_is_that_of_the_rank_before_and_after_claiming(stage: Stage) -> None:
    await stage.members(*range(1, 601))
    for start in range(1, 601, 200):
        await stage.check_in(*range(start, start + 200))
    packets = [*range(1, 601)]
    assert await stage.close() == "closed"
    assert await stage.publish(0, *packets) == "published"
    assert await stage.settle(600, sum(packets)) == "settled"
    before = await results(stage, 1, 500, 501, 600)
    assert before == [["settled", "C", rank, 0] for rank in (1, 500, 501, 600)]
    assert [one[1] for one in await stage.claim(1, 501)] == [1, 501]
    assert [one[2] for one in await results(stage, 1, 500, 501, 600)] == [1, 500, 501, 600]


async def test_a_winner_without_a_rank_waits_until_the_books_have_given_it(stage: Stage) -> None:
    await stage.winners(1)
    record = await stage.redis.hget(stage.key("members"), 1)
    await stage.redis.hset(stage.key("members"), 1, record[:-4] + bytes(4))
    await stage.settled(7)
    assert await results(stage, 1) == ["not_settled"]


async def test_by_how_much_check_in_was_longer(stage: Stage) -> None:
    await stage.members(1)
    fixed: dict[str, Any] = {"number": 1, "by_ms": 120_000, "reason": "fog", "by_whom": "an operator"}
    assert (await stage.call("extend", now=MORNING, how="extend", **fixed))[0] == "extended"
    assert await stage.call("check_in", tap(1), now=at("08:01", 1)) == [1]
    assert await stage.close(now=SETTLES + 120_000) == "closed"
    await stage.publish(0, 5)
    await stage.settle(1, 5)
    assert await results(stage, 1) == [["settled", "C", 5, 120_000]]
