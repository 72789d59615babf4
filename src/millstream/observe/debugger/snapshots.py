"""Snapshots: a live run at one moment, as debuggers show it. Pure folds over its statistics.

On the wire names are in camel case, times in milliseconds: the shape that clients of streams know
(`{timestamp, connections[{id, metrics, isActive}], systemMetrics}`), with more fields in it.
"""

from collections.abc import Mapping

from msgspec import Struct

from millstream.core.latency import Percentiles
from millstream.engine.live.statistics import EdgeStatistics, LiveStatistics, StepStatistics

MS = 1000.0


class Machine(Struct, frozen=True):
    """What this process uses. `load` in cores; `memory` is its part (0 to 1) of what it may have,
    `memory_bytes` what it holds. None: not known here."""

    load: float | None = None
    memory: float | None = None
    memory_bytes: int | None = None


class Metrics(Struct, frozen=True, rename="camel"):
    """One connection. Rates and latencies are those since the last snapshot, counts all since the
    run began.

    Latencies are milliseconds from put to take; `latency_count` says of how many messages. `buffer_
    utilization` and `error_rate` go from 0 to 1; the latter is the part of the messages taken that
    the reading step failed at. `last_updated` in ms since the epoch.
    """

    messages_per_second: float = 0.0
    average_latency: float = 0.0
    buffer_utilization: float = 0.0
    backpressure_events: int = 0
    error_rate: float = 0.0
    last_updated: float = 0.0
    total_messages: int = 0
    delivered_messages: int = 0
    dropped_messages: int = 0
    waiting_messages: int = 0
    buffer_size: int = 0
    p50_latency: float = 0.0
    p95_latency: float = 0.0
    p99_latency: float = 0.0
    latency_count: int = 0
    dropped_per_second: float = 0.0


class Connection(Struct, frozen=True, rename="camel"):
    """`is_active`: messages have come by it since the last snapshot, or wait on it."""

    id: str
    metrics: Metrics
    is_active: bool = False


class SystemMetrics(Struct, frozen=True, rename="camel"):
    """The run in all. `system_load`: cores that the process keeps busy; `memory_usage` its part of
    the memory that it may have."""

    total_connections: int = 0
    total_messages: int = 0
    average_latency: float = 0.0
    system_load: float | None = None
    messages_per_second: float = 0.0
    dropped_messages: int = 0
    errors: int = 0
    error_rate: float = 0.0
    memory_usage: float | None = None
    memory_bytes: int | None = None


class Snapshot(Struct, frozen=True, rename="camel"):
    """A live run at one moment. `timestamp` in ms since the epoch."""

    timestamp: float
    connections: tuple[Connection, ...] = ()
    system_metrics: SystemMetrics = SystemMetrics()


NOTHING_YET = LiveStatistics(time=0.0, steps={}, edges={})


def snapshot(
    now: LiveStatistics,
    earlier: LiveStatistics,
    latencies: Mapping[str, Percentiles],
    machine: Machine,
) -> Snapshot:
    """The run between two looks at it. `latencies` of each connection are those between the two, in
    seconds. With `NOTHING_YET` as the earlier look, rates are what the connections say."""
    seconds = now.time - earlier.time if earlier.time else 0.0
    connections = tuple(
        _connection(edge, now, earlier, latencies.get(id, Percentiles()), seconds)
        for id, edge in now.edges.items()
    )
    return Snapshot(now.time * MS, connections, _system(connections, now, earlier, machine))


def _connection(
    edge: EdgeStatistics,
    now: LiveStatistics,
    earlier: LiveStatistics,
    latency: Percentiles,
    seconds: float,
) -> Connection:
    before = earlier.edges.get(edge.id) or EdgeStatistics("", "", "", "", "")
    sent, lost = edge.sent - before.sent, edge.dropped - before.dropped
    taken = edge.delivered - before.delivered
    failed = _failed(now.steps.get(edge.target)) - _failed(earlier.steps.get(edge.target))
    metrics = Metrics(
        messages_per_second=sent / seconds if seconds > 0 else edge.rate,
        average_latency=latency.mean * MS,
        buffer_utilization=edge.fill,
        backpressure_events=edge.stops,
        error_rate=_part(failed, taken),
        last_updated=now.time * MS,
        total_messages=edge.sent,
        delivered_messages=edge.delivered,
        dropped_messages=edge.dropped,
        waiting_messages=edge.waiting,
        buffer_size=edge.size,
        p50_latency=latency.p50 * MS,
        p95_latency=latency.p95 * MS,
        p99_latency=latency.p99 * MS,
        latency_count=latency.count,
        dropped_per_second=lost / seconds if seconds > 0 else 0.0,
    )
    return Connection(edge.id, metrics, is_active=bool(sent or edge.waiting))


def _system(
    connections: tuple[Connection, ...],
    now: LiveStatistics,
    earlier: LiveStatistics,
    machine: Machine,
) -> SystemMetrics:
    metrics = [each.metrics for each in connections]
    measured = sum(each.latency_count for each in metrics)
    weighed = sum(each.average_latency * each.latency_count for each in metrics)
    errors = sum(map(_failed, now.steps.values()))
    failed = errors - sum(map(_failed, earlier.steps.values()))
    made = sum(map(_handled, now.steps.values())) - sum(map(_handled, earlier.steps.values()))
    return SystemMetrics(
        total_connections=len(connections),
        total_messages=sum(each.total_messages for each in metrics),
        average_latency=weighed / measured if measured else 0.0,
        system_load=machine.load,
        messages_per_second=sum(each.messages_per_second for each in metrics),
        dropped_messages=sum(each.dropped_messages for each in metrics),
        errors=errors,
        error_rate=_part(failed, made),
        memory_usage=machine.memory,
        memory_bytes=machine.memory_bytes,
    )


def _failed(step: StepStatistics | None) -> int:
    return 0 if step is None else step.failed


def _handled(step: StepStatistics) -> int:
    return step.made + step.filtered + step.failed


def _part(failed: int, of: int) -> float:
    """0 to 1; what failed may have been taken before."""
    return min(1.0, failed / of) if of > 0 else float(failed > 0)
