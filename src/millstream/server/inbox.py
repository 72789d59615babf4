"""Inbox: what a WebSocket's client has said and nobody has taken yet.

While two messages wait, nothing more is read from the connection: a client that says more than is
listened to is held up (law 9). Knows neither frames nor ASGI.
"""

from typing import Protocol

from millstream.server.reader import Closed

Message = str | bytes | Closed
"""A text, bytes, or the end."""


class Tap(Protocol):
    """The connection, as far as reading it goes."""

    def read_no_further(self) -> None:
        """For now."""

    def read_on(self) -> None:
        """Again."""


class Inbox:
    """Messages in order; what is behind the end does not count."""

    __slots__ = ("_held", "_tap")

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._held: list[Message] | None = None  # most sockets are silent, most of the time

    def put(self, message: Message) -> None:
        """Behind all others."""
        if self._held is None:
            self._held = [message]
            return
        self._held.append(message)
        self._tap.read_no_further()

    def take(self) -> Message | None:
        """The first one; None where there is none."""
        if self._held is None:
            return None
        message = self._held.pop(0)
        if not self._held:
            self._held = None
            self._tap.read_on()
        return message

    def __len__(self) -> int:
        return len(self._held or ())
