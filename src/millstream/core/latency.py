"""Latencies as counts in buckets that grow by a quarter of an octave: percentiles at fixed cost.

A percentile is exact to a factor of 2 ** 0.25 (19 %). Seconds throughout; no clock.
"""

from math import log2

from msgspec import Struct

_STEPS = 4  # buckets an octave
_FLOOR = 1e-6  # seconds: the first bucket's upper end
_BUCKETS = 4 * 30  # up to about 18 minutes


class Percentiles(Struct, frozen=True):
    """Of some durations, in seconds. All 0 where there were none."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Latencies:
    """Counts durations. `add` costs the same however many there are."""

    __slots__ = ("_counts", "_most", "_sum", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self._total = 0
        self._sum = self._most = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """So many durations of (about) this length."""
        seconds = max(seconds, 0.0)
        self._counts[_bucket(seconds)] += count
        self._total += count
        self._sum += seconds * count
        self._most = max(self._most, seconds)

    def percentiles(self) -> Percentiles:
        """What they come to."""
        if not self._total:
            return Percentiles()
        p50, p95, p99 = (self._percentile(part) for part in (0.5, 0.95, 0.99))
        return Percentiles(self._total, self._sum / self._total, p50, p95, p99, self._most)

    def copy(self) -> "Latencies":
        """As it is now."""
        made = Latencies()
        made._counts, made._total = list(self._counts), self._total
        made._sum, made._most = self._sum, self._most
        return made

    def since(self, earlier: "Latencies") -> Percentiles:
        """Of those that were added since `earlier` was copied off this one. Their longest is known
        to its bucket's upper end."""
        between = Latencies()
        pairs = zip(self._counts, earlier._counts, strict=True)
        between._counts = [now - before for now, before in pairs]
        between._total, between._sum = self._total - earlier._total, self._sum - earlier._sum
        last = max((i for i, count in enumerate(between._counts) if count), default=0)
        between._most = min(self._most, _FLOOR * 2 ** (last / _STEPS))
        return between.percentiles()

    def _percentile(self, part: float) -> float:
        wanted = part * self._total
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and count:
                return min(self._most, _FLOOR * 2 ** (bucket / _STEPS))
        return self._most


def _bucket(seconds: float) -> int:
    """The bucket whose upper end is the first at or above this duration."""
    if seconds <= _FLOOR:
        return 0
    exact = log2(seconds / _FLOOR) * _STEPS
    return min(_BUCKETS, int(exact) + (exact > int(exact)))
