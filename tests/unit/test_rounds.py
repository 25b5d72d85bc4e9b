"""Every time rule: windows, days, and what state a round is in, to the millisecond and in every zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock.config import Settings, rules_of
from clock.domain.rounds import (
    EPOCH_DAY,
    Calendar,
    Rules,
    State,
    day_number,
    day_of_number,
    days_of_change,
    empty_window,
    following,
    instant_ms,
    parse_day,
    phase,
    previous,
    windows,
)
from tests.conftest import DAY, at

unhurried = settings(deadline=None)

RULES = rules_of(Settings())
ZONES = [
    "Asia/Shanghai",
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",  # + 5:45
    "Pacific/Kiritimati",  # + 14
    "Australia/Lord_Howe",  # summer time of half an hour
    "Africa/Cairo",  # summer time begins at midnight
    "Asia/Beirut",  # summer time begins at midnight
    "America/Havana",  # summer time ends at 01:00: midnight is there twice
]


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1000


def test_the_instants_of_a_round_are_those_of_the_rules() -> None:
    assert msgspec.structs.asdict(windows(date(2026, 11, 22), RULES)) == {
        "day_starts_ms": ms("2026-11-22T00:00+08:00"),
        "join_opens_ms": ms("2026-11-22T00:00+08:00"),
        "join_closes_ms": ms("2026-11-23T00:00+08:00"),
        "morning_starts_ms": ms("2026-11-23T00:00+08:00"),
        "check_in_opens_ms": ms("2026-11-23T05:00+08:00"),
        "check_in_closes_ms": ms("2026-11-23T08:00+08:00"),
        "settle_ms": ms("2026-11-23T08:05+08:00"),
        "claim_closes_ms": ms("2026-11-24T00:00+08:00"),
        "morning_ends_ms": ms("2026-11-24T00:00+08:00"),
    }


def test_configured_windows_are_taken_over() -> None:
    rules = msgspec.structs.replace(
        RULES,
        timezone="UTC",
        join_opens="06:30",
        join_closes="22:15",
        check_in_opens="04:00",
        check_in_closes="04:01",
        settle_at="04:02",
        claim_closes="20:00",
    )
    found = windows(date(2026, 2, 28), rules)
    assert found.day_starts_ms == ms("2026-02-28T00:00+00:00")
    assert found.join_opens_ms == ms("2026-02-28T06:30+00:00")
    assert found.join_closes_ms == ms("2026-02-28T22:15+00:00")
    assert found.check_in_opens_ms == ms("2026-03-01T04:00+00:00")
    assert found.check_in_closes_ms == ms("2026-03-01T04:01+00:00")
    assert found.settle_ms == ms("2026-03-01T04:02+00:00")
    assert found.claim_closes_ms == ms("2026-03-01T20:00+00:00")
    assert found.morning_ends_ms == ms("2026-03-02T00:00+00:00")


def test_a_rounds_rules_are_a_snapshot_of_the_settings() -> None:
    settings = Settings(stake_fen=250, fee_bps=100, shards=4, check_in_opens="04:30")
    rules = rules_of(settings)
    assert (rules.stake_fen, rules.fee_bps, rules.shards, rules.check_in_opens) == (250, 100, 4, "04:30")
    assert msgspec.json.decode(msgspec.json.encode(rules), type=Rules) == rules


@unhurried
@given(st.dates(date(2020, 1, 1), date(2060, 12, 31)), st.sampled_from(ZONES))
def test_windows_are_in_order_and_days_follow_each_other_without_a_gap(day: date, zone: str) -> None:
    rules = msgspec.structs.replace(RULES, timezone=zone)
    found = windows(day, rules)
    instants = list(msgspec.structs.astuple(found))
    assert instants == sorted(instants)
    assert windows(following(day), rules).day_starts_ms == found.morning_starts_ms
    assert windows(following(day), rules).morning_starts_ms == found.morning_ends_ms
    assert timedelta(hours=22) <= timedelta(milliseconds=found.morning_ends_ms - found.morning_starts_ms)


@pytest.mark.parametrize(
    "zone, day, hours",
    [
        # Years that are over: a newer zone database does not change them.
        ("Asia/Shanghai", date(2019, 3, 31), 24),
        ("America/New_York", date(2019, 3, 10), 23),
        ("America/New_York", date(2019, 11, 3), 25),
        ("Asia/Beirut", date(2019, 3, 31), 23),  # the day begins at 01:00
        ("America/Havana", date(2019, 11, 3), 25),  # 00:00 comes twice, the first is meant
    ],
)
def test_a_day_is_as_long_as_the_zone_makes_it(zone: str, day: date, hours: int) -> None:
    length = instant_ms(day, "24:00", zone) - instant_ms(day, "00:00", zone)
    assert length == hours * 3_600_000
    assert instant_ms(day, "24:00", zone) == instant_ms(following(day), "00:00", zone)


@pytest.mark.parametrize(
    "zone, day, time_of_day, instant",
    [
        ("America/New_York", date(2019, 3, 10), "01:59", "2019-03-10T06:59+00:00"),
        ("America/New_York", date(2019, 3, 10), "02:00", "2019-03-10T07:00+00:00"),
        ("America/New_York", date(2019, 3, 10), "02:30", "2019-03-10T07:00+00:00"),
        ("America/New_York", date(2019, 3, 10), "02:59", "2019-03-10T07:00+00:00"),
        ("America/New_York", date(2019, 3, 10), "03:00", "2019-03-10T07:00+00:00"),
        ("America/New_York", date(2019, 3, 10), "03:01", "2019-03-10T07:01+00:00"),
        ("Asia/Beirut", date(2019, 3, 31), "00:30", "2019-03-30T22:00+00:00"),
        ("Australia/Lord_Howe", date(2019, 10, 6), "02:15", "2019-10-05T15:30+00:00"),
        ("America/New_York", date(2019, 11, 3), "01:30", "2019-11-03T05:30+00:00"),  # twice: the first
    ],
)
def test_an_instant_that_the_clocks_leave_out_is_the_one_at_which_they_go_forward(
    zone: str, day: date, time_of_day: str, instant: str
) -> None:
    assert instant_ms(day, time_of_day, zone) == ms(instant)


def test_a_window_that_the_clocks_leave_out_is_found_on_its_day_alone() -> None:
    rules = msgspec.structs.replace(RULES, timezone="America/New_York", check_in_opens="02:30", check_in_closes="03:00")
    assert (
        empty_window(date(2019, 3, 9), rules) == "check_in_closes=03:00 is not after check_in_opens=02:30 on 2019-03-10"
    )
    assert not empty_window(date(2019, 3, 8), rules)
    assert not empty_window(date(2019, 3, 10), rules)
    rules = msgspec.structs.replace(
        rules, join_opens="02:00", join_closes="02:59", check_in_opens="05:00", check_in_closes="08:00"
    )
    assert empty_window(date(2019, 3, 10), rules) == "join_closes=02:59 is not after join_opens=02:00 on 2019-03-10"


def test_the_days_on_which_clocks_change_are_found() -> None:
    year = date(2019, 1, 1), date(2019, 12, 31)
    assert list(days_of_change("America/New_York", *year)) == [date(2019, 3, 10), date(2019, 11, 3)]
    assert list(days_of_change("Asia/Shanghai", *year)) == []
    assert list(days_of_change("Asia/Beirut", *year)) == [date(2019, 3, 31), date(2019, 10, 26)]


def test_a_check_in_in_summer_time_opens_by_the_wall_clock() -> None:
    zone = ZoneInfo("America/New_York")
    for day in (date(2019, 3, 10), date(2019, 7, 1), date(2019, 11, 3)):
        shown = datetime.fromtimestamp(instant_ms(day, "05:00", "America/New_York") / 1000, zone)
        assert shown.strftime("%Y-%m-%d %H:%M:%S") == f"{day} 05:00:00"


@pytest.mark.parametrize(
    "at_ms, day",
    [
        (at("00:00"), DAY),
        (at("00:00", 0, -1), date(2026, 11, 21)),
        (at("23:59", 0, 59_999), DAY),
        (at("24:00", 0, -1), DAY),
        (at("24:00"), date(2026, 11, 23)),
        (at("00:00", 1), date(2026, 11, 23)),
    ],
)
def test_a_day_begins_at_midnight_to_the_millisecond(at_ms: int, day: date) -> None:
    calendar = Calendar("Asia/Shanghai")
    assert calendar.day_at(at_ms) == day
    for remembered in (at("12:00", -1), at("12:00"), at("12:00", 1)):
        calendar.day_at(remembered)
        assert calendar.day_at(at_ms) == day


@unhurried
@given(
    st.sampled_from(ZONES),
    st.lists(
        st.integers(ms("2020-01-02T00:00+00:00"), ms("2060-12-30T00:00+00:00"))
        | st.builds(
            lambda day, off: ms(f"{day.isoformat()}T00:00+00:00") + off,
            st.dates(date(2020, 1, 2), date(2060, 12, 30)),
            st.integers(-15 * 3_600_000, 15 * 3_600_000) | st.sampled_from([-28_800_001, -28_800_000, -1, 0, 1]),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_the_calendar_says_the_local_date_of_any_instant_in_any_order(zone: str, instants: list[int]) -> None:
    calendar = Calendar(zone)
    for at_ms in instants:
        day = calendar.day_at(at_ms)
        assert day == datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone)).date()
        assert instant_ms(day, "00:00", zone) <= at_ms < instant_ms(day, "24:00", zone)


@unhurried
@given(st.dates(EPOCH_DAY, date(2060, 12, 31)))
def test_days_are_numbered(day: date) -> None:
    assert day_of_number(day_number(day)) == day
    assert day_number(following(day)) == day_number(day) + 1
    assert previous(following(day)) == day


@pytest.mark.parametrize("text", ["2020-01-01", "2026-11-22", "2028-02-29", "2060-12-31"])
def test_a_day_is_written_year_month_day(text: str) -> None:
    assert parse_day(text).isoformat() == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-2", "2026-11-222", "2026-13-01", "2026-11-31", "2027-02-29", "2026/11/22", "22-11-2026"),
        *("2026-W47-7", "20261122  ", " 2026-1122", "2026-11-2٢", "２０２６-11-22", "2026_11_22", "2026-11-22T00:00"),
        *("2019-12-31", "2061-01-01", "0000-00-00", "9999-12-31", "yesterday!", "2026-1-022"),
    ],
)
def test_anything_else_is_no_day(text: str) -> None:
    with pytest.raises(ValueError):
        parse_day(text)


@pytest.mark.parametrize(
    "state, now_ms, expected",
    [
        ("open", at("00:00", -1), "planned"),
        ("open", at("00:00", 0, -1), "planned"),
        ("open", at("00:00"), "joining"),
        ("open", at("24:00", 0, -1), "joining"),
        ("open", at("24:00"), "waiting"),
        ("open", at("05:00", 1, -1), "waiting"),
        ("open", at("05:00", 1), "checking_in"),
        ("open", at("08:00", 1, -1), "checking_in"),
        ("open", at("08:00", 1), "closed"),
        ("open", at("11:00", 5), "closed"),
        ("closed", at("08:05", 1), "settling"),
        ("split", at("08:05", 1), "settling"),
        ("published", at("08:05", 1), "settling"),
        ("settled", at("08:05", 1), "settled"),
        ("finished", at("00:00", 2), "finished"),
        ("voiding", at("20:00"), "void"),
        ("void", at("20:00"), "void"),
        ("void", at("05:00", 1), "void"),
    ],
)
def test_the_state_of_a_round_in_the_words_of_the_rules(state: State, now_ms: int, expected: str) -> None:
    assert phase(state, windows(DAY, RULES), now_ms) == expected


def test_the_epoch_of_day_numbers_never_moves() -> None:
    """Order numbers that are out there carry it."""
    assert date(2020, 1, 1) == EPOCH_DAY
    assert day_number(date(2026, 11, 22)) == 2_517
    assert instant_ms(date(1970, 1, 1), "00:00", "UTC") == 0
    assert datetime.fromtimestamp(at("05:00", 1) / 1000, UTC).isoformat() == "2026-11-22T21:00:00+00:00"
