"""Event, the event types, segments of a log; and how they become bytes.

An event is encoded once, when it is appended; from then on the log, the store and every wire
handle those bytes. A segment is stored as NDJSON: one envelope a line.
Imports the standard library and msgspec alone; knows no store, no clock and no transport.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

Position = int
"""The number of an event in its run's log: 1, 2, 3 … without gaps (law 1). 0 is "before all"."""

RUN_QUEUED: Final = "run.queued"
RUN_STARTED: Final = "run.started"
RUN_COMPLETED: Final = "run.completed"
RUN_FAILED: Final = "run.failed"
RUN_CANCELLED: Final = "run.cancelled"
STEP_STARTED: Final = "step.started"
STEP_PROGRESS: Final = "step.progress"
STEP_PARTIAL: Final = "step.partial"
STEP_RESULT: Final = "step.result"
STEP_FAILED: Final = "step.failed"
STEP_DEGRADED: Final = "step.degraded"
STEP_RECOVERED: Final = "step.recovered"
FLOW_DROPPED: Final = "flow.dropped"
LOG_GAP: Final = "log.gap"
LOG_MERGED: Final = "log.merged"

TERMINAL: Final = frozenset({RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED})
"""Exactly one of these ends every log, and nothing follows it (law 1)."""

NOTICES: Final = frozenset({LOG_GAP, LOG_MERGED})
"""Told in-band to one reader; they stand in no log. Their `seq` is the last position they cover."""

RESERVED: Final = ("run.", "step.", "log.", "flow.")
"""Prefixes that an app's own event names (`Context.emit`) may not have."""


class Event(Struct, frozen=True, omit_defaults=True, gc=False):
    """One entry of a run's log; its fields stand on the wire in this order.

    `index` tells which of a yielding step's values a `step.partial` is, where that is not simply
    the next one (a second attempt sends only what differs). `count` stands in the `step.result`
    of a yielding step whose values are too many to repeat there: they are the partials.
    `fallback` says that a result came from the step's fallback, `cached` that it was made earlier,
    for the same arguments, and kept.
    """

    run: str
    seq: Position
    type: str
    step: str | None = None
    item: int | None = None
    index: int | None = None
    attempt: int = 1
    fallback: bool = False
    cached: bool = False
    count: int | None = None
    time: str = ""
    data: Any = UNSET

    @property
    def terminal(self) -> bool:
        """Whether the log ends with this event."""
        return self.type in TERMINAL

    @property
    def timestamp(self) -> float:
        """`time` as seconds since the epoch."""
        return datetime.fromisoformat(self.time).timestamp()

    @property
    def value(self) -> Any:
        """`data`, or None where the event has none."""
        return None if self.data is UNSET else self.data


class Head(Struct, frozen=True, gc=False):
    """An event without its data: what delivery needs to know, cheap to decode."""

    seq: Position
    type: str
    step: str | None = None
    item: int | None = None


class RawEvent(Struct, frozen=True, omit_defaults=True, gc=False):
    """An event whose data stays JSON bytes, for readers that decode it by a type of their own."""

    run: str
    seq: Position
    type: str
    step: str | None = None
    item: int | None = None
    index: int | None = None
    attempt: int = 1
    fallback: bool = False
    cached: bool = False
    count: int | None = None
    time: str = ""
    data: msgspec.Raw | UnsetType = UNSET


def filled(template: bytes, *columns: Sequence[Any]) -> bytes:
    """The template once for each row of the columns, which are of one length."""
    width, height = len(columns), len(columns[0])
    if height < 12:
        return b"".join([template % row for row in zip(*columns, strict=True)])
    rows: list[Any] = [None] * (width * height)
    for at, column in enumerate(columns):
        rows[at::width] = column
    return template * height % tuple(rows)  # one format of many rows: a quarter cheaper


