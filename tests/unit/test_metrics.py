"""Answers are counted many at once, and come out as if each had been observed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest

from clock import metrics
from clock.metrics import BOUNDS_S, Durations, counts_within, take_recent

BUCKETS = (0.001, 0.01, 0.5)
SECONDS = st.lists(st.one_of(st.sampled_from((0.0, *BUCKETS, 0.6)), st.floats(0, 20)))


@given(SECONDS)
def test_many_durations_at_once_are_observed_as_each_would_be(values: list[float]) -> None:
    at_once, each = CollectorRegistry(), CollectorRegistry()
    many = Durations("seconds", "Seconds", buckets=BUCKETS, registry=at_once)
    one = Histogram("seconds", "Seconds", buckets=BUCKETS, registry=each)
    many.observe_sorted(sorted(values))
    for value in sorted(values):
        one.observe(value)
    assert [line for line in _lines(at_once) if "_sum" not in line] == [x for x in _lines(each) if "_sum" not in x]
    assert at_once.get_sample_value("seconds_sum") == pytest.approx(sum(values))


def _lines(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(SECONDS)
def test_every_value_is_within_exactly_one_bound(values: list[float]) -> None:
    counts = counts_within(BUCKETS, sorted(values))
    assert counts == [
        sum(value <= 0.001 for value in values),
        sum(0.001 < value <= 0.01 for value in values),
        sum(0.01 < value <= 0.5 for value in values),
        sum(value > 0.5 for value in values),
    ]


def test_answers_are_counted_by_verb_and_word_and_failures_apart() -> None:
    take_recent()
    before = _value("clock_requests_total", verb="a_verb", code="ok")
    for seconds in (0.004, 0.002, 30.0):
        metrics.answered("a_verb", "ok", seconds)
    metrics.answered("a_verb", "internal", 0.004)
    recent = take_recent().verbs
    assert set(recent) == {"a_verb"}
    answered = recent["a_verb"]
    assert (answered.count, answered.failed, sum(answered.within)) == (4, 1, 4)
    assert answered.within[-1] == 1, "half a minute is above every bound"
    fast = next(i for i, bound in enumerate(BOUNDS_S) if bound >= 0.004)
    assert answered.within[fast] == 2
    assert _value("clock_requests_total", verb="a_verb", code="ok") == before + 3
    assert _value("clock_failures_total", verb="a_verb") == 1
    assert take_recent().verbs == {}, "nothing is counted twice"


def test_a_verb_that_never_failed_says_so() -> None:
    metrics.answered("another_verb", "ok", 0.001)
    metrics.count()
    assert _value("clock_failures_total", verb="another_verb") == 0


def _value(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(name, labels)
    return -1 if value is None and "failures" in name else value or 0.0
