"""Histograms, results that join, conditions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.load.histogram import LONGEST_US, Histogram
from clock.load.plots import svg
from clock.load.report import plots
from clock.load.result import MOST_CODES, Result, Unfit, joined
from clock.load.thresholds import BadThreshold, parse

LATENCIES = st.lists(st.integers(0, 1 << 33), min_size=1, max_size=200)
ANSWERS = st.lists(st.tuples(st.sampled_from(["200 ok", "503 busy"]), st.integers(0, 10**7), st.integers(0, 20)))


def measured(answers: list[tuple[str, int, int]]) -> Result:
    result = Result(url="http://x", verb="summary", planned_s=1.0, late_bound_us=50)
    for code, us, second in answers:
        result.planned += 1
        result.answered(code, us, code != "200 ok")
        result.operations.add(us)
        result.late.add(us // 1000)
        result.seconds = max(result.seconds, float(second))
        of = result.step(second)
        of.answered += 1
        of.most_us = max(of.most_us, us)
    return result


@given(LATENCIES, st.floats(0.1, 100))
def test_a_percentile_is_off_by_one_bucket_at_most(latencies: list[int], percent: float) -> None:
    histogram = Histogram()
    for us in latencies:
        histogram.add(us)
    ordered = sorted(min(us, LONGEST_US) for us in latencies)
    exact = ordered[max(0, math.ceil(percent * len(ordered) / 100) - 1)]
    assert exact <= histogram.percentile_us(percent) <= exact * (1 + 1 / 512)
    assert histogram.percentile_us(100) == histogram.most_us == ordered[-1]


def test_a_histogram_is_bounded_however_long_the_run() -> None:
    histogram = Histogram()
    for us in range(0, 1 << 22, 7):
        histogram.add(us)
    for power in range(40):
        histogram.add(1 << power)
    assert len(histogram.buckets) < 13_000


@given(ANSWERS, st.integers(1, 4))
def test_results_of_parts_join_into_the_result_of_the_whole(answers: list[tuple[str, int, int]], parts: int) -> None:
    whole = measured(answers)
    found = joined([measured(answers[part::parts]) for part in range(parts)])
    found.processes = whole.processes
    assert found == whole


def test_results_of_different_runs_do_not_join() -> None:
    with pytest.raises(Unfit, match="verb summary and claim"):
        joined([Result(url="http://x", verb="summary"), Result(url="http://x", verb="claim")])


def test_codes_are_bounded() -> None:
    result = Result()
    for number in range(2 * MOST_CODES):
        result.answered(f"418 {number}", 1, True)
    assert (len(result.codes), result.codes["other"]) == (MOST_CODES + 1, MOST_CODES)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("p50>1ms", False),
        ("p50 >= 1000us", True),
        ("p99>1ms", True),
        ("p99.9>2s", False),
        ("max<3s", True),
        ("errors>24.9%", True),
        ("errors>25%", False),
        ("rate<1", False),
        ("rate<=2/s", True),
    ],
)
def test_a_condition(condition: str, holds: bool) -> None:
    result = measured([("200 ok", 1000, 2), ("200 ok", 900, 2), ("200 ok", 1000, 2), ("503 busy", 1_900_000, 2)])
    assert parse(condition).is_broken_by(result) == holds
    assert condition.strip() in parse(condition).told(result)


def test_what_was_never_sent_is_an_error() -> None:
    result = measured([("200 ok", 1, 1)])
    result.unsent = 3
    assert parse("errors>=75%").is_broken_by(result)


@pytest.mark.parametrize(
    "text", ["", "p99", "p99>5", "p99>5%", "errors>5ms", "rate<1s", "p100>1ms", "p99>-1ms", "mean>1s"]
)
def test_a_condition_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadThreshold, match=r"condition|unit"):
        parse(text)


@given(ANSWERS)
def test_whatever_was_measured_can_be_drawn(answers: list[tuple[str, int, int]]) -> None:
    if answers:
        assert all(svg(plot).startswith("<svg ") for plot in plots(measured(answers)))
