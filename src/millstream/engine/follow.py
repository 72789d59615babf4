"""Following a log: from a cursor through catch-up and live edge to the end, without a seam (law 4).

A follower is a cursor and a place in the tail's list. It reads when its client has taken what it
was given, never ahead. At the live edge it may take what is published at once (`live`), without a
turn of the loop between.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from millstream.core import replay
from millstream.core.replay import Edge
from millstream.engine.crowd import Form, Shared
from millstream.engine.replays import BATCH_BYTES, merged
from millstream.engine.tail import Batch, Tail
from millstream.engine.tails import Tails
from millstream.errors import NotFound
from millstream.events import Position, iso
from millstream.store import Store

UNFRAMED = Form("", lambda _: b"")
"""Of one who only wants to know that something was published."""


class Follower:
    """One reader of one log. Iterate `batches`; `cursor` is what has been handed out so far."""

    __slots__ = ("_now", "_parked", "_store", "_tail", "_tails", "cursor", "form", "run", "write")

    def __init__(
        self, store: Store, tails: Tails, run: str, after: Position, *, now: Callable[[], float]
    ) -> None:
        self._store, self._tails, self._now = store, tails, now
        self.run, self.cursor = run, after
        self._tail: Tail | None = None
        self.write: Callable[[bytes], bool] | None = None
        self.form = UNFRAMED
        self._parked: asyncio.Future[None] | None = None

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

    # --- at the live edge -------------------------------------------------------------------

    async def live(self, write: Callable[[bytes], bool] | None, form: Form) -> None:
        """Wait at the live edge; `write` is called with what is published, the moment it is, as
        bytes in `form`, and says whether it has taken them. Returns when there is something else to
        do: it has not (or is None), the log has ended, or somebody called `wake`."""
        tail = self._tail
        if tail is None or self.ready:
            return
        self.write, self.form = write, form
        self._parked = asyncio.get_running_loop().create_future()
        tail.listen(self)
        try:
            await self._parked
        finally:
            tail.unlisten(self)
            self.write = self._parked = None

    def wake(self) -> None:
        """End `live`, if it is under way."""
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(None)

    # --- batches ----------------------------------------------------------------------------

    def _from_tail(self, tail: Tail) -> Batch:
        waiting = tail.since(self.cursor)
        whole = waiting[0].segment.first > self.cursor
        if whole and (len(waiting) == 1 or not any(s.segment.mergeable for s in waiting)):
            taken = _fitting(waiting)
            return self._hand_out(Batch(taken[-1].segment.last, shared=taken))
        lines: list[bytes] = []
        size = 0
        for shared in waiting:
            segment = shared.segment.after(self.cursor + len(lines))
            if lines and size + segment.size > BATCH_BYTES:
                break
            lines += segment.events
            size += segment.size
        batch = merged(self.run, lines, self.cursor + 1, self._now())
        return self._hand_out(batch)

    async def _from_store(self, tail: Tail) -> Batch | None:
        found = await self._tails.replays.read(self._store, self.run, self.cursor)
        if found.last == 0:  # pruned while we read: the rest is told as a gap
            tail.forget()
            return None
        tail.first = max(tail.first, found.first)
        if found.first > self.cursor + 1:
            return self._gap(tail)
        return None if found.batch is None else self._hand_out(found.batch)

    def _gap(self, tail: Tail) -> Batch:
        told = replay.gap(self.run, self.cursor, tail.first, iso(self._now()))
        return self._hand_out(Batch(tail.first - 1, (told,)))

    def _hand_out(self, batch: Batch) -> Batch:
        self.cursor = batch.last
        return batch


def _fitting(waiting: Sequence[Shared]) -> tuple[Shared, ...]:
    """As many of them as one batch may hold; at least one."""
    size = 0
    for count, shared in enumerate(waiting):
        size += shared.segment.size
        if count and size > BATCH_BYTES:
            return tuple(waiting[:count])
    return tuple(waiting)
