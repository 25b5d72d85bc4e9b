"""What a process counts by hand on the hot lane: for Prometheus since its start, for operators in the last moment.

An answer leaves its duration in a list and no more; :func:`count` counts the lists from time to time, for each value
would cost two microseconds (docs/decisions/0020).
"""

import os
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from time import monotonic

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from clock import logs
from clock.descriptors import clients
from clock.domain.outcomes import OUTCOMES


class Durations(Histogram):
    """A histogram that takes many values at once, in ascending order."""

    def observe_sorted(self, values: Sequence[float]) -> None:
        self._sum.inc(sum(values))
        for bucket, count in zip(self._buckets, counts_within(self._upper_bounds, values), strict=False):
            bucket.inc(count)


def counts_within(bounds: Sequence[float], values: Sequence[float]) -> list[int]:
    """How many of the ascending ``values`` are above the bound before and at most at each of the ascending
    ``bounds``; the last count is of those above all bounds."""
    upto = [0, *(bisect_right(values, bound) for bound in bounds), len(values)]
    return [after - before for before, after in pairwise(upto)]


REQUESTS = Counter("clock_requests", "Answers by verb and word", ["verb", "code"])
SECONDS = Durations(
    "clock_request_seconds",
    "Time from arrival to answer",
    ["verb"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
FAILURES = Counter("clock_failures", "Answers with a status of 500 or above by verb", ["verb"])
LOST_LINES = Counter("clock_log_lines_lost", "Log lines that could not be written")
BATCH_USERS = Histogram(
    "clock_batch_users", "Users that one script call settled", ["script"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
BATCH_SECONDS = Histogram(
    "clock_batch_seconds",
    "Time of one script call, durability included",
    ["script"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

SIGNATURES_SECONDS = 300.0

BOUNDS_MS = tuple(0.5 * 1.25**step for step in range(46))
"""Upper bounds of what :class:`Recent` counts; the last one is above ten seconds."""
BOUNDS_S = tuple(bound / 1000 for bound in BOUNDS_MS)


class Answered(msgspec.Struct):
    """Answers of one verb: how many, how many of them failed (HTTP 500 and above), and how many within each bound."""

    count: int = 0
    failed: int = 0
    within: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))


class Recent(msgspec.Struct):
    """What a process did since it was last asked, and how full it is."""

    verbs: dict[str, Answered] = {}
    batches: int = 0
    batched_users: int = 0
    largest_batch: int = 0
    connections: int = 0
    connections_most: int = 0
    bad_signatures: int = 0
    """Callbacks that were refused for their signature in the last :data:`SIGNATURES_SECONDS`."""


_pending: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
"""Seconds of the answers that are not counted yet, by verb and word."""
_batches: dict[str, tuple[Histogram, Histogram]] = {}
_recent = Recent()
_bad_signatures: deque[float] = deque(maxlen=10_000)
"""When callbacks were refused for their signature."""


def answered(verb: str, word: str, seconds: float) -> None:
    """One answer went out."""
    _pending[verb, word].append(seconds)


def count() -> None:
    """Count the answers that are pending, and the log lines that were lost."""
    LOST_LINES.inc(logs.take_lost())
    pending = dict(_pending)
    _pending.clear()
    for (verb, word), seconds in pending.items():
        seconds.sort()
        REQUESTS.labels(verb, word).inc(len(seconds))
        SECONDS.labels(verb).observe_sorted(seconds)
        failed = len(seconds) if OUTCOMES[word].http >= 500 else 0
        FAILURES.labels(verb).inc(failed)  # by nothing, too: what starts with its first failure hides it from rate()
        recent = _recent.verbs.setdefault(verb, Answered())
        recent.count += len(seconds)
        recent.failed += failed
        within = counts_within(BOUNDS_S, seconds)
        recent.within = [before + more for before, more in zip(recent.within, within, strict=True)]
        if word == "bad_signature":
            _bad_signatures.extend([monotonic()] * len(seconds))


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
    count()
    taken, _recent = _recent, Recent(verbs={})
    taken.connections, taken.connections_most = clients.open, clients.most
    while _bad_signatures and _bad_signatures[0] < monotonic() - SIGNATURES_SECONDS:
        _bad_signatures.popleft()
    taken.bad_signatures = len(_bad_signatures)
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
    count()
    gauges = CollectorRegistry()
    gauges.register(_Gauges(measured))
    counts = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counts = CollectorRegistry()
        MultiProcessCollector(counts)  # type: ignore[no-untyped-call]
    return generate_latest(counts) + generate_latest(gauges)
