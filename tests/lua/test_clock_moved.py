"""Where the scripts' clock is not where the caller expects it, nobody is refused by time; the rest goes on."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clock.game.gametime import SKEW_MS
from tests.lua.stage import CLOSES, EVENING, MIDNIGHT, MORNING, MORNING_ENDS, OPENS, SETTLES, Stage, order, payment, tap

Ask = Callable[..., Awaitable[Any]]


async def join(stage: Stage, **more: Any) -> Any:
    return (await stage.call("join", order(2), **more))[0]


async def pay(stage: Stage, **more: Any) -> Any:
    return (await stage.call("pay", payment(1), **more))[0]


async def check_in(stage: Stage, **more: Any) -> Any:
    told = (await stage.call("check_in", tap(1), **more))[0]
    return "checked_in" if told == 1 else told


async def claim(stage: Stage, **more: Any) -> Any:
    return (await stage.call("claim", tap(1), by="user", **more))[0]


async def close(stage: Stage, **more: Any) -> Any:
    return (await stage.call("close", why="settle", grace_ms=5_000, **more))[0]


REFUSED = [
    (join, "-", "open", MIDNIGHT, "wrong_round"),
    (join, "-", "open", EVENING - 86_400_000, "wrong_round"),
    (pay, "O", "open", MORNING, "paid"),  # as a late member
    (pay, "O", "open", CLOSES, "refund_due"),
    (pay, "O", "closed", SETTLES, "refund_due"),
    (check_in, "M", "open", OPENS - 1, "too_early"),
    (check_in, "M", "open", CLOSES, "too_late"),
    (check_in, "M", "open", EVENING, "wrong_round"),
    (check_in, "M", "open", MORNING_ENDS, "wrong_round"),
    (check_in, "-", "open", MORNING, "not_joined"),
    (claim, "C", "settled", CLOSES - 1, "too_early"),
    (claim, "C", "settled", MORNING_ENDS, "wrong_round"),
    (close, "M", "open", SETTLES, "closed"),
]


@pytest.mark.parametrize("skew_ms", [-28_800_000, -SKEW_MS - 1, SKEW_MS + 1, 28_800_000])
@pytest.mark.parametrize("ask, user, round_, now, word", REFUSED)
async def test_a_clock_that_has_moved_refuses_nobody_and_closes_nothing(
    stage: Stage, ask: Ask, user: str, round_: str, now: int, word: str, skew_ms: int
) -> None:
    await stage.bring(user, round_)
    async with stage.nothing_changes():
        assert await ask(stage, now=now, expected_ms=now - skew_ms) == "clock_moved"
    assert await ask(stage, now=now, expected_ms=now - (SKEW_MS if skew_ms > 0 else -SKEW_MS)) == word


async def test_what_does_not_depend_on_the_time_is_said_at_any_time(stage: Stage) -> None:
    async def moved(ask: Ask, now: int) -> Any:
        return await ask(stage, now=now, expected_ms=0)

    await stage.join(1)
    assert (await moved(join, EVENING))[0] == "ordered"
    assert await pay(stage, now=EVENING) == "paid"
    assert await moved(pay, EVENING) == "already_paid"
    assert await moved(check_in, MORNING) == "checked_in"
    assert await moved(check_in, CLOSES) == "already_checked_in"
    await stage.settled(7)
    assert await moved(claim, SETTLES) == ["claimed", 7, 100]
    assert await moved(claim, SETTLES) == ["already_claimed", 7, 100]
