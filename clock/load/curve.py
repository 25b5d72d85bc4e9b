"""When requests are due: a curve of arrivals, as segments in which the rate is constant or changes evenly."""

import itertools
from collections.abc import Iterator
from math import floor, sqrt
from pathlib import Path

import msgspec

MOST_REQUESTS = 1_000_000_000
MOST_SECONDS = 7 * 86_400


class BadCurve(ValueError):
    """The message says what is wrong, for a person."""


class Segment(msgspec.Struct, frozen=True):
    """``count`` requests from ``start_s`` on, within ``seconds``; all at once where that is 0. The rate goes evenly
    from ``first`` to ``last``, in requests a second."""

    start_s: float
    seconds: float
    count: int
    first: float = 0.0
    last: float = 0.0

    def dues(self, numbers: range) -> Iterator[float]:
        """Of requests by their numbers: seconds from the start of the run, in order."""
        if not self.seconds:
            yield from (self.start_s for _ in numbers)
            return
        slope = (self.last - self.first) / self.seconds
        for number in numbers:
            # by the time t, first × t + slope × t² / 2 requests are due; solved for t so that nothing cancels
            root = sqrt(max(0.0, self.first * self.first + 2 * slope * number))
            yield self.start_s + (2 * number / (self.first + root) if number else 0.0)


class Curve(msgspec.Struct, frozen=True):
    segments: list[Segment]

    @property
    def count(self) -> int:
        return sum(one.count for one in self.segments)

    @property
    def seconds(self) -> float:
        """Until the last segment ends."""
        return max((one.start_s + one.seconds for one in self.segments), default=0.0)

    def dues(self, part: int = 0, parts: int = 1) -> Iterator[float]:
        """Of every ``parts``-th request, beginning with the one whose number is ``part``."""
        before = 0
        for one in self.segments:
            yield from one.dues(range((part - before) % parts, one.count, parts))
            before += one.count

    def count_of(self, part: int, parts: int) -> int:
        return len(range(part, self.count, parts))


def instant(count: int) -> Curve:
    return _checked([Segment(0.0, 0.0, count)])


def ramp(first: float, last: float, seconds: float) -> Curve:
    """From one rate to another; the same rate twice is a steady one."""
    if not (first >= 0 and last >= 0 and seconds > 0):
        raise BadCurve("rates must not be negative, and the time must be longer than nothing")
    return _checked([Segment(0.0, seconds, floor((first + last) / 2 * seconds + 1e-9), first, last)])


def recorded(path: Path) -> Curve:
    """Lines ``seconds,requests``: from that second until the next line's, so many requests are due, evenly. The last
    line lasts as long as the one before it, one second if it is alone. Empty lines and those with ``#`` count for
    nothing."""
    points: list[tuple[float, int]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        at, _, requests = line.partition(",")
        try:
            point = float(at), int(requests)
        except ValueError:
            raise BadCurve(f"{path}, line {number}: must be seconds,requests, as 12.5,300") from None
        if not (0 <= point[0] <= MOST_SECONDS and point[1] >= 0):
            raise BadCurve(f"{path}, line {number}: neither may be negative, and the curve lasts a week at most")
        if points and point[0] <= points[-1][0]:
            raise BadCurve(f"{path}, line {number}: seconds must grow from line to line")
        points.append(point)
    if not points:
        raise BadCurve(f"{path} has no line seconds,requests")
    widths = [after[0] - before[0] for before, after in itertools.pairwise(points)]
    widths.append(widths[-1] if widths else 1.0)
    return _checked(
        [Segment(at, width, n, n / width, n / width) for (at, n), width in zip(points, widths, strict=True) if n]
    )


def _checked(segments: list[Segment]) -> Curve:
    curve = Curve(segments)
    if not 0 < curve.count <= MOST_REQUESTS or curve.seconds > MOST_SECONDS:
        raise BadCurve(f"a curve has 1 to {MOST_REQUESTS:,} requests within a week; this one has {curve.count:,}")
    return curve
