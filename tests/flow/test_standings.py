"""Streaks, talents and incomes: counted once a round, in the order of days, whatever dies in between."""

import random
import time
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest

from clock.audit.rebuild import rebuild_lost
from clock.books.store import rows
from clock.config import Settings
from clock.domain.outcomes import Unavailable
from clock.http.players import me
from clock.rounds import standings
from tests.flow.stage import People, begin, play, work
from tests.model.world import new_world
from tests.raw import raw


@pytest.fixture
async def people(shared: Settings) -> AsyncIterator[People]:
    async with new_world(shared) as service:
        yield People(service)


async def streak(people: People, uid: int) -> tuple[int, int, int]:
    """Current, longest, and mornings, as ``/api/me`` says them."""
    info = (await me.info(people.service, uid)).data["info"]
    return info["streak_day_num"], info["long_day_num"], info["clock_day_num"]


# -- streaks


async def test_a_streak_grows_with_each_round_and_ends_with_one_slept_through(people: People) -> None:
    await play(people, [1, 2])
    assert await streak(people, 1) == (1, 1, 1)
    await play(people, [1], [2])
    assert (await streak(people, 1), await streak(people, 2)) == ((2, 2, 2), (0, 1, 1))
    await play(people, [1, 2])
    await play(people, [2], [1])
    assert (await streak(people, 1), await streak(people, 2)) == ((0, 3, 3), (2, 2, 3))


async def test_a_day_not_joined_ends_it(people: People) -> None:
    await play(people, [1])
    await play(people, [2])
    assert await streak(people, 1) == (0, 1, 1)
    await play(people, [1, 2])
    assert (await streak(people, 1), await streak(people, 2)) == ((1, 1, 2), (2, 2, 2))


async def test_a_day_on_which_nobody_joined_ends_it_too(people: People) -> None:
    await play(people, [1])
    await play(people, [])
    assert await streak(people, 1) == (0, 1, 1)
    await play(people, [1])
    assert await streak(people, 1) == (1, 1, 2)


async def test_a_void_round_neither_ends_nor_lengthens_it(people: People) -> None:
    await play(people, [1, 2])
    await people.service.opener.open_round(people.day)
    await begin(people, [1], [2])
    assert await people.service.voiding.void(people.day, "an outage") == "ok"
    people.day += timedelta(days=1)
    assert (await streak(people, 1), await streak(people, 2)) == ((1, 1, 1), (1, 1, 1))
    await play(people, [1], [2])
    assert (await streak(people, 1), await streak(people, 2)) == ((2, 2, 2), (0, 1, 1))


async def test_a_late_member_who_slept_is_refunded_and_has_missed_it(people: People) -> None:
    await play(people, [1, 2])
    people.orders = {}
    people.it_is("20:00")
    await people.members(2)
    await people.join(1)
    people.it_is("06:00", 1)
    await people.check_in(2)
    assert await people.pay(1, paid_at=f"{people.day} 20:00:00") == "paid"
    await people.settle()
    assert (await streak(people, 1), await streak(people, 2)) == ((0, 1, 1), (2, 2, 2))


@pytest.mark.parametrize("first", [date(2026, 11, 29), date(2026, 12, 30), date(2028, 2, 27)])
async def test_it_goes_on_over_the_end_of_a_month_and_a_year(people: People, first: date) -> None:
    people.day = first
    for length in range(1, 5):
        await play(people, [1], claims=False)
        assert await streak(people, 1) == (length, length, length)


async def test_the_morning_of_today_counts_before_settlement_and_the_streak_after_it(people: People) -> None:
    await play(people, [1])
    await people.service.opener.open_round(people.day)
    await begin(people, [1], [])
    await people.drain()
    assert await streak(people, 1) == (1, 1, 2)
    await people.settle()
    assert await streak(people, 1) == (2, 2, 2)


@pytest.mark.parametrize("shards", [1, 8])
async def test_all_of_it_is_the_same_after_a_rebuild(shared: Settings, shards: int) -> None:
    async with new_world(shared, shards=shards) as service:
        people = People(service)
        await play(people, [1, 2, 3], [4])
        await play(people, [1, 2], [3])

        async def everything() -> list[Any]:
            board = await people.rows("SELECT * FROM incomes ORDER BY uid")
            return [board, *[await streak(people, uid) for uid in range(1, 5)]]

        before = await everything()
        await raw(service.redis).flushall()
        await rebuild_lost(service)
        await work(people)
        assert await everything() == before
        await play(people, [1], [2])
        assert (await streak(people, 1))[0] == 3


