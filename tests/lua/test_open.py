"""open: a round's rules are written once."""

import asyncio

import pytest

from clock.domain import order_no
from tests.conftest import DAY
from tests.lua.stage import Stage


async def test_the_rules_are_written_once(empty_stage: Stage) -> None:
    assert await empty_stage.open(stake_fen=250) == "opened"
    fields = await empty_stage.redis.hgetall(empty_stage.key("round"))
    assert (fields[b"state"], fields[b"stake_fen"]) == (b"open", b"250")
    assert int(fields[b"first_order_id"]) == order_no.first_order_id(DAY, 0)
    async with empty_stage.nothing_changes():
        assert await empty_stage.open(stake_fen=999) == "already_open"


@pytest.mark.parametrize(
    "user, round_", [("M", "open"), ("C", "closed"), ("P", "settled"), ("P", "finished"), ("M", "void")]
)
async def test_a_round_in_use_is_left_as_it_is(stage: Stage, user: str, round_: str) -> None:
    await stage.bring(user, round_)
    async with stage.nothing_changes():
        assert await stage.open(stake_fen=999) == "already_open"


async def test_one_of_many_simultaneous_processes_opens(empty_stage: Stage) -> None:
    answers = await asyncio.gather(*(empty_stage.open(stake_fen=100 + i) for i in range(20)))
    assert sorted(answers) == ["already_open"] * 19 + ["opened"]


async def test_the_largest_numbers_are_kept_to_the_digit(empty_stage: Stage) -> None:
    await empty_stage.open(stake_fen=2**53 - 1)
    await empty_stage.join(1)
    assert (await empty_stage.redis.hget(empty_stage.key("round"), "stake_fen")) == b"9007199254740991"
