"""What streams by hand are made of: messages, a connection's config, its metrics. Values."""

from typing import Any

from msgspec import Struct, field

from millstream import Buffer, EdgeStatistics, InputError

CLASSES = ("ui-update", "data-flow", "control", "error")
MS = 1000.0


class StreamMessage(Struct, rename="camel", kw_only=True):
    """One message. `timestamp` in ms since the epoch; the engine fills in id, timestamp, nodes and
    port where they are empty. `metadata` may name its `type` (one of the four classes) and its
    `priority` (a weight of its own, 0 to 1)."""

    data: Any = None
    id: str = ""
    timestamp: float = 0.0
    source_node_id: str = ""
    target_node_id: str = ""
    port: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its class; data where it names none."""
        said = self.metadata.get("type", "data-flow")
        return said if said in CLASSES else "data-flow"


class StreamConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A connection's. `batch_timeout` and `retry_delay` in milliseconds."""

    buffer_size: int = 1000
    batch_timeout: float = 16.0
    max_batch_size: int = 50
    backpressure_threshold: float = 0.8
    retry_attempts: int = 3
    retry_delay: float = 100.0

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, right in (
                ("bufferSize", self.buffer_size >= 1),
                ("batchTimeout", self.batch_timeout >= 0),
                ("maxBatchSize", self.max_batch_size >= 1),
                ("backpressureThreshold", 0 < self.backpressure_threshold <= 1),
                ("retryAttempts", self.retry_attempts >= 0),
                ("retryDelay", self.retry_delay >= 0),
            )
            if not right
        ]
        if wrong:
            raise InputError(
                f"StreamConfig: {', '.join(wrong)} out of range",
                errors=[{"field": name, "message": "out of range"} for name in wrong],
            )

    def buffer(self, **more: Any) -> Buffer:
        """The channel's policy: one that loses nothing, unless more is said."""
        return Buffer(
            size=self.buffer_size,
            high=self.backpressure_threshold,
            batch=self.max_batch_size,
            linger=self.batch_timeout / MS,
            **more,
        )


class StreamMetrics(Struct, frozen=True, rename="camel"):
    """Of one connection. `average_latency` in ms from write to read, `last_updated` in ms since the
    epoch; `buffer_utilization` and `error_rate` from 0 to 1."""

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


class Counts(Struct):
    """What a connection counts beside its channel: failures, and pressure that was felt."""

    errors: int = 0
    pressure: int = 0


def metrics(
    now: EdgeStatistics, base: EdgeStatistics, counts: Counts, before: Counts, moment: float
) -> StreamMetrics:
    """The metrics since `base` and `before` (when they were last reset); `moment` in seconds."""
    measured = now.latency.count - base.latency.count
    summed = now.latency.mean * now.latency.count - base.latency.mean * base.latency.count
    delivered = now.delivered - base.delivered
    errors = counts.errors - before.errors
    return StreamMetrics(
        messages_per_second=now.rate,
        average_latency=max(0.0, summed) / measured * MS if measured else 0.0,
        buffer_utilization=now.fill,
        backpressure_events=now.stops - base.stops + counts.pressure - before.pressure,
        error_rate=min(1.0, errors / delivered) if delivered else float(errors > 0),
        last_updated=moment * MS,
        total_messages=now.sent - base.sent,
        delivered_messages=delivered,
        dropped_messages=now.dropped - base.dropped,
        waiting_messages=now.waiting,
    )
