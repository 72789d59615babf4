"""Replays: what readers get of a log that is not at hand in its tail, read and framed once for all
that ask at about the same time.

A thousand readers of one finished log cost its length, not a thousand times that. What stands in a
log does not change, so a batch may be handed out again: at most what retention took meanwhile.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from millstream.core import replay
from millstream.engine.tail import Batch
from millstream.events import Position, iso
from millstream.store import Store

BATCH_BYTES = 65_536
"""What a reader takes at a time, at most (one event may be larger)."""

KEPT_BYTES = 8 * 2**20
"""How much is kept for the next who asks: as events; framed, it is twice that."""

LAGGING_EVENTS = 64
"""From a batch of this many on, a reader counts as lagging: superseded progress is merged."""


class Replay(Struct, frozen=True):
    """A read of a log behind a cursor: its first and last position then, and the events if any."""

    first: Position
    last: Position
    batch: Batch | None
    size: int = 0


def merged(run: str, events: list[bytes], first: Position, moment: float) -> Batch:
    """A batch of these events, `first` the position of the first one."""
    last = first + len(events) - 1
    if len(events) >= LAGGING_EVENTS:
        events = replay.merge(run, events, first, iso(moment))
    return Batch(last, tuple(events))


class Replays:
    """Reads, and keeps the newest used of them. One that is under way serves all who ask for it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: OrderedDict[tuple[str, Position], Replay] = OrderedDict()
        self._reading: dict[tuple[str, Position], asyncio.Task[Replay]] = {}
        self._bytes = 0

    async def read(self, store: Store, run: str, after: Position) -> Replay:
        """The log behind `after`. Raises StoreError."""
        key = run, after
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(self._read(store, run, after))
            reading.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(reading)  # whoever leaves does not take it from the others

    async def _read(self, store: Store, run: str, after: Position) -> Replay:
        page = await store.read(run, after, max_bytes=BATCH_BYTES)
        events = [line for segment in page.segments for line in segment.events]
        if page.first > after + 1 or not events:
            return Replay(page.first, page.last, None)
        size = sum(map(len, events))
        batch = merged(run, events, after + 1, self._now())
        return Replay(page.first, page.last, batch, size)

    def _done(self, key: tuple[str, Position], done: "asyncio.Task[Replay]") -> None:
        del self._reading[key]
        if done.cancelled() or done.exception() is not None:
            return
        found = done.result()
        if found.size < BATCH_BYTES // 2:  # the end of a log, which may grow; or all of a short one
            return
        self._kept[key] = found
        self._bytes += found.size
        while self._bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    def __repr__(self) -> str:
        return f"<Replays: {len(self._kept)} kept, {self._bytes} bytes, {len(self._reading)} read>"
