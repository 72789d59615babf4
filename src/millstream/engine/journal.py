"""Journal: one run's log, as its writer sees it. Append now, durable soon, visible then.

Group commit (law 2): the first flush begins in this turn of the loop; what gathers while it is
under way is the next one. Never a timer. Nothing is published to readers before the store has
kept it. No task of its own: a flush is a call, and the store's answer another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
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
    Pattern,
    Piece,
    Position,
    Segment,
    Single,
    Strip,
    encode,
    encode_fast,
    iso,
)
from millstream.store import KEPT, Lease, Mark, Promise, Store

MAX_BYTES = 65_536
"""A writer stops when this much is not yet durable, so that the engine cannot outrun the store."""

BEHIND_OTHERS = 3
"""Turns of the loop: in the first a task begins that was just created, in the second goes on who
waits for it."""

FIRST_PAUSE, MAX_PAUSE = 0.05, 5.0
"""Seconds between tries while the store is out of reach: at first, and at most."""


_Teller = tuple[str | None, int | None, int]
"""Step, item and attempt."""


Pen = Callable[[Any], int]
"""Writes one kind of event of one step, item and attempt: appends an event with this data, as
`Journal.append`, and returns its size in bytes (which may be a digit off)."""


class _Pen:
    """What is the same in all of its events is encoded already: a stream of partials costs its
    data.

    Events of the same millisecond are one `Strip`. This is the path that every partial takes: all
    it needs stands in one place, and counting is left to the journal.
    """

    __slots__ = ("_journal", "_left", "_now", "_pattern", "_strip", "_until", "_weight")

    def __init__(self, journal: "Journal", pattern: Pattern) -> None:
        self._journal, self._pattern, self._now = journal, pattern, journal.clock.now
        self._strip: Strip | None = None
        self._until = 0.0
        self._left = self._weight = 0

    def write(self, data: Any) -> int:
        """See `Pen`."""
        try:
            encoded = encode_fast(data)
        except Exception:
            encoded = encode(data)
        if LINE_FEED in encoded:
            encoded = encode(data)
        strip, journal = self._strip, self._journal
        if journal.lone and journal.held and not (journal.ahead or journal.pending):
            return journal.send_ahead(self._pattern, encoded)
        if strip is None or strip is not journal.strip or self._now() >= self._until:
            strip = self._begin()
        strip.data.append(encoded)  # type: ignore[union-attr]
        size = len(encoded) + self._weight
        left = self._left = self._left - size
        if left <= 0:
            journal.crowded = True
        return size

    def _begin(self) -> Strip:
        """A new strip: of another millisecond, behind another event, after a flush."""
        journal, clock = self._journal, self._journal.clock
        if journal.error is not None:
            raise journal.error
        strip = self._strip = Strip(self._pattern, clock.stamp(), [])
        self._until = clock.until
        first = journal.take(strip)
        journal.lone = False
        self._left, self._weight = MAX_BYTES - journal.weight, self._pattern.size + len(str(first))
        return strip


class Clock:
    """This moment as events tell it. One for all journals of a process: a millisecond that many
    write in is made text once."""

    __slots__ = ("_text", "now", "since", "until")

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.since = self.until = 0.0
        """The millisecond of the last stamp."""
        self._text = b""

    def stamp(self) -> bytes:
        """RFC 3339, in milliseconds."""
        moment = self.now()
        if not self.since <= moment < self.until:
            milliseconds = int(moment * 1000)
            self.since, self.until = milliseconds / 1000, (milliseconds + 1) / 1000
            # the half: what is cut off is no rounding
            self._text = iso((milliseconds + 0.5) / 1000).encode()
        return self._text


class Journal:
    """The one writer of a run's log, by right of its lease."""

    __slots__ = (
        *("_busy", "_due", "_durable", "_epoch", "_flight", "_flushed", "_loop", "_mark"),
        *("_observer", "_progress", "_run", "_seq", "_state", "_store", "_tail"),
        *("ahead", "clock", "crowded", "error", "held", "lingers", "lone", "pending", "strip"),
        "weight",
    )

    def __init__(
        self,
        store: Store,
        lease: Lease,
        tail: Tail | Keeper,
        *,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._store, self._tail, self._observer = store, tail, observer
        self.clock = clock
        self._run, self._epoch = lease.run.id, lease.epoch
        self._state: str | None = lease.run.state
        self._seq: Position = lease.run.seq
        self._durable: Position = lease.run.seq
        self.pending: list[Piece] = []
        self.weight = 0
        """Bytes of what is pending, without those of `strip`."""
        self.strip: Strip | None = None
        """The strip that is the last of what is pending, and grows: it is not counted yet."""
        self.crowded = False
        """Whether a writer should wait for `room`."""
        self._progress: dict[_Teller, tuple[int, Position]] = {}
        self._mark: Mark | None = None
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self.held = False
        """Whether what is appended now will be followed by `let_go`."""
        self.lone = False
        """Whether what was written between the last two pauses was one event by itself, and the
        store kept it at once. The next one is then sent ahead: not at the pause, but as it is
        written."""
        self.ahead = False
        """Whether one was, since the last pause. What follows it without one gathers as ever."""
        self._due = 0
        """Turns of the loop to the next flush; 0 where none is to come by itself."""
        self.lingers = False
        """Whether the step that pauses now has just begun a task that may have more."""
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
                time=self.clock.stamp().decode(),
                data=data,
            )
        )
        if earlier is not None:
            self.pending[earlier[0]] = line
            return len(line)
        if type == STEP_PROGRESS:
            self._progress[step, item, attempt] = len(self.pending), self.seq + 1
        if state != self._state:
            self._state = state
            self._mark = Mark(state, self.clock.now())  # type: ignore[arg-type]
        self.take(line)
        self._seq += 1
        self.weight += len(line)
        self.crowded = self.crowded or self.weight >= MAX_BYTES
        return len(line)

    def take(self, piece: Piece) -> Position:
        """Pend it; returns its first position. (A strip grows while it pends.)"""
        if self.strip is not None:
            self._count_strip()
        if not (self.held or self._due or self._busy):
            self._schedule()
        self.pending.append(piece)
        self.strip = None if type(piece) is bytes else piece  # type: ignore[assignment]
        return self._seq + 1

    def _count_strip(self) -> None:
        """What the last strip has come to: it grows no more."""
        strip, self.strip = self.strip, None
        if strip is None:
            return
        # It grows no more. (The garbage collector looks at every list there is, again and again;
        # a tuple of bytes it lets be. Logs in memory have millions.)
        data = strip.data = tuple(strip.data)
        count = len(data)
        self._seq += count
        bare = strip.pattern.size + len(str(self._seq))
        self.weight += len(data[0]) + bare if count == 1 else sum(map(len, data)) + bare * count

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
        return _Pen(self, Pattern.of(encode(blank), type)).write

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

    def let_go(self, *, at_once: bool) -> None:
        """The task that `held` it pauses. Flush now; or, where others may have more for the same
        flush, behind them."""
        self.held = False
        if not self.pending or self._busy:
            return
        if at_once and not self.lingers:
            self._flush()
        else:
            self.lingers = False
            self._schedule(BEHIND_OTHERS)

    def _schedule(self, turns: int = 1) -> None:
        if not self._due:
            self._loop.call_soon(self._turn)
        self._due = max(self._due, turns)

    def _turn(self) -> None:
        self._due -= 1
        if self._due:
            self._loop.call_soon(self._turn)
        else:
            self._flush()

    def _flush(self) -> None:
        """Hand what has gathered to the store, unless it still has the last of it."""
        if self._busy or not self.pending or self.error is not None:
            return
        self._busy = True
        if self.strip is not None:
            self._count_strip()
        first = self._durable + 1
        size = self.weight + self._seq - self._durable
        progress = self._progress
        segment = Segment(first, tuple(self.pending), self._seq, size, bool(progress), False)
        mark, self._mark = self._mark, None
        self.pending.clear()
        self.weight, self.crowded = 0, False
        if progress:
            self._progress = {}
        kept = self._store.append(self._run, self._epoch, segment, mark)
        if kept is KEPT:
            self.lone = self._seq == first and not self.ahead
            self._landed(segment, mark)
        else:
            self._expect(kept, segment, mark)

    def send_ahead(self, pattern: Pattern, data: bytes) -> int:
        """Flush an event that is alone, as it is written: the short way of `take` and `_flush`,
        where nothing pends. Returns its size."""
        if self.error is not None:
            raise self.error
        self.ahead = True
        seq = self._seq = self._seq + 1
        size = len(data) + pattern.size + len(str(seq))
        single = Single(pattern, self.clock.stamp(), data)
        segment = Segment(seq, single, seq, size + 1, False, False)
        kept = self._store.append(self._run, self._epoch, segment, None)
        if kept is KEPT:
            self._durable = seq
            self._observer.flushed(1, size + 1)
            self._tail.publish(segment, ended=False)
        else:
            self._busy = True
            self._expect(kept, segment, None)
        return size

    def _expect(self, kept: Awaitable[None], segment: Segment, mark: Mark | None) -> None:
        self.lone = False  # nothing may be sent ahead of what is under way
        if isinstance(kept, Promise):
            kept.then(partial(self._answered, segment, mark))
        else:
            self._await(kept, segment, mark)

    def _await(self, answer: Awaitable[None], segment: Segment, mark: Mark | None) -> None:
        self._flight = asyncio.ensure_future(answer)
        self._flight.add_done_callback(partial(self._returned, segment, mark))

    def _returned(self, segment: Segment, mark: Mark | None, done: asyncio.Future[None]) -> None:
        self._flight = None
        if self.error is not None:
            return
        if done.cancelled():  # not by us: the loop is being ended
            self._fail(StoreError("the store's answer was not waited for"))
            return
        error = done.exception()
        if error is not None and not isinstance(error, Exception):
            error = RuntimeError(repr(error))
        self._answered(segment, mark, error)

    def _answered(self, segment: Segment, mark: Mark | None, error: Exception | None) -> None:
        """The store has answered."""
        if self.error is not None:
            return
        if error is None:
            self._landed(segment, mark)
        elif isinstance(error, StoreError):
            self._await(self._repair(segment, mark), segment, mark)
        else:
            self._fail(error)

    def _landed(self, segment: Segment, mark: Mark | None) -> None:
        """It is durable: now it may be seen."""
        self._durable = segment.last
        self._observer.flushed(segment.last - segment.first + 1, segment.size)
        ended = mark is not None and mark.state in lifecycle.ENDED
        self._tail.publish(segment, ended=ended)
        if self._flushed:
            self._wake(None)
        self._busy = False
        if self.pending and not self.held:
            self._schedule()

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
