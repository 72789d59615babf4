"""Tail: a log's live edge in this process. Writers publish what is durable; readers wait here.

Holds the last few segments, bounded in bytes, so that readers near the edge need no store.
A reader costs one entry in a list, or in the crowd, while it waits, and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct, field

from millstream.core.replay import Edge
from millstream.engine.crowd import Crowd, Listener, Shared
from millstream.events import Position, Segment

HELD_BYTES = 262_144


class Batch(Struct, frozen=True, gc=False):
    """Events for one write. `last` is the cursor after it. `shared` is set where the batch is whole
    live segments; `lines` where it is anything else. All readers of a wire share its framing."""

    last: Position
    lines: tuple[bytes, ...] = ()
    shared: tuple[Shared, ...] = ()
    frames: dict[str, bytes] = field(default_factory=dict)

    @property
    def events(self) -> tuple[bytes, ...]:
        """Each event by itself."""
        if not self.shared:
            return self.lines
        return tuple(line for shared in self.shared for line in shared.segment.events)

    def framed(
        self,
        wire: str,
        of_segment: Callable[[Segment], bytes],
        of_lines: Callable[[tuple[bytes, ...]], bytes],
    ) -> bytes:
        """The whole batch in a wire's form."""
        if len(self.shared) == 1:
            return self.shared[0].framed(wire, of_segment)
        if self.shared:
            return b"".join(shared.framed(wire, of_segment) for shared in self.shared)
        found = self.frames.get(wire)
        if found is None:
            found = self.frames[wire] = of_lines(self.lines)
        return found


class Tail:
    """The live edge of one run's log. `last` is the newest durable position."""

    __slots__ = (
        *("_bytes", "_crowd", "_held", "_waiters"),
        *("ended", "first", "last", "left_at", "run", "watchers"),
    )

    def __init__(self, run: str, *, first: Position, last: Position, ended: bool) -> None:
        self.run = run
        self.first = first
        self.last = last
        self.ended = ended
        self.watchers = 0
        self.left_at: float | None = None
        self._held: deque[Shared] = deque()
        self._bytes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._crowd: Crowd | None = None

    @property
    def held(self) -> Position:
        """The oldest position at hand; `last` + 1 where none is."""
        return self._held[0].segment.first if self._held else self.last + 1

    def edge(self) -> Edge:
        """What a reader's next move is decided by."""
        return Edge(first=self.first, last=self.last, held=self.held, ended=self.ended)

    def publish(self, segment: Segment, *, ended: bool) -> None:
        """A segment has become durable: hold it, wake every reader. What is held has no gaps:
        where another worker wrote meanwhile, readers find that part in the store."""
        if segment.last <= self.last:
            return
        if segment.first != self.last + 1:
            self._let_go()
        self._held.append(Shared(segment))
        self._bytes += segment.size
        while self._bytes > HELD_BYTES and len(self._held) > 1:
            self._bytes -= self._held.popleft().segment.size
        self.last = segment.last
        self.ended = self.ended or ended
        if self._crowd is not None:
            self._crowd.serve(segment)
        if self._waiters:
            self._wake_waiters()

    def listen(self, listener: Listener) -> None:
        """Give it what is published, until `unlisten`."""
        if self._crowd is None:
            self._crowd = Crowd(self)
        self._crowd.add(listener)

    def unlisten(self, listener: Listener) -> None:
        """No more."""
        if self._crowd is not None:
            self._crowd.discard(listener)
            if not self._crowd:
                self._crowd = None

    def advance(self, *, first: Position, last: Position, ended: bool) -> None:
        """What the store says of the log, which another worker may have written."""
        self.first = max(self.first, first)
        if last > self.last:
            self._let_go()
            self.last = last
        self.ended = self.ended or (ended and last >= self.last)
        self._wake()

    def trimmed(self, first: Position) -> None:
        """The store has let go of what stood before `first` (retention)."""
        self.first = max(self.first, first)

    def forget(self) -> None:
        """The log is gone from the store (retention): nothing more can be read."""
        self._let_go()
        self.first, self.ended = self.last + 1, True
        self._wake()

    def _let_go(self) -> None:
        self._held.clear()
        self._bytes = 0

    def _wake(self) -> None:
        if self._crowd is not None:
            self._crowd.wake()
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def since(self, cursor: Position) -> list[Shared]:
        """The held segments that have something behind the cursor."""
        if self._held and self._held[-1].segment.first == cursor + 1:
            return [self._held[-1]]  # who keeps up lacks the newest alone
        found: list[Shared] = []
        for shared in reversed(self._held):  # readers are near the edge
            if shared.segment.last <= cursor:
                break
            found.append(shared)
        found.reverse()
        return found

    async def wait(self, cursor: Position) -> None:
        """Until there is something behind the cursor, or the log has ended."""
        while self.last <= cursor and not self.ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if not waiter.done() or waiter.cancelled():
                    self._discard(waiter)

    def _discard(self, waiter: asyncio.Future[None]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "live"
        return (
            f"<Tail of {self.run} {state} at {self.last}, {self.watchers} watchers, "
            f"{self._bytes} bytes held>"
        )
