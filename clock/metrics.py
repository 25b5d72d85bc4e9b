"""What a process counts by hand on the hot lane: for Prometheus since its start, for operators in the last moment."""

import os
from bisect import bisect_left
from collections.abc import Iterable

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from clock.outcomes import OUTCOMES

REQUESTS = Counter("clock_requests", "Answers by verb and word", ["verb", "code"])
SECONDS = Histogram(
    "clock_request_seconds",
    "Time from arrival to answer",
    ["verb"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
FAILURES = Counter("clock_failures", "Answers with a status of 500 or above by verb", ["verb"])
BATCH_USERS = Histogram(
    "clock_batch_users", "Users that one script call settled", ["script"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
BATCH_SECONDS = Histogram(
    "clock_batch_seconds",
    "Time of one script call, durability included",
    ["script"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

BOUNDS_MS = tuple(0.5 * 1.25**step for step in range(46))
"""Upper bounds of what :class:`Recent` counts; the last one is above ten seconds."""


class Answered(msgspec.Struct):
    """Answers of one verb: how many, how many of them failed (HTTP 500 and above), and how many within each bound."""

    count: int = 0
    failed: int = 0
    within: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))


class Recent(msgspec.Struct):
    """What a process did since it was last asked."""

    verbs: dict[str, Answered] = {}
    batches: int = 0
    batched_users: int = 0
    largest_batch: int = 0


_counters: dict[tuple[str, str], Counter] = {}
_histograms: dict[str, Histogram] = {}
_batches: dict[str, tuple[Histogram, Histogram]] = {}
_recent = Recent()


def answered(verb: str, word: str, seconds: float) -> None:
    """One answer went out; label lookups are remembered."""
    counter = _counters.get((verb, word))
    if counter is None:
        counter = _counters[verb, word] = REQUESTS.labels(verb, word)
    counter.inc()
    histogram = _histograms.get(verb)
    if histogram is None:
        histogram = _histograms[verb] = SECONDS.labels(verb)
        FAILURES.labels(verb)  # a counter that starts with its first failure hides it from rate()
    histogram.observe(seconds)
    recent = _recent.verbs.get(verb)
    if recent is None:
        recent = _recent.verbs[verb] = Answered()
    recent.count += 1
    recent.within[bisect_left(BOUNDS_MS, seconds * 1000)] += 1
    if OUTCOMES[word].http >= 500:
        recent.failed += 1
        FAILURES.labels(verb).inc()


def batched(script: str, users: int, seconds: float) -> None:
    """One script call came back."""
    histograms = _batches.get(script)
    if histograms is None:
        histograms = _batches[script] = (BATCH_USERS.labels(script), BATCH_SECONDS.labels(script))
    histograms[0].observe(users)
    histograms[1].observe(seconds)
    _recent.batches += 1
    _recent.batched_users += users
    _recent.largest_batch = max(_recent.largest_batch, users)


def take_recent() -> Recent:
    """What happened since this was last called."""
    global _recent
    taken, _recent = _recent, Recent(verbs={})
    return taken


class _Gauges:
    """A collector of what was measured just now."""

    def __init__(self, measured: Iterable[Metric]) -> None:
        self._measured = measured

    def collect(self) -> Iterable[Metric]:
        return self._measured


def exposition(measured: Iterable[Metric]) -> bytes:
    """The text for Prometheus: the counts of all API processes, where they share a directory for it, and what was
    ``measured`` of the whole service."""
    gauges = CollectorRegistry()
    gauges.register(_Gauges(measured))
    counts = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counts = CollectorRegistry()
        MultiProcessCollector(counts)  # type: ignore[no-untyped-call]
    return generate_latest(counts) + generate_latest(gauges)
