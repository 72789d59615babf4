"""The debugger's report: how a live run is doing, in a few figures. Pure."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from millstream.observe.debugger.alerts import Alert
from millstream.observe.debugger.snapshots import Connection, Snapshot

RECENT, TOP = 20, 10
"""How many alerts, and how many connections, a report names."""


class Overview(Struct, frozen=True, rename="camel"):
    """The run in all, as the newest snapshot has it; counts of alerts are those kept. Latencies in
    milliseconds."""

    total_connections: int = 0
    active_connections: int = 0
    total_messages: int = 0
    messages_per_second: float = 0.0
    dropped_messages: int = 0
    average_latency: float = 0.0
    error_rate: float = 0.0
    open_alerts: int = 0
    critical_alerts: int = 0
    recorded_events: int = 0


class DebugReport(Struct, frozen=True, rename="camel"):
    """`top_connections` are those with the most messages."""

    overview: Overview
    recent_alerts: tuple[Alert, ...] = ()
    top_connections: tuple[Connection, ...] = ()
    message_counts: dict[str, int] = {}


def report(
    newest: Snapshot | None,
    alerts: Sequence[Alert],
    open: Sequence[Alert],
    *,
    events: int,
    counters: Mapping[str, int],
) -> DebugReport:
    """`alerts` oldest first; `counters` the messages of each connection since the history began."""
    if newest is None:
        return DebugReport(Overview(recorded_events=events), tuple(alerts[-RECENT:]))
    system = newest.system_metrics
    overview = Overview(
        total_connections=system.total_connections,
        active_connections=sum(each.is_active for each in newest.connections),
        total_messages=system.total_messages,
        messages_per_second=system.messages_per_second,
        dropped_messages=system.dropped_messages,
        average_latency=system.average_latency,
        error_rate=system.error_rate,
        open_alerts=len(open),
        critical_alerts=sum(each.severity == "critical" for each in open),
        recorded_events=events,
    )
    busiest = sorted(newest.connections, key=lambda each: -each.metrics.total_messages)
    return DebugReport(overview, tuple(alerts[-RECENT:]), tuple(busiest[:TOP]), dict(counters))
