"""Order numbers: prefix, day, shard, channel, uid and a random tail, all in ``[0-9A-Za-z]``, at most 32 characters.

They encode the order's shard, so that a callback finds its keys; the channel through which it is paid; and at least 68
random bits, so that they cannot be guessed.
Order ids are unique integers below 2^53: day number, shard, and the shard's count of orders.
"""

import os
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

import msgspec

from clock.domain.rounds import day_number, day_of_number

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PAIRS = [first + second for first in DIGITS for second in DIGITS]
VALUES = {digit: value for value, digit in enumerate(DIGITS)}
DAY, SHARD, UID, TAIL = 3, 2, 9, 12
LENGTH = DAY + SHARD + UID + TAIL
OF_BYTES = bytes(ord(DIGITS[byte % 62]) for byte in range(256))
"""A digit for every byte. Eight digits occur five times in it, all others four times, so a random digit carries at
least log2(256 / 5) = 5.67 bits."""

ORDERS_BITS, SHARD_BITS = 26, 10
"""At most 2^26 orders a day in one of at most 2^10 shards; the day number takes the remaining bits below 2^53."""

MARKS = {"platform": "", "wechat": "W", "alipay": "A"}
"""A channel's mark is the beginning of the tails of its orders. In the number its place in this table stands beside the
shard, of which two digits leave room for three."""

CHANNELS = list(MARKS)
OF_MARK = {mark: name for name, mark in MARKS.items()}


class Place(msgspec.Struct, frozen=True):
    """The contents of an order number."""

    day: date
    shard: int
    uid: int
    tail: str
    """With the channel's mark, as Redis keeps it."""

    @property
    def channel(self) -> str:
        return OF_MARK[self.tail[:-TAIL]]


def _write(value: int, width: int) -> str:
    """``value`` modulo 62^width in so many digits, the largest first; two at a time."""
    digits = ""
    for _ in range(width // 2):
        value, pair = divmod(value, 3844)
        digits = PAIRS[pair] + digits
    return DIGITS[value % 62] + digits if width % 2 else digits


def _read(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 62 + VALUES[digit]
    return value


@lru_cache(maxsize=1024)
def _written(day: date, shard: int, channel: str) -> str:
    return _write(day_number(day), DAY) + _write(CHANNELS.index(channel) << SHARD_BITS | shard, SHARD)


@lru_cache(maxsize=1024)
def _day_shard_and_mark(digits: str) -> tuple[date, int, str] | None:
    number, (channel, shard) = _read(digits[:DAY]), divmod(_read(digits[DAY:]), 1 << SHARD_BITS)
    if number > 1 << 14 or channel >= len(CHANNELS):
        return None
    return day_of_number(number), shard, MARKS[CHANNELS[channel]]


def _tails() -> Iterator[str]:
    while True:
        digits = os.urandom(256 * TAIL).translate(OF_BYTES).decode()
        for start in range(0, len(digits), TAIL):
            yield digits[start : start + TAIL]


_random = _tails()


def new_tail(channel: str = "platform") -> str:
    """A new tail; the random bytes of many tails are fetched at once."""
    return MARKS[channel] + next(_random)


def make(prefix: str, place: Place) -> str:
    return prefix + _written(place.day, place.shard, place.channel) + _write(place.uid, UID) + place.tail[-TAIL:]


def parse(prefix: str, text: str) -> Place | None:
    """The contents of an order number, or ``None`` if it is malformed."""
    body = text[len(prefix) :]
    if not text.startswith(prefix) or len(body) != LENGTH or not (body.isascii() and body.isalnum()):
        return None
    known, uid = _day_shard_and_mark(body[: DAY + SHARD]), _read(body[DAY + SHARD : -TAIL])
    if known is None or not 0 < uid < 1 << 53:
        return None
    day, shard, mark = known
    return Place(day, shard, uid, mark + body[-TAIL:])


def place_of(text: str) -> Place | None:
    """As :func:`parse`, with any prefix; the rules of that day's round say which prefix is valid."""
    return parse(text[:-LENGTH], text)


def channel_of(text: str) -> str:
    """The channel of an order, by its number; what none has marked is ``platform``'s."""
    place = place_of(text)
    return place.channel if place else CHANNELS[0]


def tail_of(number: str) -> str:
    """The tail of a number that was given out, with the channel's mark."""
    known = _day_shard_and_mark(number[-LENGTH : DAY + SHARD - LENGTH])
    assert known is not None, number
    return known[2] + number[-TAIL:]


def first_order_id(day: date, shard: int) -> int:
    """The id before the first order of a shard's day."""
    return (day_number(day) << SHARD_BITS | shard) << ORDERS_BITS
