"""Three readings of one instant: which clock stands alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.rounds.clocks import judged, said

SKEW_MS = 5_000
NAMES = ("redis", "postgres", "worker")


@pytest.mark.parametrize(
    "apart, off",
    [
        ((0, 0, 0), []),
        ((5_000, 0, 0), []),
        ((5_001, 0, 0), ["redis"]),
        ((-5_001, 0, 0), ["redis"]),
        ((0, 90_000, 0), ["postgres"]),
        ((1_000, 0, -90_000), ["worker"]),
        ((0, 5_000, 28_800_000), ["worker"]),
        ((0, 10_000, 20_000), ["postgres", "redis", "worker"]),
        ((0, 4_000, 8_000), ["postgres", "redis", "worker"]),  # the middle one agrees with both: nobody stands alone
    ],
)
def test_the_clock_that_stands_alone_is_off(apart: tuple[float, float, float], off: list[str]) -> None:
    assert sorted(judged(dict(zip(NAMES, apart, strict=True)), 1, 0, SKEW_MS).off) == off


def test_what_an_answer_took_counts_as_its_error() -> None:
    apart = {"redis": 4_000.0, "postgres": 0.0, "worker": 0.0}
    assert judged(apart, 1, 1_000, SKEW_MS).off == []
    assert judged(apart, 1, 1_001, SKEW_MS).off == ["redis"]
    assert len(judged(dict.fromkeys(NAMES, 0.0), 1, 5_001, SKEW_MS).off) == 3  # answers so slow say nothing


instants = st.integers(-(10**9), 10**9).map(float)


@given(instants, instants, instants, instants)
def test_it_does_not_matter_which_clock_is_which_nor_when(a: float, b: float, c: float, later: float) -> None:
    off = judged({"redis": a, "postgres": b, "worker": c}, 1, 0, SKEW_MS).off
    turned = judged({"redis": b + later, "postgres": c + later, "worker": a + later}, 1, 0, SKEW_MS).off
    names = {"redis": "worker", "postgres": "redis", "worker": "postgres"}
    assert sorted(names[name] for name in off) == sorted(turned)
    assert bool(off) == (max(a, b, c) - min(a, b, c) > SKEW_MS)
    assert len(off) in (0, 1, 3)


def test_it_is_said_by_how_much() -> None:
    verdict = judged({"redis": 90_000.0, "postgres": 0.0, "worker": -20.0}, 1, 0, SKEW_MS)
    assert said(verdict) == "redis +90.0 s"
