"""Alerts: which fire and which clear, by what a snapshot shows. A pure fold.

An alert fires when its value reaches a threshold, once; it fires again where it grows from warning
to critical or falls back; it clears when the value is well below the warning (`ease` of it), so
that a value at the threshold does not make it flicker.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from millstream.errors import PolicyError
from millstream.observe.debugger.snapshots import Connection, Snapshot

AlertType = Literal["high_latency", "high_error_rate", "backpressure", "memory_usage"]
Severity = Literal["warning", "critical"]
Key = tuple[AlertType, str | None]


class Threshold(Struct, frozen=True):
    """From these values on an alert is a warning, or critical."""

    warning: float
    critical: float

    def __post_init__(self) -> None:
        if not 0 < self.warning <= self.critical:
            raise PolicyError(
                f"thresholds warning={self.warning:g}, critical={self.critical:g}: "
                "0 < warning <= critical"
            )


class AlertRules(Struct, frozen=True, rename="camel"):
    """`latency` in milliseconds (the mean since the last snapshot); `error_rate`, `backpressure`
    (how full a buffer is) and `memory` (the process's part of what it may have) from 0 to 1. An
    alert clears below `ease` times its threshold."""

    latency: Threshold = Threshold(100.0, 500.0)
    error_rate: Threshold = Threshold(0.05, 0.15)
    backpressure: Threshold = Threshold(0.7, 0.9)
    memory: Threshold = Threshold(0.8, 0.95)
    ease: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.ease <= 1:
            raise PolicyError(f"AlertRules(ease={self.ease:g}): more than 0, up to 1")


class Alert(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One alert. `connection_id` None: of the process. `timestamp`, `since` (when it first fired)
    and `cleared` are milliseconds since the epoch."""

    type: AlertType
    severity: Severity
    connection_id: str | None
    message: str
    value: float
    threshold: float
    timestamp: float
    since: float
    cleared: float | UnsetType = UNSET

    @property
    def key(self) -> Key:
        """What there is one open alert of."""
        return self.type, self.connection_id


class Judged(Struct, frozen=True):
    """What one snapshot has changed, and what is open after it."""

    fired: tuple[Alert, ...]
    cleared: tuple[Alert, ...]
    open: dict[Key, Alert]


def judge(rules: AlertRules, snapshot: Snapshot, open: Mapping[Key, Alert], now: float) -> Judged:
    """The alerts after this snapshot. `now` in milliseconds since the epoch.

    What a snapshot says nothing of stays as it is: a connection's latency where none of its
    messages was taken and some wait. A connection that is there no more clears its alerts.
    """
    fired: list[Alert] = []
    cleared: list[Alert] = []
    left = dict(open)
    after: dict[Key, Alert] = {}
    for type, connection, value, threshold in _values(rules, snapshot):
        key = (type, connection)
        before = left.pop(key, None)
        if value is None:
            if before is not None:
                after[key] = before
            continue
        severity = _severity(value, threshold, before, rules.ease)
        if severity is None:
            if before is not None:
                cleared.append(_cleared(before, now))
        elif before is None or before.severity != severity:
            after[key] = _alert(type, severity, connection, value, threshold, before, now)
            fired.append(after[key])
        else:
            after[key] = before
    cleared += [_cleared(gone, now) for gone in left.values()]
    return Judged(tuple(fired), tuple(cleared), after)


def _values(
    rules: AlertRules, snapshot: Snapshot
) -> Iterator[tuple[AlertType, str | None, float | None, Threshold]]:
    """What is compared: (type, connection, value or None for "not known", thresholds)."""
    for each in snapshot.connections:
        metrics = each.metrics
        yield "high_latency", each.id, _latency(each), rules.latency
        yield "high_error_rate", each.id, metrics.error_rate, rules.error_rate
        yield "backpressure", each.id, metrics.buffer_utilization, rules.backpressure
    yield "memory_usage", None, snapshot.system_metrics.memory_usage, rules.memory


def _latency(connection: Connection) -> float | None:
    metrics = connection.metrics
    if not metrics.latency_count and metrics.waiting_messages:
        return None
    return metrics.average_latency


def _severity(
    value: float, threshold: Threshold, before: Alert | None, ease: float
) -> Severity | None:
    """Which it is now: what it was before holds on until the value is well below."""
    critical = threshold.critical
    warning = threshold.warning
    if before is not None:
        warning *= ease
        critical *= ease if before.severity == "critical" else 1.0
    if value >= critical:
        return "critical"
    return "warning" if value >= warning else None


_SAID: Mapping[AlertType, str] = {
    "high_latency": "messages wait for {value:.0f} ms, from {threshold:.0f} ms on {severity}",
    "high_error_rate": "{value:.1%} of the messages fail, from {threshold:.1%} on {severity}",
    "backpressure": "the buffer is {value:.0%} full, from {threshold:.0%} on {severity}",
    "memory_usage": "{value:.0%} of the memory is used, from {threshold:.0%} on {severity}",
}


def _alert(
    type: AlertType,
    severity: Severity,
    connection: str | None,
    value: float,
    threshold: Threshold,
    before: Alert | None,
    now: float,
) -> Alert:
    limit = threshold.critical if severity == "critical" else threshold.warning
    said = _SAID[type].format(value=value, threshold=limit, severity=severity)
    since = now if before is None else before.since
    where = "" if connection is None else f"{connection}: "
    return Alert(type, severity, connection, where + said, value, limit, now, since)


def _cleared(alert: Alert, now: float) -> Alert:
    return Alert(
        alert.type,
        alert.severity,
        alert.connection_id,
        alert.message,
        alert.value,
        alert.threshold,
        alert.timestamp,
        alert.since,
        cleared=now,
    )