@pytest.mark.parametrize("seed", range(6))
async def test_streaks_are_those_of_a_plain_model(people: People, seed: int) -> None:
    """Each day: who joins and what becomes of them, and whether the round is called off."""
    chance = random.Random(seed)
    expected = dict.fromkeys(range(1, 6), (0, 0))
    for _ in range(8):
        fates = {uid: chance.choice(["wakes", "wakes", "sleeps", "stays away"]) for uid in expected}
        winners = [uid for uid, fate in fates.items() if fate == "wakes"]
        await people.service.opener.open_round(people.day)
        await begin(people, winners, [uid for uid, fate in fates.items() if fate == "sleeps"])
        if chance.random() < 0.2:
            await people.service.voiding.void(people.day, "")
        else:
            await people.settle()
            for uid, (now, longest) in expected.items():
                now = now + 1 if uid in winners else 0
                expected[uid] = (now, max(now, longest))
        people.day += timedelta(days=1)
        assert {uid: (await streak(people, uid))[:2] for uid in expected} == expected


# -- exactly once


async def test_a_tally_that_died_after_some_pages_is_taken_up_again(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "PAGE", 3)
    await play(people, list(range(1, 9)))
    await begin(people, list(range(1, 9)), [])
    calls = 0
    alert = standings.Standings._alert

    async def dies(self: Any, day: date, uids: list[int]) -> None:
        nonlocal calls
        calls += 1
        await alert(self, day, uids)
        if calls == 2:
            raise Unavailable("the power is out")

    with monkeypatch.context() as patch:
        patch.setattr(standings.Standings, "_alert", dies)
        people.it_is("08:05", 1)
        with pytest.raises(Unavailable):
            await people.service.settling.settle(people.day)
    [row] = await people.rows("SELECT state, tallied_uid, tallied_at FROM rounds WHERE day = %s", people.day)
    assert (row["state"], row["tallied_uid"], row["tallied_at"]) == ("settled", 3, None)
    assert [(await streak(people, uid))[2] for uid in (1, 8)] == [2, 2]  # nobody's morning counts twice meanwhile
    await work(people)
    assert {await streak(people, uid) for uid in range(1, 9)} == {(2, 2, 2)}
    assert {await people.service.flags.of(uid, time.monotonic()) for uid in range(1, 9)} == {(0, people.day)}


async def test_a_round_waits_for_an_earlier_one_that_was_played(people: People) -> None:
    await play(people, [1, 2])
    stuck = people.day
    await people.service.opener.open_round(stuck)
    await begin(people, [1, 2], [])
    await people.drain()
    people.day += timedelta(days=1)
    await play(people, [1, 2], claims=False)
    assert await streak(people, 1) == (1, 1, 3)
    await work(people)
    assert await streak(people, 1) == (1, 1, 3)
    assert await people.service.settling.settle(stuck) == "settled"
    await work(people)
    assert await streak(people, 1) == (3, 3, 3)


async def test_incomes_count_a_round_once_all_its_packets_are_given(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that they would tell how many have been claimed, and so which packet comes next."""
    monkeypatch.setattr(standings, "PAGE", 1)
    await play(people, [1, 2], [3, 4], claims=False)
    people.day -= timedelta(days=1)
    [first] = await people.claim(1)
    await people.drain()
    await work(people)
    assert await people.rows("SELECT * FROM incomes") == []
    [second] = await people.claim(2)
    await work(people)  # the books do not have it yet
    assert await people.rows("SELECT * FROM incomes") == []
    await people.drain()
    for _ in range(3):
        await work(people)
    incomes = {row["uid"]: row["income_fen"] for row in await people.rows("SELECT * FROM incomes")}
    assert incomes == {1: first, 2: second}
    await people.finish()
    await work(people)
    assert {row["uid"]: row["income_fen"] for row in await people.rows("SELECT * FROM incomes")} == incomes


async def test_what_nobody_claims_counts_when_the_system_has_credited_it(people: People) -> None:
    await play(people, [1, 2], [3], claims=False)
    people.day -= timedelta(days=1)
    await people.finish()
    found = await people.rows("SELECT sum(income_fen)::bigint AS fen FROM incomes")
    assert found[0]["fen"] == 100


async def test_a_credit_that_died_after_some_pages_adds_nothing_twice(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "PAGE", 2)
    await play(people, [1, 2, 3, 4, 5], [6], claims=False)
    people.day -= timedelta(days=1)
    await people.claim(1, 2, 3, 4, 5)
    await people.drain()
    calls = 0

    async def dies(connection: Any, query: str, **parameters: Any) -> Any:
        nonlocal calls
        calls += query == "save_credit"
        if calls == 2:
            raise Unavailable("the power is out")
        return await rows(connection, query, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr("clock.rounds.standings.rows", dies)
        with pytest.raises(Unavailable):
            await people.service.standings.count(people.day)
    await work(people)
    found = await people.rows("SELECT sum(income_fen)::bigint AS fen FROM incomes")
    assert found[0]["fen"] == 100


async def test_a_settlement_opens_claiming_before_it_counts(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def look(_: Any, day: date) -> bool:
        seen.append((await people.rows("SELECT state FROM rounds WHERE day = %s", day))[0]["state"])
        return True

    monkeypatch.setattr(standings.Standings, "tally", look)
    await play(people, [1], claims=False)
    assert seen == ["settled"]
