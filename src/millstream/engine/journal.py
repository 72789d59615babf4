"""Journal: one run's log, as its writer sees it. Append now, durable soon, visible then.

Group commit (law 2): the first flush begins in this turn of the loop; what gathers while it is
under way is the next one. Never a timer. Nothing is published to readers before the store has
kept it. No task of its own: a flush is a call, and the store's answer another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from msgspec import UNSET

from millstream.core import lifecycle
from millstream.engine.observer import Observer
from millstream.engine.retention import Keeper
from millstream.engine.tail import Tail
from millstream.errors import StaleEpoch, StoreError
from millstream.events import (
    LINE_FEED,
    STEP_PROGRESS,
    Event,
    Piece,
    Position,
    Segment,
    Strip,
    encode,
    encode_fast,
    iso,
)
from millstream.store import KEPT, Lease, Mark, Store

MAX_BYTES = 65_536
"""A writer stops when this much is not yet durable, so that the engine cannot outrun the store."""

FIRST_PAUSE, MAX_PAUSE = 0.05, 5.0
"""Seconds between tries while the store is out of reach: at first, and at most."""


_Teller = tuple[str | None, int | None, int]
"""Step, item and attempt."""


Pen = Callable[[Any], int]
"""Writes one kind of event of one step, item and attempt: appends an event with this data, as
`Journal.append`, and returns its size in bytes (which may be a digit off)."""


def _pen(journal: "Journal", kind: bytes, blank: bytes) -> Pen:
    """What is the same in all of its events is encoded here: a stream of partials costs its data.

    Events of the same millisecond are one `Strip`. This is the path that every partial takes: a
    closure, whose own names Python finds fastest, and which leaves counting to the journal.
    `blank` is the event encoded with position 0, no time and no data.
    """
    head, middle = blank[:-1].replace(b"%", b"%%").split(b'"seq":0', 1)
    strip: Strip | None = None
    values: list[bytes] = []
    now, until = journal.now, 0.0
    weight = left = 0

    def begin() -> None:
        """A new strip: of another millisecond, behind another event, after a flush."""
        nonlocal strip, values, until, weight, left
        if journal.error is not None:
            raise journal.error
        line = b'%b"seq":%%d%b,"time":"%b","data":%%b}' % (head, middle, journal.stamp())
        values = []
        strip = Strip(kind, line, values)
        journal.take(strip)
        until, weight = journal.until, len(line % (journal.seq + 1, b""))
        left = MAX_BYTES - journal.weight

    def write(data: Any) -> int:
        nonlocal left
        try:
            encoded = encode_fast(data)
        except Exception:
            encoded = encode(data)
        if LINE_FEED in encoded:
            encoded = encode(data)
        if strip is None or strip is not journal.strip or now() >= until:
            begin()
        values.append(encoded)
        size = len(encoded) + weight
        left -= size
        if left <= 0:
            journal.crowded = True
        return size

    return write


@lru_cache(maxsize=64)
def _stamp(milliseconds: int) -> bytes:
    """All runs of a process write by the same clock: one of them makes it text."""
    return iso((milliseconds + 0.5) / 1000).encode()  # the half: what is cut off is no rounding


class Journal:
    """The one writer of a run's log, by right of its lease."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        tail: Tail | Keeper,
        *,
        now: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._store, self._tail, self._observer = store, tail, observer
        self.now = now
        self._run, self._epoch = lease.run.id, lease.epoch
        self._state: str | None = lease.run.state
        self._seq: Position = lease.run.seq
        self._durable: Position = lease.run.seq
        self._pending: list[Piece] = []
        self.weight = 0
        """Bytes of what is pending, without those of `strip`."""
        self.strip: Strip | None = None
        """The strip that is the last of what is pending, and grows: it is not counted yet."""
        self._stamp = b""
        self._since = self.until = 0.0
        """The millisecond of the last stamp."""
        self.crowded = False
        """Whether a writer should wait for `room`."""
        self._progress: dict[_Teller, tuple[int, Position]] = {}
        self._mark: Mark | None = None
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._flight: asyncio.Future[None] | None = None
        self._flushed: list[asyncio.Future[None]] = []
        self.error: Exception | None = None

    @property
    def seq(self) -> Position:
        """The position of the last event appended."""
        return self._seq if self.strip is None else self._seq + len(self.strip.data)

    @property
    def state(self) -> str | None:
        """The run's state after the last event appended."""
        return self._state

    @property
    def ended(self) -> bool:
        """Whether a terminal event was appended."""
        return self._state in lifecycle.ENDED

    def append(
        self,
        type: str,
        *,
        step: str | None = None,
        item: int | None = None,
        index: int | None = None,
        attempt: int = 1,
        fallback: bool = False,
        cached: bool = False,
        count: int | None = None,
        data: Any = UNSET,
    ) -> int:
        """Append an event; returns its size in bytes. Durable and visible after the next flush.

        While the store lags, a step's newer progress takes the place of its older one that
        nobody has seen yet, so that progress, which waits for nothing, does not pile up.
        Raises TypeError where `data` has no JSON form (nothing is appended then).
        """
        if self.error is not None:
            raise self.error
        state = lifecycle.after(self._state, type)
        earlier = self._superseded(type, (step, item, attempt))
        line = encode(
            Event(
                run=self._run,
                seq=self.seq + 1 if earlier is None else earlier[1],
                type=type,
                step=step,
                item=item,
                index=index,
                attempt=attempt,
                fallback=fallback,
                cached=cached,
                count=count,
                time=self.stamp().decode(),
                data=data,
            )
        )
        if earlier is not None:
            self._pending[earlier[0]] = line
            return len(line)
        if type == STEP_PROGRESS:
            self._progress[step, item, attempt] = len(self._pending), self.seq + 1
        if state != self._state:
            self._state = state
            self._mark = Mark(state, self.now())  # type: ignore[arg-type]
        self.take(line)
        self._seq += 1
        self.weight += len(line)
        self.crowded = self.crowded or self.weight >= MAX_BYTES
        return len(line)

    def take(self, piece: Piece) -> None:
        """Pend it. (A strip grows while it pends.)"""
        self._count_strip()
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._flush)
        self._pending.append(piece)
        self.strip = None if isinstance(piece, bytes) else piece

    def _count_strip(self) -> None:
        """What the last strip has come to: it grows no more."""
        strip, self.strip = self.strip, None
        if strip is not None:
            strip.close()
            self._seq += len(strip.data)
            self.weight += strip.size(self._seq)

    def pen(
        self,
        type: str,
        *,
        step: str,
        item: int | None,
        attempt: int,
        fallback: bool,
        cached: bool = False,
    ) -> Pen:
        """A pen for many events that differ in nothing but their data."""
        lifecycle.after(self._state, type)
        blank = Event(
            run=self._run,
            seq=0,
            type=type,
            step=step,
            item=item,
            attempt=attempt,
            fallback=fallback,
            cached=cached,
        )
        return _pen(self, type.encode(), encode(blank))

    def stamp(self) -> bytes:
        """This moment, as events tell it."""
        moment = self.now()
        if not self._since <= moment < self.until:
            milliseconds = int(moment * 1000)
            self._since, self.until = milliseconds / 1000, (milliseconds + 1) / 1000
            self._stamp = _stamp(milliseconds)
        return self._stamp

    def _superseded(self, type: str, of: _Teller) -> tuple[int, Position] | None:
        """Where the pending progress stands that this one replaces, if it is to replace one."""
        if type != STEP_PROGRESS or not self.crowded:
            return None
        return self._progress.get(of)

    async def room(self) -> None:
        """Wait until the store has caught up."""
        while self.crowded:
            await self._next_flush()

    async def flush(self) -> None:
        """Wait until everything appended so far is durable."""
        target = self.seq
        while self._durable < target:
            await self._next_flush()

    async def _next_flush(self) -> None:
        if self.error is not None:
            raise self.error
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._flushed.append(waiter)
        await waiter

    def lose(self) -> None:
        """The lease is gone: nothing more may be written."""
        if self.error is None:
            self._fail(StaleEpoch(self._run, self._epoch))
            if self._flight is not None:
                self._flight.cancel()

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._count_strip()  # so that pens hear of it, too
        self._wake(error)

    async def close(self) -> None:
        """Until everything appended is durable, or will never be."""
        with suppress(Exception):
            await self.flush()

    # --- one flush after another --------------------------------------------------------------

    def _flush(self) -> None:
        """Hand what has gathered to the store."""
        if self.error is not None or not self._pending:
            self._busy = False
            return
        segment, mark = self._gather()
        kept = self._store.append(self._run, self._epoch, segment, mark)
        if kept is KEPT:
            self._landed(segment, mark)
        else:
            self._await(kept, segment, mark)

    def _await(self, answer: Awaitable[None], segment: Segment, mark: Mark | None) -> None:
        self._flight = asyncio.ensure_future(answer)
        self._flight.add_done_callback(partial(self._answered, segment, mark))

    def _gather(self) -> tuple[Segment, Mark | None]:
        self._count_strip()
        segment = Segment(
            self._durable + 1,
            tuple(self._pending),
            self._seq,
            self.weight + self._seq - self._durable,
            mergeable=bool(self._progress),
            plain=False,
        )
        mark, self._mark = self._mark, None
        self._pending, self.weight, self._progress = [], 0, {}
        self.crowded = False
        return segment, mark

    def _answered(self, segment: Segment, mark: Mark | None, done: asyncio.Future[None]) -> None:
        """The store has answered."""
        if done.cancelled() or self.error is not None:
            return
        error = done.exception()
        if error is None:
            self._landed(segment, mark)
        else:
            self._refused(segment, mark, error)

    def _refused(self, segment: Segment, mark: Mark | None, error: BaseException) -> None:
        if isinstance(error, StoreError):
            self._await(self._repair(segment, mark), segment, mark)
        else:
            self._fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _landed(self, segment: Segment, mark: Mark | None) -> None:
        """It is durable: now it may be seen."""
        self._flight = None
        self._durable = segment.last
        self._observer.flushed(len(segment), segment.size)
        ended = mark is not None and mark.state in lifecycle.ENDED
        self._tail.publish(segment, ended=ended)
        self._wake(None)
        if self._pending:
            self._loop.call_soon(self._flush)
        else:
            self._busy = False

    def _wake(self, error: Exception | None) -> None:
        waiters, self._flushed = self._flushed, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    async def _repair(self, segment: Segment, mark: Mark | None) -> None:
        """The store is out of reach: try again. An append whose outcome is unknown is looked up
        first, so that it is neither lost nor written twice."""
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(MAX_PAUSE, pause * 2)
            if await self._arrived(segment):
                return
            try:
                await self._store.append(self._run, self._epoch, segment, mark)
                return
            except StoreError:
                continue
            except (StaleEpoch, ValueError):  # perhaps it is an earlier try that got there first
                if not await self._arrived(segment):
                    raise
                return

    async def _arrived(self, segment: Segment) -> bool:
        """Whether the segment was kept. Asks until the store answers: not to know is not a no."""
        pause = FIRST_PAUSE
        while True:
            try:
                run = await self._store.run(self._run)
                break
            except StoreError:
                await asyncio.sleep(pause)
                pause = min(MAX_PAUSE, pause * 2)
        if run is None or run.epoch != self._epoch:
            raise StaleEpoch(self._run, self._epoch)
        return run.seq >= segment.last

    def __repr__(self) -> str:
        waiting = self.seq - self._durable
        return f"<Journal of {self._run} {self._state} at {self.seq}, {waiting} not yet durable>"
