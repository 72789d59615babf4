"""Debugger: looks at one live run, each second. Snapshots, alerts, samples of what flows, and what
the run's log tells of failures and drops; recorded on demand, and told to readers.

A run that nobody debugs costs one look a second: samples are drawn, and the log is read, only while
it is recorded or somebody reads the feed.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from msgspec import structs

from millstream.core.latency import Latencies
from millstream.engine.live.statistics import LiveStatistics
from millstream.engine.live.taps import Tap
from millstream.events import FLOW_DROPPED, Event, encode
from millstream.observe.debugger.alerts import Alert, AlertRules, Key, judge
from millstream.observe.debugger.feed import Entry, Feed, FeedReader
from millstream.observe.debugger.recording import EVENTS, DebugEvent, Recording
from millstream.observe.debugger.reports import DebugReport, report
from millstream.observe.debugger.snapshots import MS, NOTHING_YET, Machine, Snapshot, snapshot

SNAPSHOT, ALERT, CLEARED, EVENT = "debug.snapshot", "debug.alert", "debug.cleared", "debug.event"
"""The feed's types."""

SAMPLES = 10.0
"""Messages a second that are drawn of each connection."""

LONGEST = 2_000
"""Bytes of JSON: a longer message is told by its beginning."""

REMEMBERED = 1_000
"""Alerts that are kept whether or not they are recorded."""

Log = Callable[[], Awaitable[Sequence[Event]]]
Predicate = Callable[[Any], object]


class Watched(Protocol):
    """What can be debugged: a LiveRun, or what counts as one does."""

    def statistics(self) -> LiveStatistics:
        """All steps and connections, now. May raise Conflict: it has not begun."""
        ...

    def latencies(self) -> dict[str, Latencies]:
        """Of each connection, all so far."""
        ...

    def tap(self, target: str, per_second: float = ...) -> Tap:
        """Samples of what flows."""
        ...