class Pattern(Struct, frozen=True, gc=False):
    """What the events of one step, item and attempt have in common, as a template: `before` up to
    their time, with the hole `%d` (position), `after` behind it, with the hole `%b` (data). `kind`
    is their type, for templates, too."""

    kind: bytes
    before: bytes
    after: bytes
    size: int
    """Bytes of one without position and data, if none of them is `%`."""

    @classmethod
    def of(cls, blank: bytes, type: str) -> "Pattern":
        """From one of them, encoded with position 0, without time and data."""
        before, after = blank[:-1].replace(b"%", b"%%").split(b'"seq":0', 1)
        kind = type.encode().replace(b"%", b"%%")
        before, after = before + b'"seq":%d' + after + b',"time":"', b'","data":%b}'
        size = len(before) + len(after) - len(b"%d%b") + len("2026-11-20T08:00:00.123Z")
        return cls(kind, before, after, size)


class Strip(Struct, gc=False):
    """Consecutive events of one pattern and one time: a stream of partials, of which each costs its
    data. Bytes are made of them once, in the form that is asked for."""

    pattern: Pattern
    time: bytes
    data: list[bytes] | tuple[bytes, ...]

    def lines(self, first: Position) -> list[bytes]:
        """Each event by itself; `first` is the position of the first."""
        line = self.pattern.before + self.time + self.pattern.after
        return [line % numbered for numbered in enumerate(self.data, first)]

    def filled(self, first: Position, opening: bytes, closing: bytes, *, id: bool = False) -> bytes:
        """All events, each between two templates; `id`: closing has a hole for the position."""
        pattern, data = self.pattern, self.data
        if len(data) == 1:
            return Single(pattern, self.time, data[0]).filled(first, opening, closing, id=id)
        template = b"".join((opening, pattern.before, self.time, pattern.after, closing))
        numbers = range(first, first + len(data))
        return filled(template, numbers, data, numbers) if id else filled(template, numbers, data)


Piece = bytes | Strip
"""One encoded event, or many that are alike."""


class Single(Struct, frozen=True, gc=False):
    """One event of a pattern by itself: what a step wrote between two pauses, if it was no more.
    Steady streams are made of these, so nothing in them is for the garbage collector to look at: it
    would stop everything for some milliseconds twice a second."""

    pattern: Pattern
    time: bytes
    data: bytes

    def filled(self, at: Position, opening: bytes, closing: bytes, *, id: bool = False) -> bytes:
        """As a strip's; `at` is its position."""
        pattern, data = self.pattern, self.data
        template = b"".join((opening, pattern.before, self.time, pattern.after, closing))
        return template % ((at, data, at) if id else (at, data))


