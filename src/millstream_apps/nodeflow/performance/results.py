"""What a test has come to, and whether that keeps to its limits. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from millstream import EdgeStatistics, Percentiles
from millstream_apps.nodeflow.performance.plans import PerformanceTest
from millstream_apps.nodeflow.performance.usage import MIB, Usage

MS = 1000.0


class Milliseconds(Struct, frozen=True):
    """Percentiles of some durations, in ms; each is at or above the true one by at most 19 %."""

    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0

    @classmethod
    def of(cls, found: Percentiles) -> "Milliseconds":
        """From seconds."""
        return cls(found.mean * MS, found.p50 * MS, found.p95 * MS, found.p99 * MS, found.max * MS)


class ConnectionResult(Struct, frozen=True, rename="camel"):
    """One connection: what its source has sent and its sink received, counted by them, and what the
    engine counts of the arrow between them."""

    id: str
    sent: int
    received: int
    engine_sent: int
    engine_delivered: int
    dropped: int
    waiting: int
    drops: dict[str, dict[str, int]] = {}

    @property
    def conserved(self) -> bool:
        """sent = delivered + dropped (+ what waits, where it was broken off), and both ends have
        counted what the engine has."""
        balanced = self.sent == self.received + self.dropped + self.waiting
        return balanced and self.sent == self.engine_sent and self.received == self.engine_delivered


class PerformanceResult(Struct, frozen=True, rename="camel"):
    """One test's. `duration` seconds from the first message sent to the last received, known before
    any rate is. Rates are messages a second."""

    test: PerformanceTest
    duration: float
    planned: int
    sent: int
    received: int
    dropped_messages: int
    messages_per_second: float
    megabytes_per_second: float
    loss: float
    latency: Milliseconds
    lateness: Milliseconds
    out_of_order: int
    stops: int
    usage: Usage
    connections: tuple[ConnectionResult, ...]
    aborted: bool = False
    error: str | None = None
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it kept to all limits, and was not broken off."""
        return not (self.failures or self.aborted or self.error)


def connection_results(
    sent: Mapping[int, int], received: Mapping[int, int], edges: Mapping[str, EdgeStatistics]
) -> tuple[ConnectionResult, ...]:
    """Each connection; `sent` and `received` by its number, `edges` in the same order."""
    return tuple(
        ConnectionResult(
            id=edge.id,
            sent=sent.get(number, 0),
            received=received.get(number, 0),
            engine_sent=edge.sent,
            engine_delivered=edge.delivered,
            dropped=edge.dropped,
            waiting=edge.waiting,
            drops=edge.drops,
        )
        for number, edge in enumerate(edges.values())
    )


def failures(result: PerformanceResult) -> tuple[str, ...]:
    """What a test did not keep to, each in words. That messages are conserved and in order is asked
    of every test."""
    limits = result.test.limits
    found = [
        f"{each.id}: sent {each.sent} (engine: {each.engine_sent}) is not received {each.received} "
        f"(engine: {each.engine_delivered}) + dropped {each.dropped} + waiting {each.waiting}"
        for each in result.connections
        if not each.conserved
    ]
    if result.out_of_order:
        found.append(f"{result.out_of_order} messages came out of order")
    asked = (
        ("loss", result.loss, limits.loss, "{:.4%} of the messages were dropped, {:.4%} may be"),
        ("p95", result.latency.p95, limits.p95, "p95 latency is {:.2f} ms, {:g} ms may be"),
        ("cpu", result.usage.cpu, limits.cpu, "{:.1f} % of one core was used, {:g} % may be"),
        (
            "memory",
            result.usage.growth / MIB,
            limits.memory,
            "the process grew by {:.1f} MiB, {:g} MiB may be",
        ),
    )
    found += [
        said.format(value, limit)
        for _, value, limit, said in asked
        if limit is not None and value > limit
    ]
    if limits.rate is not None and result.sent < limits.rate * result.planned:
        found.append(f"{result.sent} of {result.planned} planned messages were sent in time")
    return tuple(found)
