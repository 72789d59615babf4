"""Place: where a reader stands in one log, and what may come next (laws 1 and 4). Pure.

Imports `events` and the client's errors; knows no connection.
"""

from typing import Any

import msgspec

from millstream.client.errors import LogBroken
from millstream.events import NOTICES, Event, Position, decode


class Place:
    """A cursor that checks: `take` each line, in the order in which they came."""

    def __init__(self, run: str | None = None, after: Position = 0) -> None:
        self.run, self.cursor, self.ended = run, after, False

    def take(self, line: bytes) -> Event:
        """The event of this line; the cursor moves to it.

        Raises LogBroken where it does not continue the log.
        """
        try:
            event = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._broken(f"a line is no event ({error})") from error
        if self.ended:
            raise self._broken(f"{event.type} came behind the end")
        if self.run is not None and event.run != self.run:
            raise self._broken(f"an event of run {event.run} came")
        self._check(event)
        self.run, self.cursor, self.ended = event.run, event.seq, event.terminal
        return event

    def _check(self, event: Event) -> None:
        first = event.seq
        if event.type in NOTICES:
            first = self._covered(event.value, event.seq)
        if event.seq <= self.cursor:
            raise self._broken(f"position {event.seq} came again; the server's log is an older one")
        if first != self.cursor + 1:
            raise self._broken(f"position {first} came, and nothing was said about those between")

    def _covered(self, data: Any, seq: Position) -> Position:
        """The first position that a notice stands for; it must reach to its own."""
        match data:
            case {"from": int(first), "to": int(last)} if first <= last == seq:
                return first
        raise self._broken(f"a notice at position {seq} does not say what it covers")

    def _broken(self, what: str) -> LogBroken:
        return LogBroken(what, run=self.run, cursor=self.cursor)

    def __repr__(self) -> str:
        return f"<Place in run {self.run or '?'} at {self.cursor}{' (end)' if self.ended else ''}>"
