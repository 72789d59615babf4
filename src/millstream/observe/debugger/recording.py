"""Recording: what a debugger has seen, bounded; written to one JSON file and read from it again.

Pure: time comes in. The file is `{snapshots, events, alerts, metadata{exportTimestamp,
recordingDuration, eventCount}}`, times in milliseconds.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from millstream.errors import InputError
from millstream.observe.debugger.alerts import Alert, AlertRules, Judged, Key, judge
from millstream.observe.debugger.snapshots import Snapshot

EVENTS, SNAPSHOTS, ALERTS = 10_000, 3_600, 1_000
"""How many of each are kept; the oldest go first."""

EventType = Literal["message", "backpressure", "error", "batch", "metrics"]


class DebugEvent(Struct, frozen=True, rename="camel"):
    """Something that happened. `timestamp` in ms since the epoch; `connection_id` None: to the run
    or a step as a whole. A message's data is `{number, value}`: samples, not every message."""

    type: EventType
    timestamp: float
    connection_id: str | None = None
    data: Any = None


class Metadata(Struct, frozen=True, rename="camel"):
    """`recording_duration` in milliseconds."""

    export_timestamp: float
    recording_duration: float
    event_count: int


class DebugExport(Struct, frozen=True):
    """A recording as one document. `alerts` has each alert as it fired and as it cleared."""

    snapshots: tuple[Snapshot, ...]
    events: tuple[DebugEvent, ...]
    alerts: tuple[Alert, ...]
    metadata: Metadata

    def replay(self) -> Iterator[Snapshot | Alert | DebugEvent]:
        """All of it, in the order in which it happened; where times are equal, what happened, then
        the snapshot that shows it, then its alerts."""
        moments: list[tuple[float, int, Snapshot | Alert | DebugEvent]] = [
            *((each.timestamp, 0, each) for each in self.events),
            *((each.timestamp, 1, each) for each in self.snapshots),
            *((_moment(each), 2, each) for each in self.alerts),
        ]
        moments.sort(key=lambda each: each[:2])
        return (each for _, _, each in moments)

    def judged(self, rules: AlertRules) -> Iterator[Judged]:
        """What these rules say of each snapshot: the same alerts as then, or those that other
        thresholds would have given."""
        open: dict[Key, Alert] = {}
        for each in self.snapshots:
            judged = judge(rules, each, open, each.timestamp)
            open = judged.open
            yield judged


def _moment(alert: Alert) -> float:
    return alert.timestamp if alert.cleared is UNSET else float(alert.cleared)


def read_export(data: bytes | str) -> DebugExport:
    """An exported file. Raises InputError."""
    try:
        return msgspec.json.decode(data, type=DebugExport)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InputError(f"this is no file that a debugger has exported: {error}") from error


class Recording:
    """What has been recorded so far. `on` says whether it goes on."""

    def __init__(self, events: int = EVENTS) -> None:
        self.on = False
        self.events: deque[DebugEvent] = deque(maxlen=events)
        self.snapshots: deque[Snapshot] = deque(maxlen=SNAPSHOTS)
        self.alerts: deque[Alert] = deque(maxlen=ALERTS)
        self._began: float | None = None
        self._recorded = 0.0

    def start(self, now: float) -> None:
        """Record from now on (ms); what was recorded before is kept."""
        if not self.on:
            self.on, self._began = True, now

    def stop(self, now: float) -> None:
        """Record no more."""
        self._recorded, self.on, self._began = self.duration(now), False, None

    def clear(self, now: float) -> None:
        """Forget all; a recording that is on goes on."""
        for kept in (self.events, self.snapshots, self.alerts):
            kept.clear()
        self._recorded, self._began = 0.0, now if self.on else None

    def duration(self, now: float) -> float:
        """Milliseconds recorded, pauses left out."""
        return self._recorded + (now - self._began if self._began is not None else 0.0)

    def export(self, now: float) -> bytes:
        """The file."""
        metadata = Metadata(now, self.duration(now), len(self.events))
        whole = DebugExport(tuple(self.snapshots), tuple(self.events), tuple(self.alerts), metadata)
        return msgspec.json.encode(whole)
