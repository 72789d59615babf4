"""Feed: what a debugger tells, numbered, bounded; each reader is a cursor into it.

Entries are native envelopes, so that every wire can carry them; a reader that falls off the end is
told so in-band (`log.gap`) and goes on. Its readers are what delivery expects of a log's follower.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from millstream.engine.replays import Batch
from millstream.events import LOG_GAP, Event, Position, encode, iso

KEPT, KEPT_BYTES = 4_096, 2 * 2**20
"""Entries, and bytes of them, at most; the newest is always kept."""

LINGER = 60.0
"""Seconds after the last reader has left: so long it may come back and resume."""

AT_ONCE = 256
"""Entries that a reader takes at a time."""


class Entry(NamedTuple):
    """One entry: its envelope, and what it is made of (for readers that choose)."""

    line: bytes
    type: str
    data: Any


Wanted = Callable[[Entry], bool]


class Feed:
    """The entries of one run's debugger. `end` it; its readers then end, too."""

    def __init__(self, run: str, now: Callable[[], float]) -> None:
        self.run, self._now = run, now
        self.last: Position = 0
        self.ended = False
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._readers: set[FeedReader] = set()
        self._left = float("-inf")

    @property
    def first(self) -> Position:
        """The position of the oldest entry that is kept."""
        return self.last - len(self._entries) + 1

    @property
    def readers(self) -> int:
        """How many read it."""
        return len(self._readers)

    @property
    def wanted(self) -> bool:
        """Whether anybody reads it, or has just now."""
        return bool(self._readers) or self._now() - self._left < LINGER

    def tell(self, type: str, data: Any) -> None:
        """Append an entry."""
        self.last += 1
        entry = Entry(encode(self._event(self.last, type, data)), type, data)
        self._entries.append(entry)
        self._bytes += len(entry.line)
        while len(self._entries) > 1 and self._full:
            self._bytes -= len(self._entries.popleft().line)

    @property
    def _full(self) -> bool:
        return len(self._entries) > KEPT or self._bytes > KEPT_BYTES

    def _event(self, seq: Position, type: str, data: Any) -> Event:
        return Event(self.run, seq, type, time=iso(self._now()), data=data)

    def gap(self, after: Position) -> bytes:
        """What is said in the place of entries that are gone."""
        to = self.first - 1
        return encode(self._event(to, LOG_GAP, {"from": after + 1, "to": to}))

    def behind(self, cursor: Position) -> list[Entry]:
        """The next entries behind a cursor, which is not before the first."""
        start = cursor + 1 - self.first
        return [self._entries[i] for i in range(start, min(start + AT_ONCE, len(self._entries)))]

    def publish(self) -> None:
        """Wake the readers: called once for all that was told together."""
        for reader in list(self._readers):
            reader.wake()

    def end(self) -> None:
        """Nothing more will be told."""
        self.ended = True
        self.publish()

    def follow(self, after: Position | None = None, wanted: Wanted | None = None) -> "FeedReader":
        """A reader behind `after`; None: from here on. `wanted` leaves entries out. Close it."""
        reader = FeedReader(self, self.last if after is None else min(after, self.last), wanted)
        self._readers.add(reader)
        return reader

    def leave(self, reader: "FeedReader") -> None:
        """It reads no more."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._left = self._now()


class FeedReader:
    """One reader: a cursor."""

    def __init__(self, feed: Feed, cursor: Position, wanted: Wanted | None) -> None:
        self._feed, self._wanted = feed, wanted
        self.run, self.cursor = feed.run, cursor
        self._parked: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether `next` would not have to wait."""
        return self._feed.last > self.cursor or self._feed.ended

    async def next(self) -> Batch | None:
        """The next entries; None at the end."""
        while True:
            lines = self._lines()
            if lines:
                return Batch(self.cursor, lines=lines)
            if self._feed.ended and self.cursor >= self._feed.last:
                return None
            if not self.ready:
                await self.live()

    def _lines(self) -> tuple[bytes, ...]:
        feed, lines = self._feed, []
        if feed.last > self.cursor and self.cursor + 1 < feed.first:
            lines.append(feed.gap(self.cursor))
            self.cursor = feed.first - 1
        if feed.last > self.cursor:
            entries = feed.behind(self.cursor)
            self.cursor += len(entries)
            lines += [e.line for e in entries if self._wanted is None or self._wanted(e)]
        return tuple(lines)

    async def live(self, write: object = None, form: object = None) -> None:
        """Wait until there is something to do: entries, the end, or a call of `wake`."""
        if self.ready:
            return
        self._parked = asyncio.get_running_loop().create_future()
        try:
            await self._parked
        finally:
            self._parked = None

    def wake(self) -> None:
        """End `live`, if it is under way."""
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(None)

    def close(self) -> None:
        """End. Safe to call twice."""
        self._feed.leave(self)
