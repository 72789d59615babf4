"""What a log says of the work: which steps are done, how far the others came. A fold over events.

Used when a run goes on after a crash or a hand-over. Holds values still encoded, and only those
that somebody will read. Knows no engine and no store.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Raw, Struct

from millstream.core.graph import Graph
from millstream.core.lineage import Key, Lineage
from millstream.events import (
    RUN_STARTED,
    TERMINAL,
    Position,
    RawEvent,
)

INTERRUPTED: Final = "interrupted"
"""The code of a `step.failed` written when a worker hands a run back: not the step's fault."""


INPUT_FAILED: Final = "input_failed"
"""The code of a `step.failed` for an item that is skipped, since an input of it has failed, where
the log already held something of it: that counts no more."""


def digest(encoded: bytes) -> bytes:
    """A short name for an encoded value: equal values of one step have equal ones."""
    return blake2b(encoded, digest_size=16).digest()


class Outcome(Struct):
    """How a step ended for an item: a value (still JSON), a yielding step's values, or failed."""

    attempt: int
    failed: bool = False
    raw: bytes = b"null"
    values: list[bytes] | None = None
    code: str = ""
    message: str = ""
    retryable: bool = False


class Trace(Struct):
    """What an unfinished step left behind for an item. `digests` are of the values it yielded;
    `lost` says how often its worker died since it came to a new one."""

    attempt: int = 0
    open: bool = False
    lost: int = 0
    failures: int = 0
    fallback_due: bool = False
    finished: bool = False
    digests: list[bytes] = []
    values: list[bytes] = []


class Recovered:
    """The fold: `apply` each event in order, then ask."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outcomes: dict[Key, Outcome] = {}
        self.traces: dict[Key, Trace] = {}
        self.lineage = Lineage(graph)
        self.started = False
        self.ended = False
        self.seq: Position = 0

    def apply(self, event: RawEvent) -> None:
        """One event; events of steps that the graph no longer has are passed over."""
        self.seq = event.seq
        self.started = self.started or event.type == RUN_STARTED
        self.ended = self.ended or event.type in TERMINAL
        if event.step is None or event.step not in self.graph.steps:
            return
        match event.type:
            case "step.started":
                self._started(event)
            case "step.partial":
                self._partial(event)
            case "step.result":
                self._result(event)
            case "step.failed":
                self._failed(event)

    def apply_all(self, events: Iterable[RawEvent]) -> None:
        """Several events in order."""
        for event in events:
            self.apply(event)

    def trace(self, step: str, item: int | None) -> Trace:
        """What is known of an unfinished step; an empty trace where nothing is."""
        return self.traces.get((step, item)) or Trace()

    def settle(self) -> None:
        """Call when the log has been read: what is still open was lost with its worker."""
        for trace in self.traces.values():
            if trace.open:
                trace.open = False
                trace.lost += 1

    def _key(self, event: RawEvent) -> Key:
        return (event.step or "", event.item)

    def _trace(self, event: RawEvent) -> Trace:
        return self.traces.setdefault(self._key(event), Trace(digests=[], values=[]))

    def _started(self, event: RawEvent) -> None:
        trace = self._trace(event)
        if trace.open:
            trace.lost += 1
        if self._key(event) in self.outcomes:
            self._supersede(event)
        trace.attempt, trace.open, trace.finished = event.attempt, True, False

    def _partial(self, event: RawEvent) -> None:
        trace, raw, step = self._trace(event), _raw(event), event.step or ""
        index = len(trace.digests) if event.index is None else event.index
        keep = raw if self.graph.readers[step] else b""
        if index < len(trace.digests):
            trace.digests[index], trace.values[index] = digest(raw), keep
            self._void(lambda key: self.lineage.made_of_element(step, event.item, index, key))
        else:
            trace.digests.append(digest(raw))
            trace.values.append(keep)
            trace.lost = 0  # it has come further than ever: it is long, not deadly
        self.lineage.note(step, event.item, index)

    def _result(self, event: RawEvent) -> None:
        trace, key = self._trace(event), self._key(event)
        trace.open = False
        step = self.graph.steps[key[0]]
        trace.finished = True
        if step.internal:
            return  # its value was not kept: it is made again if somebody needs it
        outcome = Outcome(attempt=event.attempt)
        raw = _raw(event)
        if step.yields:
            kept = event.count if event.count is not None else len(elements(raw))
            outcome.values = trace.values[:kept]
        elif self.graph.readers[key[0]]:
            outcome.raw = raw
            if key[0] in self.graph.maps:
                for index in range(len(elements(raw))):
                    self.lineage.note(*key, index)
        self.outcomes[key] = outcome

    def _failed(self, event: RawEvent) -> None:
        trace = self._trace(event)
        trace.open = False
        told = msgspec.json.decode(_raw(event), type=_FailedData)
        if told.code == INTERRUPTED:
            return
        trace.failures += 1
        trace.fallback_due = told.fallback
        if not told.will_retry and not told.fallback:
            self.outcomes[self._key(event)] = Outcome(
                attempt=event.attempt,
                failed=True,
                values=trace.values[: event.count],
                code=told.code,
                message=told.message,
                retryable=told.retryable,
            )

    # --- superseding ------------------------------------------------------------------------

    def _supersede(self, event: RawEvent) -> None:
        """A finished step was begun anew: its outcome and what was made of it no longer count."""
        step, item = self._key(event)
        self.outcomes.pop((step, item), None)
        self._void(lambda key: self.lineage.made_of(step, item, key))

    def _void(self, stale: Callable[[Key], bool]) -> None:
        for key in [key for key in self.outcomes if stale(key)]:
            del self.outcomes[key]
        for key, trace in self.traces.items():
            if trace.finished and stale(key):
                trace.finished = False


class _FailedData(Struct):
    code: str = ""
    message: str = ""
    retryable: bool = False
    will_retry: bool = False
    fallback: bool = False


def _raw(event: RawEvent) -> bytes:
    return bytes(event.data) if isinstance(event.data, Raw) else b"null"


_list = msgspec.json.Decoder(list[Raw])


def elements(raw: bytes) -> list[bytes]:
    """The elements of a JSON array, still encoded; none where it is no array."""
    try:
        return [bytes(each) for each in _list.decode(raw)]
    except msgspec.ValidationError:
        return []