class Debugger:
    """One live run's. Call `look` each second (`Debuggers` does); `close` it.

    `log` gives the run's events since it was last asked: failures, drops, degradations. `machine`
    says what the process uses. `samples` messages a second are drawn of each connection (0: none).
    """

    def __init__(
        self,
        run: str,
        live: Watched,
        *,
        now: Callable[[], float],
        log: Log | None = None,
        machine: Callable[[], Machine] = Machine,
        rules: AlertRules | None = None,
        events: int = EVENTS,
        samples: float = SAMPLES,
    ) -> None:
        self.run, self.live, self.rules = run, live, rules or AlertRules()
        self.feed = Feed(run, now)
        self.recording = Recording(events)
        self.alerts: deque[Alert] = deque(maxlen=REMEMBERED)
        """As they fired and cleared, oldest first."""
        self.open: dict[Key, Alert] = {}
        self.fired: dict[tuple[str, str], int] = {}
        """How many have fired, by type and severity."""
        self.newest: Snapshot | None = None
        self._now, self._log, self._machine, self._samples = now, log, machine, samples
        self._earlier = NOTHING_YET
        self._latencies: dict[str, Latencies] = {}
        self._counted: dict[str, int] = {}
        self._taps: dict[str, tuple[Tap, list[str]]] = {}
        self._wanted: Predicate | None = None
        self._at_log = False

    # --- looking ----------------------------------------------------------------------------

    async def look(self) -> Snapshot:
        """Take a snapshot; tell what has changed. Raises Conflict before the run has begun."""
        statistics = self.live.statistics()
        await self._listen(statistics)
        latencies = self.live.latencies()
        empty = Latencies()
        since = {
            id: counted.since(self._latencies.get(id, empty)) for id, counted in latencies.items()
        }
        taken = snapshot(statistics, self._earlier, since, self._machine())
        self._earlier, self._latencies, self.newest = statistics, latencies, taken
        self._tell(SNAPSHOT, taken)
        if self.recording.on:
            self.recording.snapshots.append(taken)
        self._judge(taken)
        self.feed.publish()
        return taken

    def _judge(self, taken: Snapshot) -> None:
        judged = judge(self.rules, taken, self.open, taken.timestamp)
        self.open = judged.open
        for alert in judged.fired:
            kind = (alert.type, alert.severity)
            self.fired[kind] = self.fired.get(kind, 0) + 1
            self._note_alert(ALERT, alert)
        for alert in judged.cleared:
            self._note_alert(CLEARED, alert)

    def _note_alert(self, type: str, alert: Alert) -> None:
        self.alerts.append(alert)
        if self.recording.on:
            self.recording.alerts.append(alert)
        self._tell(type, alert)

    def _tell(self, type: str, data: Any) -> None:
        if self.feed.wanted:
            self.feed.tell(type, data)

    @property
    def attentive(self) -> bool:
        """Whether anybody wants more than snapshots and alerts."""
        return self.recording.on or bool(self.feed.readers)

    # --- events -----------------------------------------------------------------------------

    async def _listen(self, statistics: LiveStatistics) -> None:
        """Samples and the log, while somebody is attentive."""
        if not self.attentive:
            self._untap()
            self._at_log = False
            return
        for tap, connections in self._tapped(statistics):
            for sample in tap.take():
                data = {"number": sample.number, "value": sample.value}
                if self._wanted is None or _holds(self._wanted, sample.value):
                    for id in connections:
                        self.note(DebugEvent("message", sample.time * MS, id, data))
        if self._log is not None:
            for event in await self._log():
                if self._at_log:
                    self.note(_event(event))
            self._at_log = True  # what stood in it before is no news

    def _tapped(self, statistics: LiveStatistics) -> list[tuple[Tap, list[str]]]:
        """One tap for each port that arrows leave by."""
        for edge in statistics.edges.values() if self._samples else ():
            name = f"{edge.source}:{edge.port}"
            if name not in self._taps:
                self._taps[name] = self.live.tap(edge.id, self._samples), []
            if edge.id not in self._taps[name][1]:
                self._taps[name][1].append(edge.id)
        return list(self._taps.values())

    def _untap(self) -> None:
        for tap, _ in self._taps.values():
            tap.close()
        self._taps.clear()

    def note(self, event: DebugEvent) -> None:
        """Something has happened: record it, and tell it."""
        if event.type == "message":
            shown = {**event.data, "value": _shown(event.data["value"])}
            event = structs.replace(event, data=shown)
        if self.recording.on:
            self.recording.events.append(event)
        self._tell(EVENT, event)

    # --- recording --------------------------------------------------------------------------

    @property
    def _moment(self) -> float:
        return self._now() * MS

    def start_recording(self) -> None:
        """Keep snapshots, events and alerts from now on, up to their bounds."""
        if not self.recording.on:
            self._counted = self._counts()
        self.recording.start(self._moment)

    def stop_recording(self) -> None:
        """Keep no more; what was kept stays."""
        self.recording.stop(self._moment)

    def filter(self, predicate: Predicate | None) -> None:
        """Of messages, note those alone whose value this holds for; None: all samples."""
        self._wanted = predicate

    def history(self, connection: str | None = None) -> list[DebugEvent]:
        """The recorded events, oldest first; of one connection, or all."""
        events = self.recording.events
        return [each for each in events if connection in (None, each.connection_id)]

    def clear_history(self) -> None:
        """Forget what was recorded; count messages from here on."""
        self.recording.clear(self._moment)
        self._counted = self._counts()

    def counters(self) -> dict[str, int]:
        """Messages of each connection since recording began (or the history was cleared), as far as
        the newest snapshot goes."""
        return {id: sent - self._counted.get(id, 0) for id, sent in self._counts().items()}

    def _counts(self) -> dict[str, int]:
        return {id: edge.sent for id, edge in self._earlier.edges.items()}

    def report(self) -> DebugReport:
        """How the run is doing."""
        return report(
            self.newest,
            list(self.alerts),
            list(self.open.values()),
            events=len(self.recording.events),
            counters=self.counters(),
        )

    def export(self) -> bytes:
        """What was recorded as one JSON file; `read_export` reads it."""
        return self.recording.export(self._moment)

    # --- readers ----------------------------------------------------------------------------

    def follow(self, after: int | None = None, predicate: Predicate | None = None) -> FeedReader:
        """Read snapshots, alerts and events as they come; close the reader. `predicate` is a filter
        of this reader's own, of the values of messages."""
        wanted = None if predicate is None else _Chosen(predicate)
        return self.feed.follow(after, wanted)

    def close(self) -> None:
        """The run has ended, or nobody is to look any more."""
        self._untap()
        self.stop_recording()
        self.feed.end()

    def __repr__(self) -> str:
        recording = "recording" if self.recording.on else "not recording"
        return f"<Debugger of {self.run}: {len(self.open)} alerts open, {recording}>"


class _Chosen:
    """Of messages, those whose value a predicate holds for; of the rest, all."""

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate

    def __call__(self, entry: Entry) -> bool:
        event = entry.data
        if entry.type != EVENT or event.type != "message":
            return True
        return _holds(self._predicate, event.data["value"])


def _holds(predicate: Predicate, value: Any) -> bool:
    try:
        return bool(predicate(value))
    except Exception:  # it says nothing of such a value
        return False


def _shown(value: Any) -> Any:
    """A message as it can be told: itself; its beginning where it is long or has no JSON form."""
    try:
        encoded = encode(value)
    except TypeError:
        return repr(value)[:LONGEST]
    return value if len(encoded) <= LONGEST else encoded[:LONGEST].decode(errors="replace")


def _event(event: Event) -> DebugEvent:
    """What the log says, in the debugger's words."""
    data = {"type": event.type, "step": event.step, "item": event.item, **(event.value or {})}
    moment = event.timestamp * MS
    if event.type == FLOW_DROPPED:
        return DebugEvent("backpressure", moment, data["edge"], data)
    return DebugEvent("error", moment, None, data)
