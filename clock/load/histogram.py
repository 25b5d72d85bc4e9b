"""Latencies in a bounded number of buckets, so that a long run needs no more memory than a short one."""

import msgspec

EXACT_BITS = 10
"""Below 2¹⁰ µs every microsecond has a bucket; above, each power of two has 512: a value is off by 0.2 % at most."""

LONGEST_US = 1 << 32
"""Over an hour; longer ones count as this."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
CURVE = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)


class Histogram(msgspec.Struct):
    """``buckets``: how many values each has, by its number."""

    buckets: dict[int, int] = {}
    count: int = 0
    most_us: int = 0

    def add(self, us: int) -> None:
        us = min(max(us, 0), LONGEST_US)
        extra = us.bit_length() - EXACT_BITS
        bucket = us if extra <= 0 else (extra << (EXACT_BITS - 1)) + (us >> extra)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        if us > self.most_us:
            self.most_us = us

    def join(self, other: "Histogram") -> None:
        """Add all values of another one."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.most_us = max(self.most_us, other.most_us)

    def percentile_us(self, percent: float) -> int:
        """Nearest rank, the upper edge of its bucket; 0 for nothing."""
        rank = max(1, -int(-percent * self.count // 100))
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                return min(_upper_us(bucket), self.most_us)
        return self.most_us

    def figures_ms(self) -> dict[str, float]:
        found = {name: self.percentile_us(percent) / 1000 for name, percent in PERCENTILES.items()}
        return {**found, "max": self.most_us / 1000}

    def curve_ms(self) -> list[tuple[float, float]]:
        """Percentile, ms: for a plot."""
        return [(percent, self.percentile_us(percent) / 1000) for percent in CURVE]


def _upper_us(bucket: int) -> int:
    """The largest value in a bucket."""
    extra = (bucket >> (EXACT_BITS - 1)) - 1
    if extra <= 0:
        return bucket
    return ((bucket - (extra << (EXACT_BITS - 1)) + 1) << extra) - 1
