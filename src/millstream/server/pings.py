"""Pings: is whoever is at the other end of a socket still there?

One timer asks all the sockets of a server, a part of them each time, so that many are never asked
in one turn of the loop. Knows nothing of frames.
"""

import asyncio
from typing import Protocol

PARTS = 20
"""In how many parts the sockets are asked, one after another."""


class Asked(Protocol):
    """A socket."""

    def ping(self) -> None:
        """Ask it; or end it, where it has not answered the last time. Must not raise."""


class Pings:
    """Each socket is asked every `interval` seconds, and has as long for its answer."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._parts: tuple[set[Asked], ...] = tuple(set() for _ in range(PARTS))
        self._at = 0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, socket: Asked) -> set[Asked]:
        """A socket opens: it is asked an interval from now. Returns where to leave from:
        `part.discard(socket)`."""
        part = self._parts[self._at]
        part.add(socket)
        if self._timer is None:
            self._wait()
        return part

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._interval / PARTS, self.turn)

    def turn(self) -> None:
        """Ask the next part."""
        self._at = (self._at + 1) % PARTS
        for socket in tuple(self._parts[self._at]):
            socket.ping()
        self._timer = None
        if any(self._parts):
            self._wait()

    def __repr__(self) -> str:
        return f"<Pings of {sum(map(len, self._parts))} sockets every {self._interval:g} s>"
