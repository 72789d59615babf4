"""Crowd: those who follow one log at its live edge, and how what is published reaches them all.

In laps: some hundred listeners, then the loop may do other things, then the next. What is published
while a lap is under way goes along with it, and to those who have had their turn in the next one.
So a crowd that takes longer than an event takes several at a time, as a journal does whose store
is slow; and neither the run nor other streams wait for it.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct

from millstream.events import Position, Segment

SLICE = 256
"""Listeners that are served in one turn of the loop."""

AT_ONCE = 65_536
"""Bytes of events that a listener is given in one piece. One that lags further behind reads."""


class Form(NamedTuple):
    """How segments become bytes that are ready to be written. Two segments' bytes, one behind the
    other, are those of both."""

    name: str
    frame: Callable[[Segment], bytes]


class Shared(Struct, gc=False, eq=False):
    """One published segment, and its framings: made once by the first reader that needs one,
    shared by all others."""

    segment: Segment
    frames: dict[str, bytes] | None = None

    def framed(self, name: str, frame: Callable[[Segment], bytes]) -> bytes:
        """The whole segment in a wire's form."""
        frames = self.frames
        if frames is None:  # most are read by one reader alone
            frames = self.frames = {}
        found = frames.get(name)
        if found is None:
            found = frames[name] = frame(self.segment)
        return found


class Listener(Protocol):
    """A reader at the live edge: all up to `cursor` is written. `write` takes bytes in `form`, at
    once, or says False; None: it is only to be woken. Neither must raise."""

    cursor: Position
    form: Form
    write: Callable[[bytes], bool] | None

    def wake(self) -> None:
        """There is something that it has to read itself; or the log has ended."""


class Log(Protocol):
    """What a crowd asks of its log's tail. `last` is the newest position that may be read."""

    last: Position
    ended: bool

    def since(self, cursor: Position) -> list[Shared]:
        """What is at hand behind the cursor, in order."""
        ...


class Crowd:
    """The listeners of one log."""

    __slots__ = ("_at", "_goal", "_joined", "_lap", "_listeners", "_sole", "_tail")

    def __init__(self, tail: Log) -> None:
        self._tail = tail
        self._listeners: set[Listener] = set()
        self._sole: Listener | None = None
        self._lap: list[Listener] | None = None
        self._at = self._goal = 0
        self._joined: dict[tuple[Position, Position, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        """It takes what is published from now on."""
        self._listeners.add(listener)
        self._sole = listener if len(self._listeners) == 1 else None

    def discard(self, listener: Listener) -> None:
        """No more."""
        self._listeners.discard(listener)
        self._sole = next(iter(self._listeners)) if len(self._listeners) == 1 else None

    def wake(self) -> None:
        """Something else is new: all are to look."""
        for listener in self._listeners:
            listener.wake()

    def serve(self, segment: Segment) -> None:
        """It was published. Whoever is alone mostly lacks nothing but this, and has it at once."""
        sole = self._sole
        if (
            sole is not None
            and sole.cursor == segment.first - 1
            and sole.write is not None
            and sole.write(sole.form.frame(segment))
        ):
            sole.cursor = segment.last
            if self._tail.ended:
                sole.wake()
        elif self._lap is None:
            self._begin()

    def _begin(self) -> None:
        self._lap, self._at, self._goal = list(self._listeners), 0, self._tail.last
        self._go_on()

    def _go_on(self) -> None:
        """The next of this lap; then, if there is more, another turn of the loop."""
        lap = self._lap or []
        self._give(lap[self._at : self._at + SLICE] if len(lap) > SLICE else lap)
        self._at += SLICE
        if self._at < len(lap):
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self._goal < self._tail.last:
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._lap = None
            self._joined.clear()

    def _give(self, listeners: list[Listener]) -> None:
        """To each all that it lacks. Mostly all lack the same, in the same form."""
        tail, still = self._tail, self._listeners
        last, ended = tail.last, tail.ended
        known, form, ready = -1, None, None
        for listener in listeners:
            cursor = listener.cursor
            if cursor >= last or listener not in still:
                continue
            if cursor != known or listener.form is not form:
                known, form = cursor, listener.form
                ready = self._ready(cursor, form)
            if ready is not None and listener.write is not None and listener.write(ready):
                listener.cursor = last
                if not ended:
                    continue
            listener.wake()

    def _ready(self, cursor: Position, form: Form) -> bytes | None:
        """All behind the cursor in that form; None where it cannot be given in one piece: it is not
        all at hand, or too much, or holds progress that one who lags need not be told."""
        waiting = self._tail.since(cursor)
        if not waiting or waiting[0].segment.first != cursor + 1:
            return None
        if len(waiting) == 1:
            return waiting[0].framed(*form)
        key = cursor, self._tail.last, form.name
        found = self._joined.get(key)
        if found is None:
            size = sum(shared.segment.size for shared in waiting)
            if size > AT_ONCE or any(shared.segment.mergeable for shared in waiting):
                return None
            found = self._joined[key] = b"".join([shared.framed(*form) for shared in waiting])
        return found

    def __repr__(self) -> str:
        return f"<Crowd of {len(self)}>"
