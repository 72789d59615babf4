"""Following a log: from a cursor through catch-up and live edge to the end, without a seam (law 4).

A follower is a cursor and a place in the tail's list of waiters. It reads when its client has
taken what it was given, never ahead.
"""

from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from millstream.core import replay
from millstream.core.replay import Edge
from millstream.engine.tail import Shared, Tail, Tails
from millstream.errors import NotFound
from millstream.events import Position, iso
from millstream.store import Store

BATCH_BYTES = 65_536
"""What a reader takes at a time, at most (one event may be larger)."""

LAGGING_EVENTS = 64
"""From a batch of this many on, a reader counts as lagging: superseded progress is merged."""


class Batch(Struct, frozen=True):
    """Events for one write. `last` is the cursor after it. `shared` is set where the batch is one
    whole live segment, whose framing all readers share."""

    events: list[bytes]
    last: Position
    shared: Shared | None = None


class Follower:
    """One reader of one log. Iterate `batches`; `cursor` is what has been handed out so far."""

    def __init__(
        self, store: Store, tails: Tails, run: str, after: Position, *, now: Callable[[], float]
    ) -> None:
        self._store, self._tails, self._now = store, tails, now
        self.run, self.cursor = run, after
        self._tail: Tail | None = None

    async def open(self) -> Edge:
        """Begin. Raises NotFound where there is no such run."""
        tail = self._tail = self._tails.watch(self.run)  # first, so that no publish is missed
        if tail.last == 0 or tail.last < self.cursor:
            try:
                await self._consult(tail)
            except BaseException:
                self.close()
                raise
        self.cursor = min(self.cursor, tail.last)
        return tail.edge()

    async def _consult(self, tail: Tail) -> None:
        """Ask the store how far the log is."""
        page = await self._store.read(self.run, self.cursor, max_bytes=0)
        if page.last == 0:
            raise NotFound(f"there is no run {self.run!r}")
        tail.advance(first=page.first, last=page.last, ended=page.ended)

    @property
    def ready(self) -> bool:
        """Whether `next` would not have to wait for the run."""
        tail = self._tail
        return tail is not None and (tail.last > self.cursor or tail.ended)

    @property
    def at_end(self) -> bool:
        """Whether everything there will ever be has been handed out."""
        return self._tail is not None and self._tail.ended and self.cursor >= self._tail.last

    def close(self) -> None:
        """End. Safe to call twice."""
        if self._tail is not None:
            self._tails.unwatch(self._tail)
            self._tail = None

    async def batches(self) -> AsyncIterator[Batch]:
        """Every event behind the cursor, until the log's last one."""
        while (batch := await self.next()) is not None:
            yield batch

    async def next(self) -> Batch | None:
        """The next batch; waits for one. None after the terminal event."""
        tail = self._tail
        if tail is None:
            raise RuntimeError("the follower is not open")
        while True:
            match replay.decide(self.cursor, tail.edge()):
                case "end":
                    return None
                case "wait":
                    await tail.wait(self.cursor)
                case "tail":
                    return self._from_tail(tail)
                case "gap":
                    return self._gap(tail)
                case "store":
                    batch = await self._from_store(tail)
                    if batch is not None:
                        return batch

    def _from_tail(self, tail: Tail) -> Batch:
        waiting = tail.since(self.cursor)
        first = waiting[0]
        if len(waiting) == 1 and first.segment.first > self.cursor:  # it does not lag
            return self._hand_out(list(first.segment.events), first.segment.last, first)
        taken: list[bytes] = []
        size = 0
        for shared in waiting:
            segment = shared.segment.after(self.cursor + len(taken))
            if taken and size + segment.size > BATCH_BYTES:
                break
            taken += segment.events
            size += segment.size
        return self._merged(taken)

    async def _from_store(self, tail: Tail) -> Batch | None:
        page = await self._store.read(self.run, self.cursor, max_bytes=BATCH_BYTES)
        if page.last == 0:  # pruned while we read: the rest is told as a gap
            tail.forget()
            return None
        tail.first = max(tail.first, page.first)
        if page.first > self.cursor + 1:
            return self._gap(tail)
        events = [line for segment in page.segments for line in segment.events]
        return self._merged(events) if events else None

    def _merged(self, events: list[bytes]) -> Batch:
        last = self.cursor + len(events)
        if len(events) >= LAGGING_EVENTS:
            events = replay.merge(self.run, events, self.cursor + 1, iso(self._now()))
        return self._hand_out(events, last)

    def _gap(self, tail: Tail) -> Batch:
        told = replay.gap(self.run, self.cursor, tail.first, iso(self._now()))
        return self._hand_out([told], tail.first - 1)

    def _hand_out(self, events: list[bytes], last: Position, shared: Shared | None = None) -> Batch:
        self.cursor = last
        return Batch(events, last, shared)