class Segment(Struct, gc=False, eq=False):
    """Consecutive events of one log, encoded: what one flush gathered, and one stored record.
    To its readers it never changes.

    `size` is the bytes as NDJSON (roughly, while there are strips). `mergeable` says whether there
    may be progress in it that a lagging reader need not be told; `plain`, whether each piece is an
    event. Logs in memory are made of these: the garbage collector need not look at them.
    """

    first: Position
    pieces: Sequence[Piece] | Single
    last: Position = 0
    size: int = 0
    mergeable: bool = True
    plain: bool = True

    def __post_init__(self) -> None:
        if not self.last:
            events = self.pieces = tuple(self.pieces)  # type: ignore[arg-type]
            self.last = self.first + len(events) - 1
            self.size = sum(map(len, events)) + len(events)  # type: ignore[arg-type]

    @property
    def events(self) -> tuple[bytes, ...]:
        """Each event by itself. They then stand in the place of the strips: one copy is enough."""
        if not self.plain:
            self.pieces, self.plain = tuple(self._lines()), True
        return self.pieces  # type: ignore[return-value]

    def _lines(self) -> list[bytes]:
        if isinstance(self.pieces, Single):
            return [self.pieces.filled(self.first, b"", b"")]
        lines: list[bytes] = []
        for piece in self.pieces:
            if isinstance(piece, bytes):
                lines.append(piece)
            else:
                lines += piece.lines(self.first + len(lines))
        return lines

    def __len__(self) -> int:
        return self.last - self.first + 1

    def after(self, cursor: Position) -> "Segment":
        """The part behind `cursor`; itself where all of it is."""
        if cursor < self.first:
            return self
        return Segment(cursor + 1, self.events[cursor + 1 - self.first :])

    def ndjson(self) -> bytes:
        """One envelope a line: the stored form, and the NDJSON wire."""
        if isinstance(self.pieces, Single):
            return self.pieces.filled(self.first, b"", b"\n")
        parts: list[bytes] = []
        number = self.first
        for piece in self.pieces:
            if isinstance(piece, bytes):
                parts += (piece, b"\n")
                number += 1
            else:
                parts.append(piece.filled(number, b"", b"\n"))
                number += len(piece.data)
        return b"".join(parts)

    @classmethod
    def from_ndjson(cls, first: Position, lines: bytes) -> "Segment":
        """The reverse of `ndjson`. (JSON never holds a raw line feed.)"""
        return cls(first, lines.splitlines())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segment):
            return NotImplemented
        return self.first == other.first and self.events == other.events

    def __hash__(self) -> int:
        return hash((self.first, self.last))

    def __repr__(self) -> str:
        return f"Segment({self.first}, {self.events!r})"


def _plain(value: Any) -> Any:
    """What msgspec does not know itself: pydantic models, by duck typing (none is imported)."""
    if hasattr(value, "model_dump_json"):
        return msgspec.Raw(value.model_dump_json(by_alias=True).encode())
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise NotImplementedError(f"a {type(value).__name__} cannot be encoded as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_event = msgspec.json.Decoder(Event)
_raw = msgspec.json.Decoder(RawEvent)
_head = msgspec.json.Decoder(Head)


LINE_FEED: Final = 0x0A
"""As a number: to look for bytes in bytes, Python first raises, and drops, an error."""

encode_fast = _encoder.encode
"""`encode` without its care, for the path of every partial: whoever calls it asks `encode` again
where this raises anything, or where a line feed is in what it gives."""


def encode(value: Any) -> bytes:
    """Any JSON-encodable value (or Event) as JSON bytes.

    Raises TypeError where a value has no JSON form, saying which type.
    """
    try:
        encoded = _encoder.encode(value)
    except (NotImplementedError, ValueError, OverflowError) as error:
        raise TypeError(str(error)) from error
    if LINE_FEED in encoded:  # a Raw value that somebody formatted: a line feed would end our line
        return _encoder.encode(msgspec.json.decode(encoded))
    return encoded


def decode(line: bytes) -> Event:
    """One envelope. Raises msgspec.DecodeError or ValidationError."""
    return _event.decode(line)


def decode_raw(line: bytes) -> RawEvent:
    """One envelope whose data stays bytes."""
    return _raw.decode(line)


def decode_head(line: bytes) -> Head:
    """One envelope without its data."""
    return _head.decode(line)


def decode_all(segments: Iterable[Segment]) -> list[Event]:
    """Every event of some segments, in order."""
    return [_event.decode(line) for segment in segments for line in segment.events]


def flatten(segments: Sequence[Segment]) -> list[bytes]:
    """Every encoded event of some segments, in order."""
    return [line for segment in segments for line in segment.events]


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(timestamp: float) -> str:
    """Seconds since the epoch as `2026-11-20T08:00:00.123Z` (RFC 3339, milliseconds)."""
    seconds, milliseconds = divmod(int(timestamp * 1000), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


def notice(run: str, kind: str, first: Position, last: Position, time: str) -> bytes:
    """An in-band `log.gap` or `log.merged` over the positions first … last, both included."""
    data = {"from": first, "to": last}
    return encode(Event(run=run, seq=last, type=kind, time=time, data=data))
