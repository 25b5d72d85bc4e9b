"""Rounds to split."""

import hashlib
from typing import Literal

from hypothesis import strategies as st

from clock.domain.split import Split

ZERO = bytes(32)
COUNTING = bytes(range(32))
HASHED = hashlib.sha256(b"clock").digest()

Mode = Literal["random", "equal"]
MODES: list[Mode] = ["random", "equal"]
Round = tuple[bytes, int, int, Split]
"""Seed, pot in fen, number of winners, rules."""


@st.composite
def rounds(draw: st.DrawFn, mode: Mode | None = None, min_winners: int = 0) -> Round:
    """Rounds of every shape; the cap lies near the mean, where it bites."""
    pot = draw(st.one_of(st.integers(0, 60), st.integers(0, 10**6), st.integers(0, 10**15)))
    winners = draw(
        st.one_of(st.integers(min_winners, 6), st.integers(min_winners, 80), st.integers(min_winners, 3_000))
    )
    mean = pot // max(winners, 1)
    rules = Split(
        mode=draw(st.sampled_from(MODES)) if mode is None else mode,
        lucky_count=draw(st.one_of(st.just(0), st.integers(0, 10), st.integers(0, 4_000))),
        lucky_bps=draw(st.one_of(st.just(0), st.just(10_000), st.integers(0, 10_000))),
        packet_cap_fen=draw(st.one_of(st.just(0), st.integers(1, 3 * mean + 3))),
    )
    return draw(st.binary(min_size=32, max_size=32)), pot, winners, rules


def seed_number(i: int) -> bytes:
    return hashlib.sha256(b"fair %d" % i).digest()
