"""order: what is known of an order, to whoever names its number."""

import pytest

from tests.lua.stage import MAX_UID, Stage, tail_of


@pytest.mark.parametrize(
    "user, round_", [("O", "open"), ("M", "open"), ("L", "open"), ("C", "open"), ("P", "finished"), ("O", "void")]
)
async def test_the_stake_the_buyer_and_the_state_of_the_order(stage: Stage, user: str, round_: str) -> None:
    await stage.bring(user, round_)
    found = ["found", 100, "open-1", user, int(round_ == "void")]
    async with stage.nothing_changes():
        assert await stage.call("order", uid=1, tail=tail_of(1)) == found


async def test_another_number_of_the_same_user_is_no_order(stage: Stage) -> None:
    await stage.members(1)
    async with stage.nothing_changes():
        assert await stage.call("order", uid=1, tail="anothertail9") == ["order_not_found"]
        assert await stage.call("order", uid=1, tail="") == ["order_not_found"]
        assert await stage.call("order", uid=2, tail=tail_of(1)) == ["order_not_found"]


async def test_a_round_that_this_server_does_not_have(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.call("order", uid=1, tail=tail_of(1)) == ["no_round"]


async def test_the_largest_stake_and_uid(empty_stage: Stage) -> None:
    await empty_stage.open(stake_fen=2**53 - 1)
    await empty_stage.join(MAX_UID)
    answer = await empty_stage.call("order", uid=MAX_UID, tail=tail_of(MAX_UID))
    assert answer == ["found", 2**53 - 1, f"open-{MAX_UID}", "O", 0]
