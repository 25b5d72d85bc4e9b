"""What the book of rules says of a day: which change wins, and which plans no round could be played by."""

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.config import Settings, rules_of
from clock.domain.rounds import Campaign, Rules
from clock.domain.rulebook import Book, Change, Terms, misfit, unplayable

DAY = date(2026, 12, 1)
RULES = rules_of(Settings())
NEW_YEAR = Campaign("元旦", "New Year")


def change(number: int, first: int, last: int | None = None, **fields: Any) -> Change:
    """Days count from :data:`DAY`."""
    other = {name: fields.pop(name) for name in ("campaign", "bonus_fen") if name in fields}
    until = None if last is None else DAY + timedelta(last)
    return Change(id=number, first_day=DAY + timedelta(first), last_day=until, changes=Terms(**fields), **other)


def of(*changes: Change) -> Book:
    return Book(RULES, changes)


def stakes(book: Book, count: int) -> list[int]:
    return [book.rules(DAY + timedelta(number)).stake_fen for number in range(count)]


WINNERS: dict[str, tuple[tuple[Change, ...], list[int]]] = {
    "nothing is planned": ((), [100, 100, 100]),
    "a dated change": ((change(1, 1, 1, stake_fen=200),), [100, 200, 100]),
    "a new default": ((change(1, 1, stake_fen=200),), [100, 200, 200]),
    "the later planned of two dated changes": (
        (change(1, 0, 2, stake_fen=200), change(2, 1, 1, stake_fen=300)),
        [200, 300, 200],
    ),
    "the later planned of two defaults": ((change(1, 1, stake_fen=200), change(2, 0, stake_fen=300)), [300, 300, 300]),
    "a dated change, whenever the default was planned": (
        (change(1, 1, 1, stake_fen=200), change(2, 0, stake_fen=300)),
        [300, 200, 300],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), WINNERS.values(), ids=WINNERS)
def test_which_change_wins(changes: tuple[Change, ...], expected: list[int]) -> None:
    assert stakes(of(*changes), 3) == expected


def test_changes_of_one_day_are_laid_over_each_other_field_by_field() -> None:
    book = of(
        change(1, 0, 2, stake_fen=200, fee_bps=100, campaign=NEW_YEAR, bonus_fen=5),
        change(2, 0, 0, fee_bps=0, bonus_fen=7),
    )
    first, second = book.rules(DAY), book.rules(DAY + timedelta(1))
    assert (first.stake_fen, first.fee_bps, first.campaign, first.bonus_fen) == (200, 0, NEW_YEAR, 7)
    assert (second.stake_fen, second.fee_bps, second.campaign, second.bonus_fen) == (200, 100, NEW_YEAR, 5)
    assert [one.id for one in book.on(DAY)] == [1, 2]
    assert book.default(DAY) == RULES == book.rules(DAY + timedelta(3))


def test_a_snapshot_of_before_has_no_bonus_and_no_campaign() -> None:
    told = msgspec.to_builtins(RULES)
    del told["bonus_fen"], told["campaign"]
    assert msgspec.json.decode(msgspec.json.encode(told), type=Rules) == RULES


def test_a_version_of_before_reads_todays_snapshot() -> None:
    names = [field for field in msgspec.structs.fields(Rules) if field.name not in ("bonus_fen", "campaign")]
    older: Any = msgspec.defstruct("Older", [(one.name, one.type) for one in names], kw_only=True)
    snapshot = msgspec.structs.replace(RULES, bonus_fen=7, campaign=NEW_YEAR)
    read = msgspec.json.decode(msgspec.json.encode(snapshot), type=older)
    assert msgspec.structs.asdict(read) == {one.name: getattr(RULES, one.name) for one in names}


LATE: dict[str, Any] = {"check_in_closes": "10:00", "settle_at": "10:05"}

