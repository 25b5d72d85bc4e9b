"""Planning other rules: what holds for a round, until when that can be changed, and what is refused."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from clock.books import rulebook, store
from clock.books.store import rows
from clock.config import Settings
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import Campaign, Rules
from clock.domain.rulebook import Book, Change, Terms
from clock.rounds.planning import AHEAD_DAYS, MOST_CHANGES
from clock.service import Service
from tests.conftest import DAY
from tests.flow.settlement.stage import query
from tests.model.model import instant
from tests.model.world import new_world, service_with

NEXT = DAY + timedelta(1)
OTHER: dict[str, Any] = {"stake_fen": 777, "fee_bps": 500, "shards": 3, "order_prefix": "NEW", "split": "equal"}


@pytest.fixture
async def service(shared: Settings) -> AsyncIterator[Service]:
    async with new_world(shared) as service:
        service.time.stop_at(instant(DAY, "12:00"))
        yield service


async def plan(service: Service, first: date, last: date | None = None, today: date = DAY, **fields: Any) -> Answer:
    other = {name: fields.pop(name) for name in ("campaign", "bonus_fen") if name in fields}
    change = Change(first_day=first, last_day=last, changes=Terms(**fields), **other)
    return await service.planning.plan(change, "anna", "a holiday", today)


async def opened(service: Service, day: date) -> Rules:
    """The rules of a round, the same in Redis and in Postgres."""
    await service.opener.open_round(day)
    (row,) = await query(service, "SELECT rules FROM rounds WHERE day = %s", day)
    rules = msgspec.convert(row["rules"], Rules)
    assert (await service.asking.round(day)).rules == rules
    return rules


# -- the first default


async def test_a_restart_with_another_environment_changes_nothing(shared: Settings, service: Service) -> None:
    first = await opened(service, DAY)
    async with service_with(shared, **OTHER) as other:
        assert await opened(other, NEXT) == first
        assert (await plan(other, NEXT + timedelta(1), fee_bps=100)).word == "planned"
        expected = msgspec.structs.replace(first, fee_bps=100)
        assert await opened(other, NEXT + timedelta(1)) == expected


async def test_two_workers_that_start_at_once_on_an_empty_book_write_it_once(
    shared: Settings, service: Service
) -> None:
    async with service_with(shared, **OTHER) as other:
        days = [DAY + timedelta(number) for number in range(6)]
        openings = [one.opener.open_round(day) for day in days for one in (service, other)]
        found = await asyncio.gather(*openings)
        assert len(set(found)) == 1
        (row,) = await query(service, "SELECT count(*) AS books FROM rule_book")
        assert row["books"] == 1


# -- planned, and in the snapshot


async def test_a_planned_change_is_in_the_rounds_of_its_days_and_in_no_other(service: Service) -> None:
    usual = await opened(service, DAY)
    name = Campaign("元旦", "New Year")
    planned = await plan(service, NEXT, NEXT + timedelta(1), stake_fen=500, lucky_count=3, lucky_bps=2000)
    assert planned.word == "planned"
    assert (await plan(service, NEXT, NEXT, bonus_fen=10_000, campaign=name)).word == "planned"
    rich = msgspec.structs.replace(usual, stake_fen=500, lucky_count=3, lucky_bps=2000)
    assert await opened(service, NEXT) == msgspec.structs.replace(rich, bonus_fen=10_000, campaign=name)
    assert await opened(service, NEXT + timedelta(1)) == rich
    assert await opened(service, NEXT + timedelta(2)) == usual


async def test_the_same_again_is_the_same_change_until_another_was_planned(service: Service) -> None:
    ids = [(await plan(service, NEXT, NEXT, stake_fen=500)).data["id"] for _ in range(2)]
    assert len(set(ids)) == 1
    await plan(service, NEXT, NEXT, stake_fen=300)
    assert (await plan(service, NEXT, NEXT, stake_fen=500)).data["id"] not in ids
    assert (await opened(service, NEXT)).stake_fen == 500


@pytest.mark.parametrize("turn", range(8))
async def test_a_change_planned_while_its_round_is_opened_is_in_it_or_refused(
    shared: Settings, service: Service, turn: int
) -> None:
    """Whoever comes first to the book; the other waits for it."""
    await opened(service, DAY)
    async with service_with(shared) as other:
        waits, steps = [0.0, turn / 2000], [plan(other, NEXT, bonus_fen=7, last=NEXT), opened(service, NEXT)]

        async def later(step: Any, seconds: float) -> Any:
            await asyncio.sleep(seconds)
            return await step

        if turn % 2:
            waits.reverse()
        said, rules = await asyncio.gather(*map(later, steps, waits))
        assert (said.word, rules.bonus_fen) in [("planned", 7), ("rules_too_late", 0)]
        (row,) = await query(service, "SELECT count(*) AS changes FROM rule_changes")
        assert row["changes"] == (said.word == "planned")


async def test_opening_and_planning_wait_for_each_other(shared: Settings, service: Service) -> None:
    """While somebody plans, no round is opened, and the other way round: the lock is what makes the race safe."""
    async with service_with(shared) as other:
        async with service.store.transaction() as connection:
            await rulebook.lock(connection)
            opening = asyncio.create_task(opened(other, NEXT))
            planning = asyncio.create_task(plan(other, NEXT, NEXT, bonus_fen=7))
            done, _ = await asyncio.wait({opening, planning}, timeout=0.3)
            assert not done
        rules, said = await opening, await planning
    assert (said.word, rules.bonus_fen) in [("planned", 7), ("rules_too_late", 0)]


# -- too late


async def test_a_day_whose_round_exists_is_refused_by_name(service: Service) -> None:
    await opened(service, NEXT + timedelta(2))
    late = Answer("rules_too_late", {"day": str(NEXT + timedelta(2))})
    assert await plan(service, NEXT, NEXT + timedelta(5), stake_fen=200) == late
    assert await plan(service, NEXT, stake_fen=200) == late
    assert (await plan(service, NEXT, NEXT + timedelta(1), stake_fen=200)).word == "planned"
    assert (await plan(service, NEXT + timedelta(3), stake_fen=200)).word == "planned"
    yesterday = DAY - timedelta(1)
    assert await plan(service, yesterday, stake_fen=200) == Answer("rules_too_late", {"day": str(yesterday)})


async def take_back(service: Service, number: int) -> Answer:
    return await service.planning.take_back(number, "ben", "a mistake", DAY)


async def test_a_change_is_taken_back_until_a_round_is_opened_by_it(service: Service) -> None:
    usual = await opened(service, DAY)
    number = (await plan(service, NEXT, NEXT + timedelta(1), stake_fen=500)).data["id"]
    for _ in range(2):
        assert await take_back(service, number) == Answer("taken_back", {"id": number})
    assert await opened(service, NEXT) == usual
    (row,) = await query(service, "SELECT by_whom, reason FROM rule_changes_taken_back")
    assert (row["by_whom"], row["reason"]) == ("ben", "a mistake")
    second = (await plan(service, NEXT + timedelta(1), stake_fen=500)).data["id"]
    assert (await opened(service, NEXT + timedelta(1))).stake_fen == 500
    assert await take_back(service, second) == Answer("rules_too_late", {"day": str(NEXT + timedelta(1))})
    assert await take_back(service, second + 1) == Answer("change_not_found")


async def test_what_another_change_stands_on_is_not_taken_back(service: Service) -> None:
    number = (await plan(service, NEXT, NEXT, check_in_closes="12:00", settle_at="12:05")).data["id"]
    assert (await plan(service, NEXT, NEXT, check_in_opens="10:00")).word == "planned"
    refused = await take_back(service, number)
    assert (refused.word, refused.data["day"]) == ("rules_misfit", str(NEXT))
    assert (await opened(service, NEXT)).check_in_closes == "12:00"


# -- refused


REFUSED: dict[str, tuple[date, date | None, dict[str, Any], str]] = {
    "backwards": (NEXT + timedelta(1), NEXT, {"stake_fen": 1}, "last_day is before first_day"),
    "nothing": (NEXT, NEXT, {}, "nothing is changed"),
    "a bonus for ever": (NEXT, None, {"bonus_fen": 1}, "a campaign and bonus_fen need"),
    "a campaign for ever": (
        NEXT,
        None,
        {"campaign": Campaign("一", "One")},
        "a campaign and bonus_fen need",
    ),
    "too far": (DAY + timedelta(AHEAD_DAYS + 1), None, {"stake_fen": 1}, "first_day is more than"),
    "too long": (NEXT, NEXT + timedelta(AHEAD_DAYS + 1), {"stake_fen": 1}, "last_day is more than"),
    "no order": (NEXT, NEXT, {"check_in_opens": "09:00"}, "check_in_closes=08:00 must be after check_in_opens=09:00"),
    "nobody is lucky": (NEXT, None, {"lucky_bps": 5}, "lucky_bps needs lucky_count above 0"),
}


@pytest.mark.parametrize(("first", "last", "fields", "why"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_meant_or_played_is_refused_and_not_written(
    service: Service, first: date, last: date | None, fields: dict[str, Any], why: str
) -> None:
    answer = await plan(service, first, last, **fields)
    assert (answer.word, answer.data["why"][: len(why)]) == ("rules_misfit", why)
    assert await query(service, "SELECT 1 FROM rule_changes") == []


async def test_windows_that_a_change_of_clocks_swallows_are_refused_for_the_days_that_it_touches(
    shared: Settings,
) -> None:
    async with new_world(shared, timezone="America/New_York") as service:
        windows: dict[str, Any] = {"check_in_opens": "02:30", "check_in_closes": "03:00"}
        spring, today = date(2027, 3, 13), date(2027, 3, 1)
        for first, last in [(date(2027, 3, 5), date(2027, 3, 20)), (spring, spring)]:
            answer = await plan(service, first, last, today, **windows)
            assert (answer.word, answer.data["day"]) == ("rules_misfit", str(spring))
        assert (await plan(service, date(2027, 3, 5), date(2027, 3, 12), today, **windows)).word == "planned"
        answer = await plan(service, date(2027, 3, 14), None, today, **windows)
        assert answer.word == "rules_misfit" and "where clocks change" in answer.data["why"]


async def test_planned_changes_are_bounded(service: Service) -> None:
    async with service.store.transaction() as connection:
        for number in range(MOST_CHANGES):
            fields = Change(first_day=NEXT, last_day=NEXT, changes=Terms(stake_fen=number + 1))
            await rulebook.add(connection, fields, "anna", "many")
        await rulebook.begun(connection, DAY, service.planning._environment)
    assert await plan(service, NEXT, NEXT, stake_fen=7) == Answer("rules_full")


# -- read anew


async def test_old_defaults_are_left_out_of_what_is_read_and_say_the_same(service: Service) -> None:
    """Whatever was planned and taken back: for a day and those after it the short book says what the whole one does."""
    chance, planned = random.Random(7), []
    async with service.store.transaction() as connection:
        first = (await rulebook.begun(connection, DAY, service.planning._environment)).first
        for _ in range(60):
            begins, length = chance.randrange(30), chance.choice([None, None, 0, 3])
            until = None if length is None else DAY + timedelta(begins + length)
            name = chance.choice(["stake_fen", "fee_bps", "packet_cap_fen"])
            terms = msgspec.convert({name: chance.randrange(1, 999)}, Terms)
            change = Change(first_day=DAY + timedelta(begins), last_day=until, changes=terms)
            number = await rulebook.add(connection, change, "anna", "chance")
            if chance.random() < 0.2:
                await rows(connection, "take_change_back", change=number, by_whom="ben", reason="chance")
            else:
                planned.append(msgspec.structs.replace(change, id=number))
        whole = Book(first, tuple(planned))
        for number in range(35):
            day = DAY + timedelta(number)
            short = await rulebook.read(connection, day)
            assert short is not None
            assert [short.rules(day + timedelta(more)) for more in range(35)] == [
                whole.rules(day + timedelta(more)) for more in range(35)
            ]
        assert short is not None and len(short.changes) <= 3


async def test_rows_of_the_book_never_change(service: Service) -> None:
    number = (await plan(service, NEXT, NEXT, stake_fen=500)).data["id"]
    await take_back(service, number)
    for table in ("rule_book", "rule_changes", "rule_changes_taken_back"):
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                await query(service, statement)
    for statement in ("UPDATE rule_book SET rules = '{}'", "UPDATE rule_changes SET bonus_fen = 1"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            await query(service, statement)


async def test_a_book_that_does_not_answer_opens_nothing_and_plans_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that somebody keeps: both end within the time that a transaction waits for one."""
    monkeypatch.setattr(store, "LOCK_SECONDS", 1)
    async with service.store.transaction() as connection:
        await rulebook.lock(connection)
        work = [service.opener.open_round(NEXT), plan(service, NEXT, NEXT, stake_fen=5)]
        for ended in await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 8):
            assert isinstance(ended, Unavailable)
    assert await query(service, "SELECT 1 FROM rule_changes") == []
    assert await query(service, "SELECT 1 FROM rounds") == []
