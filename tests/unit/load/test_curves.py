"""When requests are due."""

from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.load.curve import BadCurve, Curve, Segment, instant, ramp, recorded

RATES = st.floats(0, 500, allow_nan=False)


@given(RATES, RATES, st.floats(0.5, 60))
def test_a_ramp_has_as_many_requests_as_its_area_in_order(first: float, last: float, seconds: float) -> None:
    area = (first + last) / 2 * seconds
    if area < 1.001:
        return
    curve = ramp(first, last, seconds)
    dues = list(curve.dues())
    assert len(dues) == curve.count == pytest.approx(area, abs=1)
    assert dues[0] == 0
    assert all(before <= after for before, after in pairwise(dues))
    assert dues[-1] <= seconds + 1e-6
    for number, due in enumerate(dues):  # by its instant, as many are due as the rate's area up to it
        assert first * due + (last - first) / seconds * due**2 / 2 == pytest.approx(number, rel=1e-6, abs=1e-3)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=1), st.integers(1, 5))
def test_parts_have_every_request_once(lines: list[tuple[int, int]], parts: int) -> None:
    starts = accumulate(seconds for seconds, _ in lines)
    curve = Curve([Segment(at, 1.0, n, n, n) for at, (_, n) in zip(starts, lines, strict=True)])
    dealt = [list(curve.dues(part, parts)) for part in range(parts)]
    assert [len(dues) for dues in dealt] == [curve.count_of(part, parts) for part in range(parts)]
    whole = list(curve.dues())
    assert [whole[part::parts] for part in range(parts)] == dealt


def test_a_steady_rate_and_an_instant() -> None:
    assert list(ramp(4, 4, 1).dues()) == [0, 0.25, 0.5, 0.75]
    assert list(instant(3).dues()) == [0, 0, 0]
    assert instant(3).seconds == 0


def test_a_recorded_curve(tmp_path: Path) -> None:
    file = tmp_path / "curve"
    file.write_text("# of last Monday\n0,2\n1,0\n\n2,4\n")
    curve = recorded(file)
    assert list(curve.dues()) == [0, 0.5, 2, 2.25, 2.5, 2.75]
    assert (curve.count, curve.seconds) == (6, 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line"),
        ("1;2\n", "line 1"),
        ("0,1\n0,2\n", "must grow"),
        ("0,-1\n", "negative"),
        ("nan,1\n", "negative"),
        ("0,0\n", "has 0"),
        ("0,2000000000\n", "2,000,000,000"),
    ],
)
def test_a_file_that_is_no_curve_is_refused_with_a_reason(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "curve"
    file.write_text(text)
    with pytest.raises(BadCurve, match=why):
        recorded(file)