MISFITS: dict[str, tuple[Book, str | None, str]] = {
    "nothing wrong": (of(change(1, 0, 2, **LATE)), None, ""),
    "closing before opening": (of(change(1, 0, 0, check_in_opens="09:00")), "2026-12-01", "check_in_closes=08:00 must"),
    "only together": (
        of(change(1, 0, 4, check_in_opens="09:00", **LATE), change(2, 3, 3, check_in_closes="08:30")),
        "2026-12-04",
        "check_in_closes=08:30 must be after check_in_opens=09:00",
    ),
    "lucky money for nobody": (of(change(1, 1, 1, lucky_bps=10)), "2026-12-02", "lucky_bps needs lucky_count"),
    "the reminder comes too late": (
        of(change(1, 0, 0, check_in_closes="07:30")),
        "2026-12-01",
        "remind_at=07:30 must be before check_in_closes=07:30",
    ),
    "joining is over before the round before is settled": (
        of(change(1, 0, 0, check_in_closes="20:00", settle_at="20:30"), change(2, 1, 1, join_closes="20:30")),
        "2026-12-02",
        "join_closes=20:30 must be after settle_at=20:30",
    ),
    "the same, on the day after the last": (
        of(change(1, 1, None, join_closes="20:30"), change(2, 0, 0, check_in_closes="20:00", settle_at="20:30")),
        "2026-12-02",
        "join_closes=20:30 must be after settle_at=20:30",
    ),
}


@pytest.mark.parametrize(("book", "day", "why"), MISFITS.values(), ids=MISFITS)
def test_the_first_day_that_cannot_be_played_is_named(book: Book, day: str | None, why: str) -> None:
    found = unplayable(book, DAY, max(one.last_day or DAY for one in book.changes), "07:30")
    assert (None if found is None else found[0].isoformat()) == day
    assert found is None or found[1].startswith(why)


NEW_YORK = msgspec.structs.replace(RULES, timezone="America/New_York")
SWALLOWED = Terms(check_in_opens="02:30", check_in_closes="03:00")


@pytest.mark.parametrize(
    ("first", "last", "day"),
    [
        (date(2027, 3, 10), date(2027, 3, 12), None),
        (date(2027, 3, 10), date(2027, 3, 20), date(2027, 3, 13)),  # its morning is the 14th
        (date(2027, 3, 14), date(2027, 3, 20), None),
        (date(2027, 3, 14), None, date(2027, 3, 15)),  # in some later spring
    ],
)
def test_windows_that_the_clocks_swallow_are_refused_on_that_day_alone(
    first: date, last: date | None, day: date | None
) -> None:
    book = Book(NEW_YORK, (Change(id=1, first_day=first, last_day=last, changes=SWALLOWED),))
    found = unplayable(book, first, last, "")
    assert (None if found is None else found[0]) == day
    assert found is None or "check_in_closes=03:00 is not after check_in_opens=02:30 on 20" in found[1]


@pytest.mark.parametrize("name", [name for name in Rules.__struct_fields__ if name not in ("bonus_fen", "campaign")])
def test_a_change_may_name_every_rule_but_the_time_zone(name: str) -> None:
    value = getattr(RULES, name)
    if name == "timezone":
        with pytest.raises(msgspec.ValidationError, match="unknown field `timezone`"):
            msgspec.convert({name: value}, Terms)
    else:
        assert getattr(msgspec.convert({name: value}, Terms), name) == value


DAYS = st.integers(0, 6)
CHANGES = st.lists(st.tuples(DAYS, st.none() | DAYS, st.integers(1, 9), st.none() | st.integers(0, 9)), max_size=8)


@given(CHANGES, DAYS)
def test_a_day_is_what_was_said_of_it_last_and_what_is_dated_before_what_is_not(
    planned: list[tuple[int, int | None, int, int | None]], day: int
) -> None:
    changes = []
    for number, (first, length, stake, fee) in enumerate(planned):
        fields = {"stake_fen": stake} if fee is None else {"stake_fen": stake, "fee_bps": fee}
        changes.append(change(number, first, None if length is None else first + length, **fields))
    expected: dict[str, int] = {"stake_fen": 100, "fee_bps": 0}
    for dated in (False, True):
        for first, length, stake, fee in planned:
            if (length is not None) == dated and first <= day and (length is None or day <= first + length):
                expected |= {"stake_fen": stake} if fee is None else {"stake_fen": stake, "fee_bps": fee}
    rules = of(*changes).rules(DAY + timedelta(day))
    assert {name: getattr(rules, name) for name in expected} == expected


def test_the_rules_of_the_environment_are_checked_by_the_same_words() -> None:
    wrong = msgspec.structs.replace(RULES, check_in_opens="09:00")
    assert misfit(wrong, named=lambda name: f"CLOCK_{name.upper()}") == (
        "CLOCK_CHECK_IN_CLOSES=08:00 must be after CLOCK_CHECK_IN_OPENS=09:00"
    )
