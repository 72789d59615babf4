"""Dialects: an app's own names for events on the wire.

A dialect is called with each event of a log, in order, from the first, and says what its clients
are to be told. It may keep state, and must make all of it from the events: then a reader that
resumes is told just what it would have been told.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from millstream.events import Event, Position, decode, encode
from millstream.wire import Wire


class Message(Struct, frozen=True):
    """One message to the client: an SSE event's name (None: unnamed), and data to be JSON.

    `id` is an SSE id of the dialect's own, for clients that know such; None: the position of the
    event, on its last message. Whoever resumes by ids of a dialect's own is told from behind the
    position that the system finds for it.
    """

    event: str | None
    data: Any
    id: int | None = None


Dialect = Callable[[Event], Iterable[Message]]


class Framer:
    """Frames a log in a dialect, on one wire, for one reader that has seen `after` already."""

    def __init__(self, wire: Wire, dialect: Dialect, after: Position, *, ids: bool = True) -> None:
        self._wire, self._dialect, self._after, self._ids = wire, dialect, after, ids

    def __call__(self, lines: Sequence[bytes]) -> bytes:
        """The bytes for these events; empty where the dialect has nothing to say."""
        return b"".join(self._frame(decode(line)) for line in lines)

    def _frame(self, event: Event) -> bytes:
        messages = list(self._dialect(event))
        if event.seq <= self._after:
            return b""
        # Only the last message of an event carries its position: a reader that saw half of them
        # gets all of them again.
        marks: list[int | None] = [message.id for message in messages]
        if self._ids and marks and marks[-1] is None:
            marks[-1] = event.seq
        return b"".join(
            self._wire.message(message.event, encode(message.data), mark)
            for message, mark in zip(messages, marks, strict=True)
        )
