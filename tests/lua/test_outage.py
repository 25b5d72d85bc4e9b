"""Nobody could check in for a while: the window of the shard becomes longer by as much, before anybody is refused."""

from typing import Any

import pytest

from clock.game.events import CheckedIn, Extended
from tests.lua.stage import CLOSES, EVENING, MORNING, MORNING_ENDS, OPENS, SETTLES, Stage, payment

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


async def touch(stage: Stage, now: int, **fixed: Any) -> tuple[str, int]:
    word, closes_ms = await stage.call("touch", now=now, **fixed)
    return word, closes_ms


async def silent_for(stage: Stage, ms: int) -> None:
    """As if nobody had touched the shard for so long, by Redis' TIME; some ms more until a script sees it."""
    seconds, micros = await stage.redis.time()
    await stage.redis.hset(stage.key("round"), "touched_ms", seconds * 1000 + micros // 1000 - ms)


async def extensions(stage: Stage) -> list[Extended]:
    return [event for event in await stage.new_events() if isinstance(event, Extended)]


async def closes(stage: Stage) -> int:
    return int(await stage.redis.hget(stage.key("round"), "check_in_closes_ms"))


async def test_who_tapped_while_redis_stood_still_at_eight_is_in_time(stage: Stage) -> None:
    """From 07:59:57 to 08:00:10; the wait that counts is capped, so that the taps seem to have come after eight."""
    await stage.members(1, 2)
    await silent_for(stage, 13 * SECOND)
    now = CLOSES + 10 * SECOND
    await stage.new_events()
    assert await stage.check_in(1, now=now, waited_ms=5 * SECOND) == ["checked_in"]
    said, came = await stage.new_events()
    assert isinstance(said, Extended) and isinstance(came, CheckedIn)
    assert (said.cause, said.by_ms, said.closes_ms, said.asleep) == ("outage", MINUTE, CLOSES + MINUTE, 2)
    assert now - 14 * SECOND < said.since_ms <= now - 13 * SECOND
    assert await stage.check_in(2, now=CLOSES + MINUTE - 1) == ["checked_in"]
    assert await stage.check_in(3, now=CLOSES + MINUTE) == ["too_late"]


@pytest.mark.parametrize(
    "silent_ms, minutes",
    [
        (0, 0),
        (4 * SECOND, 0),
        (6 * SECOND, 1),
        (59 * SECOND, 1),
        (61 * SECOND, 2),
        (59 * MINUTE + SECOND, 60),
        (90 * MINUTE, 60),
    ],
)
@pytest.mark.parametrize("who", ["check_in", "touch", "pay", "close"])
async def test_the_window_becomes_longer_by_the_silence_in_whole_minutes_whoever_finds_it(
    stage: Stage, silent_ms: int, minutes: int, who: str
) -> None:
    await stage.join(1)
    await silent_for(stage, silent_ms)
    now = CLOSES + SECOND
    if who == "check_in":
        await stage.check_in(1, now=now)
    elif who == "touch":
        await touch(stage, now)
    elif who == "pay":
        await stage.call("pay", payment(1), now=now)
    else:
        assert await stage.close(now=now) == "not_due"
    assert await closes(stage) == CLOSES + minutes * MINUTE
    assert [one.by_ms for one in await extensions(stage)] == ([minutes * MINUTE] if minutes else [])


@pytest.mark.parametrize("now, since", [(OPENS + 10 * MINUTE, OPENS), (OPENS + 6 * SECOND, OPENS), (MORNING, None)])
async def test_what_lies_before_the_opening_does_not_count(stage: Stage, now: int, since: int | None) -> None:
    """Nobody has touched it since the day before."""
    await silent_for(stage, 48 * HOUR if since else 10 * MINUTE - SECOND)
    assert (await touch(stage, now))[0] == "touched"
    [said] = await extensions(stage)
    lost_ms = now - OPENS if since else 10 * MINUTE
    assert said.by_ms == -(-lost_ms // MINUTE) * MINUTE
    assert said.since_ms == (since or said.since_ms)


@pytest.mark.parametrize("now", [EVENING, OPENS - 1, OPENS, OPENS + 4 * SECOND])
async def test_a_window_that_has_not_been_open_for_long_is_not_longer(stage: Stage, now: int) -> None:
    await silent_for(stage, 48 * HOUR)
    assert await touch(stage, now) == ("touched", CLOSES)
    assert await extensions(stage) == []


async def test_what_closed_before_the_outage_is_not_opened_again(stage: Stage) -> None:
    await stage.members(1)
    await silent_for(stage, 10 * SECOND)
    assert await stage.check_in(1, now=CLOSES + 11 * SECOND) == ["too_late"]
    await silent_for(stage, HOUR)
    assert await touch(stage, CLOSES + HOUR + SECOND) == ("touched", CLOSES)
    assert await stage.close(now=SETTLES + HOUR) == "closed"
    assert [type(event).__name__ for event in await stage.new_events()][-1] == "Closed"


async def test_a_silence_that_goes_on_counts_once_and_the_next_one_again(stage: Stage) -> None:
    """From 07:30 on; the worker, who finds it at 08:05, is no touch."""
    await silent_for(stage, 35 * MINUTE - SECOND)
    assert await stage.close(now=SETTLES) == "not_due"
    assert await closes(stage) == CLOSES + 35 * MINUTE
    assert await stage.close(now=SETTLES) == "not_due"
    assert await closes(stage) == CLOSES + 35 * MINUTE
    await silent_for(stage, 40 * MINUTE - SECOND)
    assert await stage.close(now=SETTLES + 5 * MINUTE) == "not_due"
    assert await touch(stage, SETTLES + 5 * MINUTE) == ("touched", CLOSES + 40 * MINUTE)
    assert [one.by_ms for one in await extensions(stage)] == [35 * MINUTE, 5 * MINUTE]
    await silent_for(stage, 10 * MINUTE - SECOND)
    assert await touch(stage, CLOSES + 30 * MINUTE) == ("touched", CLOSES + 50 * MINUTE)
    await silent_for(stage, 30 * MINUTE - SECOND)
    assert await touch(stage, CLOSES + 45 * MINUTE) == ("touched", CLOSES + HOUR)  # never more
    assert [one.by_ms for one in await extensions(stage)] == [10 * MINUTE, 10 * MINUTE]
    await silent_for(stage, 30 * MINUTE)
    assert await touch(stage, CLOSES + 59 * MINUTE) == ("touched", CLOSES + HOUR)
    assert await extensions(stage) == []


async def test_settlement_comes_before_claiming_closes(stage: Stage, redis: Any) -> None:
    await stage.redis.hset(stage.key("round"), "claim_closes_ms", SETTLES + 2 * MINUTE)
    await silent_for(stage, 30 * MINUTE)
    assert await touch(stage, CLOSES) == ("touched", CLOSES + 2 * MINUTE)


@pytest.mark.parametrize("round_, word", [("closed", "ended"), ("settled", "ended"), ("void", "ended")])
async def test_a_round_that_is_closed_stays_so(stage: Stage, round_: str, word: str) -> None:
    await stage.bring("M", round_)
    await silent_for(stage, HOUR)
    async with stage.nothing_changes():
        assert await touch(stage, CLOSES + HOUR) == (word, CLOSES)
        assert (await stage.check_in(1, now=CLOSES + HOUR))[0] in ("too_late", "voided")


async def test_a_clock_that_has_moved_is_no_outage(stage: Stage) -> None:
    await stage.members(1)
    await silent_for(stage, HOUR)
    async with stage.nothing_changes():
        for now in (OPENS - HOUR, CLOSES, MORNING_ENDS):
            assert await touch(stage, now, expected_ms=now + 6 * SECOND) == ("clock_moved", CLOSES)
            assert await stage.call("check_in", {"uid": 1, "waited_ms": 0}, now=now, expected_ms=0) == ["clock_moved"]


async def test_several_who_touch_write_twice_a_second_at_most(stage: Stage) -> None:
    assert await touch(stage, MORNING) == ("touched", CLOSES)
    async with stage.nothing_changes():
        for _ in range(8):
            assert await touch(stage, MORNING) == ("touched", CLOSES)


async def test_in_a_longer_window_all_verbs_go_by_it(stage: Stage) -> None:
    await stage.members(1)
    await stage.join(2)
    await silent_for(stage, 10 * MINUTE - SECOND)
    assert await touch(stage, CLOSES - MINUTE) == ("touched", CLOSES + 10 * MINUTE)
    late = CLOSES + 10 * MINUTE - 1
    assert await stage.call("pay", payment(2), now=late) == ["paid"]
    assert await stage.status(2) == "L"
    assert await stage.check_in(1, 2, now=late) == ["checked_in"] * 2
    assert await stage.claim(1, now=late) == ["too_early"]
    assert await stage.close(now=SETTLES) == "not_due"
    assert await stage.close(now=late + 5 * SECOND) == "not_due"
    assert await stage.close(now=late + 5 * SECOND + 1) == "closed"


async def test_a_close_that_makes_it_longer_leaves_the_time_until_settlement(stage: Stage) -> None:
    """Whoever closes has gone by the window that was known before."""
    await stage.members(1)
    await silent_for(stage, 75 * MINUTE)
    assert await stage.close(now=CLOSES + 60 * MINUTE + 10 * SECOND) == "not_due"
    assert await stage.close(now=SETTLES + 60 * MINUTE) == "closed"


# -- by an operator


async def extend(stage: Stage, minutes: int, number: int = 1, now: int = MORNING, how: str = "extend") -> str:
    said: dict[str, Any] = {
        "how": how,
        "number": number,
        "by_ms": minutes * MINUTE,
        "reason": "power cut",
        "by_whom": "operator 9",
    }
    return str((await stage.call("extend", now=now, **said))[0])


async def test_an_operator_makes_it_longer_once_for_each_number(stage: Stage) -> None:
    await stage.members(1, 2)
    await stage.check_in(1)
    await stage.new_events()
    assert await extend(stage, 10, how="check") == "possible"
    assert await extensions(stage) == []
    assert await extend(stage, 10) == "extended"
    assert await extend(stage, 10) == "already_extended"
    [said] = await extensions(stage)
    assert said == Extended(
        MORNING, "operator", MORNING, 10 * MINUTE, CLOSES + 10 * MINUTE, 1, "power cut", "operator 9"
    )
    assert await extend(stage, 5, number=2, now=CLOSES + 9 * MINUTE) == "extended"
    assert await closes(stage) == CLOSES + 15 * MINUTE


@pytest.mark.parametrize(
    "now, word",
    [(EVENING, "extended"), (CLOSES - 1, "extended"), (CLOSES, "check_in_closed"), (SETTLES, "check_in_closed")],
)
async def test_only_what_is_open_can_be_longer(stage: Stage, now: int, word: str) -> None:
    assert await extend(stage, 1, now=now) == word


async def test_outages_and_operators_share_an_hour(stage: Stage) -> None:
    assert await extend(stage, 61) == "too_long"
    assert await extend(stage, 40) == "extended"
    assert await extend(stage, 21, number=2) == "too_long"
    await silent_for(stage, 30 * MINUTE)
    assert await touch(stage, CLOSES) == ("touched", CLOSES + HOUR)
    assert await extend(stage, 1, number=2, now=CLOSES) == "too_long"


async def test_who_extends_after_an_outage_finds_it_first(stage: Stage) -> None:
    await silent_for(stage, 5 * MINUTE - SECOND)
    assert await extend(stage, 10, now=CLOSES + MINUTE) == "extended"
    assert [(one.cause, one.by_ms) for one in await extensions(stage)] == [
        ("outage", 5 * MINUTE),
        ("operator", 10 * MINUTE),
    ]


@pytest.mark.parametrize("round_", ["closed", "settled", "void"])
async def test_a_closed_round_is_not_extended(stage: Stage, round_: str) -> None:
    await stage.bring("M", round_)
    async with stage.nothing_changes():
        assert await extend(stage, 10) == "check_in_closed"
