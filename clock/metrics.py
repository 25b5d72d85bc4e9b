"""Prometheus metrics of a process, counted by hand on the hot lane."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("clock_requests", "Answers by verb and word", ["verb", "code"])
SECONDS = Histogram(
    "clock_request_seconds",
    "Time from arrival to answer",
    ["verb"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

_counters: dict[tuple[str, str], Counter] = {}
_histograms: dict[str, Histogram] = {}


def answered(verb: str, word: str, seconds: float) -> None:
    """One answer went out; label lookups are remembered."""
    counter = _counters.get((verb, word))
    if counter is None:
        counter = _counters[verb, word] = REQUESTS.labels(verb, word)
    counter.inc()
    histogram = _histograms.get(verb)
    if histogram is None:
        histogram = _histograms[verb] = SECONDS.labels(verb)
    histogram.observe(seconds)


def exposition() -> bytes:
    """The text for Prometheus: of all API processes, where they share a directory for it."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
