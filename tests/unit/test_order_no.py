"""Order numbers say where the order lives, to us alone; ids are unique and fit a JavaScript number."""

from datetime import date, timedelta
from typing import get_args, get_type_hints

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from clock.config import Settings
from clock.domain import order_no
from clock.domain.order_no import DIGITS, LENGTH, Place
from clock.domain.rounds import EPOCH_DAY

unhurried = settings(deadline=None)

DAYS = st.dates(EPOCH_DAY, EPOCH_DAY + timedelta(days=1 << 14))
SHARDS = st.integers(0, 1023)
UIDS = st.integers(1, 2**53 - 1)
TAILS = st.text(DIGITS, min_size=12, max_size=12)
PREFIXES = st.text(DIGITS, min_size=1, max_size=6)
PLACES = st.builds(Place, day=DAYS, shard=SHARDS, uid=UIDS, tail=TAILS)

LAST_PLACE = Place(date(2060, 12, 31), 1023, 2**53 - 1, "z" * 12)


@unhurried
@given(PREFIXES, PLACES)
@example("TTC", Place(date(2026, 11, 22), 0, 1, "0" * 12))
@example("ZZZZZZ", LAST_PLACE)
def test_a_number_says_where_the_order_lives(prefix: str, place: Place) -> None:
    assert order_no.parse(prefix, order_no.make(prefix, place)) == place


@unhurried
@given(PREFIXES, PLACES)
@example("ZZZZZZ", LAST_PLACE)
def test_a_number_has_at_most_32_letters_and_digits(prefix: str, place: Place) -> None:
    number = order_no.make(prefix, place)
    assert len(number) == len(prefix) + LENGTH <= 32
    assert number.isascii() and number.isalnum()


def test_the_longest_prefix_that_settings_allow_fits() -> None:
    assert len(Settings().order_prefix) + LENGTH <= 32
    assert 6 + LENGTH == 32


@unhurried
@given(PLACES, PLACES)
def test_different_places_have_different_numbers(one: Place, other: Place) -> None:
    assume(one != other)
    assert order_no.make("TTC", one) != order_no.make("TTC", other)


GOOD = order_no.make("TTC", Place(date(2026, 11, 22), 3, 42, "AbCdEfGhIjKl"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "TTC", GOOD[:-1], GOOD + "0", GOOD[3:], "ttc" + GOOD[3:], "XXX" + GOOD[3:], " " + GOOD, GOOD + " "),
        *(GOOD[:-1] + "-", GOOD[:-1] + "_", GOOD[:-1] + "é", GOOD[:-1] + "٣", GOOD[:-1] + "\n", GOOD[:-1] + "\0"),
        "TTC" + "z" * LENGTH,
        GOOD[:3] + "zzz" + GOOD[6:],  # a day after 2064
        GOOD[:6] + "zz" + GOOD[8:],  # a channel that there is not
        GOOD[:6] + "nY" + GOOD[8:],  # the first of it
        GOOD[:8] + "0" * 9 + GOOD[17:],  # uid 0
        GOOD[:8] + "z" * 9 + GOOD[17:],  # a uid above 2^53
        GOOD + "\n",
        "9" * 10_000,
    ],
)
def test_what_was_never_an_order_is_none(text: str) -> None:
    assert order_no.parse("TTC", text) is None


def test_the_numbers_around_the_last_uid_and_shard() -> None:
    def number(shard: int, uid: int) -> str:
        return "TTC" + "00z" + order_no._write(shard, 2) + order_no._write(uid, 9) + "0" * 12

    assert order_no.parse("TTC", number(1023, 2**53 - 1)) is not None
    assert order_no.parse("TTC", number(3 * 1024 - 1, 1)) is not None
    assert order_no.parse("TTC", number(3 * 1024, 1)) is None
    assert order_no.parse("TTC", number(0, 2**53)) is None


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40) | st.text(DIGITS, min_size=29, max_size=29).map(lambda text: "TTC" + text[3:]))
def test_any_text_is_an_order_that_says_so_again_or_none(text: str) -> None:
    place = order_no.parse("TTC", text)
    if place is not None:
        assert order_no.make("TTC", place) == text
        assert 0 <= place.shard < 1024
        assert 0 < place.uid < 2**53


@unhurried
@given(PREFIXES, PREFIXES, PLACES)
def test_an_order_of_another_prefix_is_foreign(ours: str, theirs: str, place: Place) -> None:
    assume(ours != theirs)
    assert order_no.parse(ours, order_no.make(theirs, place)) is None


def test_tails_do_not_repeat_and_use_every_digit_in_every_place() -> None:
    tails = [order_no.new_tail() for _ in range(5_000)]
    assert len(set(tails)) == len(tails)
    for at in range(12):
        assert {tail[at] for tail in tails} == set(DIGITS)


@unhurried
@given(DAYS, SHARDS, st.integers(1, (1 << 26) - 1), DAYS, SHARDS, st.integers(1, (1 << 26) - 1))
def test_order_ids_are_unique_and_below_2_53(
    day: date, shard: int, count: int, other_day: date, other_shard: int, other_count: int
) -> None:
    order_id = order_no.first_order_id(day, shard) + count
    assert 0 < order_id < 2**53
    other = order_no.first_order_id(other_day, other_shard) + other_count
    assert (order_id == other) == ((day, shard, count) == (other_day, other_shard, other_count))


@pytest.mark.parametrize("day", [date(2026, 11, 22), date(2026, 11, 23), date(2027, 2, 28)])
def test_the_next_shard_and_day_begin_after_the_last_order_of_this_one(day: date) -> None:
    def last(shard: int) -> int:
        return order_no.first_order_id(day, shard) + (1 << 26) - 1

    assert [order_no.first_order_id(day, shard) for shard in range(1, 1024)] == [last(s) + 1 for s in range(1023)]
    assert order_no.first_order_id(day + timedelta(days=1), 0) == last(1023) + 1
    assert order_no.first_order_id(EPOCH_DAY, 0) == 0


def test_no_digit_of_a_tail_is_likelier_than_five_in_256() -> None:
    digit_of_byte = order_no.OF_BYTES.decode()
    assert len(digit_of_byte) == 256
    assert {digit_of_byte.count(digit) for digit in DIGITS} == {4, 5}


@pytest.mark.parametrize("channel, length", [("platform", 12), ("wechat", 13), ("alipay", 13)])
def test_an_order_says_through_which_channel_it_is_paid(channel: str, length: int) -> None:
    """And no number of one channel can be turned into that of an order of another."""
    tail = order_no.new_tail(channel)
    place = Place(date(2026, 11, 22), 1023, 2**53 - 1, tail)
    number = order_no.make("PREFIX", place)
    assert len(tail) == length
    assert len(number) == 32
    assert order_no.place_of(number) == place
    assert place.channel == channel
    tails = [mark + tail[-12:] for mark in ("", "W", "A")]
    others = {order_no.make("PREFIX", Place(place.day, place.shard, place.uid, one)) for one in tails}
    assert len(others) == 3
    assert len({order_no.parse("PREFIX", one) for one in others}) == 3


def test_channels_are_those_of_the_settings() -> None:
    assert get_args(get_type_hints(Settings)["channel"]) == tuple(order_no.CHANNELS)
