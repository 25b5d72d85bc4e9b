"""The fee, and the module itself."""

import ast
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clock.domain.split
from clock.domain.split import Split, fee, split
from tests.unit.split.stage import ZERO


@given(st.integers(0, 10**15), st.integers(0, 10_000))
@settings(deadline=None)
def test_the_fee_is_rounded_down(forfeited: int, bps: int) -> None:
    exact = Fraction(forfeited * bps, 10_000)
    assert 0 <= exact - fee(forfeited, bps) < 1


def test_the_fee_by_example() -> None:
    assert [fee(0, 500), fee(199, 0), fee(199, 100), fee(200, 100), fee(12_345, 10_000)] == [
        0,
        0,
        1,
        2,
        12_345,
    ]


@pytest.mark.parametrize(
    ("seed", "pot", "winners", "rules"),
    [
        (bytes(31), 1, 1, Split()),
        (ZERO, -1, 0, Split()),
        (ZERO, 2**63, 1, Split()),
        (ZERO, 1, -1, Split()),
        (ZERO, 1, 1, Split(mode="even")),  # type: ignore[arg-type]
        (ZERO, 1, 1, Split(lucky_count=-1)),
        (ZERO, 1, 1, Split(lucky_bps=10_001)),
        (ZERO, 1, 0, Split(packet_cap_fen=-1)),
    ],
    ids=["seed", "pot", "large pot", "winners", "mode", "lucky count", "lucky bps", "cap"],
)
def test_arguments_that_make_no_sense_are_refused(seed: bytes, pot: int, winners: int, rules: Split) -> None:
    with pytest.raises(AssertionError):
        split(seed, pot, winners, rules)


def test_no_float_ever_touches_money() -> None:
    source = Path(clock.domain.split.__file__).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, ast.Div)
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.Name) and node.id in ("float", "round"))
