"""Divides money: the fee, and the pot into packets. Nothing else in the service divides fen.

Pure functions over integers. ``docs/split.md`` says the same for readers who want to recompute a round.
The packets of a published round must come out the same for ever: a different way of splitting needs a new
``DOMAIN``, and the old one stays.
"""

from __future__ import annotations  # "array[int]" cannot be evaluated before Python 3.12

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from operator import neg
from typing import Literal

import msgspec

DOMAIN = b"clock/split/v1"
SEED_BYTES = 32
MAX_POT_FEN = 2**63 - 1
"""The largest number that an ``array("q")`` and a Postgres ``bigint`` hold."""


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a round that decide how its pot is split. ``packet_cap_fen`` 0: no cap."""

    mode: Literal["random", "equal"] = "random"
    lucky_count: int = 0
    lucky_bps: int = 0
    packet_cap_fen: int = 0


class Packets(msgspec.Struct, frozen=True, kw_only=True):
    """A pot that was split: one packet per winner, in the order of the list, and the sum that fitted nowhere."""

    packets_fen: array[int]
    carried_fen: int


def fee(forfeited_fen: int, fee_bps: int) -> int:
    """The house's part of the forfeited stakes, in fen, rounded down."""
    assert forfeited_fen >= 0, forfeited_fen
    assert 0 <= fee_bps <= 10_000, fee_bps
    return forfeited_fen * fee_bps // 10_000


def split(seed: bytes, pot_fen: int, winners: int, rules: Split) -> Packets:
    """Split the pot into one packet per winner; ``sum(packets_fen) + carried_fen == pot_fen``, exactly.

    A pure function of its arguments. Lucky parts are laid on first, then what is left is drawn or shared
    evenly, then the cap is applied, and the shuffle comes last. Whatever the steps before it do to a place in
    the list, a uniform shuffle of the finished amounts makes every place worth the same; a cap applied after
    it would have to break ties by place.
    """
    _check(seed, pot_fen, winners, rules)
    if winners == 0:
        return Packets(packets_fen=array("q"), carried_fen=pot_fen)
    lucky = min(rules.lucky_count, winners)
    lucky_fen = pot_fen * rules.lucky_bps // 10_000 // lucky if lucky else 0
    rest_fen = pot_fen - lucky * lucky_fen
    drawn = rules.mode == "random" and rest_fen >= winners
    words = iter(_words(seed, (winners - 1) * (2 if drawn else 1)))
    packets = _draw(rest_fen, winners, words) if drawn else _share(rest_fen, winners)
    if lucky_fen:
        for place in range(lucky):
            packets[place] += lucky_fen
    if rules.packet_cap_fen:
        packets = _cap(packets, rules.packet_cap_fen)
    _shuffle(packets, words)
    result = Packets(packets_fen=packets, carried_fen=_over_all(pot_fen, winners, rules.packet_cap_fen))
    _audit(result, pot_fen, winners, rules.packet_cap_fen)
    return result


def _words(seed: bytes, count: int) -> array[int]:
    """The first ``count`` words of the seed's stream: SHAKE-256 (FIPS 202), read as little-endian 64 bit.

    A draw from ``[0, n)`` takes one word: ``word * n >> 64``. No value's probability is off 1/n by
    2**-64 or more, so the whole draw is biased by less than n / 2**64 (Lemire, "Fast Random Integer
    Generation in an Interval", 2019, without the rejection, so that each draw takes exactly one word).
    """
    words = array("Q")
    words.frombytes(hashlib.shake_256(DOMAIN + seed).digest(8 * count))
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _draw(pot_fen: int, winners: int, words: Iterator[int]) -> array[int]:
    """Double-mean packets of at least 1 fen each, in the order of drawing; takes ``winners - 1`` words.

    Everybody gets 1 fen, which leaves R extra. With k packets left, one draws its extra uniformly from
    ``[0, 2 * R // k]``; the last takes all that is left.

    - Feasible: for k >= 2, extra <= 2 * R // k <= R, so R never falls below 0.
    - Below twice the mean of what is left: 1 + extra <= 1 + 2 * R / k < 2 * (R + k) / k.

    The mean is the same at every place but the spread grows along the list: it needs the shuffle.
    """
    extra_left = pot_fen - winners
    packets = array("q")
    append = packets.append
    # The range goes first in zip: when it ends, zip has not consumed a further word.
    for left, word in zip(range(winners, 1, -1), words, strict=False):
        extra = word * (2 * extra_left // left + 1) >> 64
        extra_left -= extra
        append(1 + extra)
    append(1 + extra_left)
    return packets


def _share(pot_fen: int, winners: int) -> array[int]:
    """Even packets; the odd fen go one each to the last ones (the lucky are the first)."""
    mean, odd = divmod(pot_fen, winners)
    return array("q", [mean]) * (winners - odd) + array("q", [mean + 1]) * odd


def _cap(packets: array[int], cap_fen: int) -> array[int]:
    """Cut packets to the cap and fill those below it with what was cut; from the largest to the smallest.

    Water filling in one pass: each packet gets an equal part of the excess that is left, ``excess // left``,
    or its headroom if that is less. The least headroom comes first, so once a part fits below the cap all
    later ones do, and they are that part or, for the last ``excess % left`` of them, 1 fen more. Hence fen
    are left over only when every packet is at the cap.
    """
    ordered = sorted(packets, reverse=True)
    size = len(ordered)
    full = bisect_left(ordered, -cap_fen, key=neg)
    excess = sum(ordered[:full]) - full * cap_fen
    while full < size and (headroom := cap_fen - ordered[full]) * (size - full) <= excess:
        excess -= headroom
        full += 1
    filled = array("q", [cap_fen]) * full
    if full < size:
        part, odd = divmod(excess, size - full)
        filled.extend(packet + part for packet in ordered[full : size - odd])
        filled.extend(packet + part + 1 for packet in ordered[size - odd :])
    return filled


def _shuffle(packets: array[int], words: Iterator[int]) -> None:
    """Fisher-Yates from the last place down (Knuth, TAOCP 2, algorithm P); takes ``len - 1`` words."""
    last = len(packets)
    for size, word in zip(range(last, 1, -1), words, strict=True):
        last -= 1
        other = word * size >> 64
        packets[last], packets[other] = packets[other], packets[last]


def _over_all(pot_fen: int, winners: int, cap_fen: int) -> int:
    """The fen that fit nowhere when every packet is at the cap."""
    return max(0, pot_fen - winners * cap_fen) if cap_fen else 0


def _check(seed: bytes, pot_fen: int, winners: int, rules: Split) -> None:
    assert len(seed) == SEED_BYTES, len(seed)
    assert 0 <= pot_fen <= MAX_POT_FEN, pot_fen
    assert winners >= 0, winners
    assert rules.mode in ("random", "equal"), rules.mode
    assert rules.lucky_count >= 0, rules.lucky_count
    assert 0 <= rules.lucky_bps <= 10_000, rules.lucky_bps
    assert rules.packet_cap_fen >= 0, rules.packet_cap_fen


def _audit(result: Packets, pot_fen: int, winners: int, cap_fen: int) -> None:
    packets = result.packets_fen
    assert len(packets) == winners
    assert sum(packets) + result.carried_fen == pot_fen
    assert min(packets) >= 0
    assert not cap_fen or max(packets) <= cap_fen
