"""When something is due: paced sources, and streams that are read with a deadline.

Intervals are measured on the event loop's own clock, which tests replace by a virtual one.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

TICK = 0.005
"""Seconds. A fast source wakes up this often at most, and gives all that is due by then."""
HELD_UP = 1.0
"""Seconds. A source that its readers held up for longer goes on from there: it does not try to
catch up in one burst."""
TURN = 128
"""Messages after which a source that is behind lets others run."""


async def paced(interval: float, count: int | None = None) -> AsyncIterator[int]:
    """0, 1, 2 … each when it is due, `interval` seconds apart; the first at once."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    n = 0
    while count is None or n < count:
        due = begun + n * interval
        moment = clock()
        if moment < due:
            await asyncio.sleep(max(due - moment, TICK if interval < TICK else 0.0))
        elif moment - due > HELD_UP:
            begun += moment - due
        elif n % TURN == TURN - 1:
            await asyncio.sleep(0)
        yield n
        n += 1


class Silence(Enum):
    """What `Inbox.next` says in the place of a value."""

    TIMEOUT = "timeout"
    END = "end"


class Inbox(Generic[T]):
    """A stream that can be read with a deadline, and never loses a value to one.

    Use it as a context. Where the call that reads is broken off, so that another function takes
    its place, what was read and not used goes back into the stream: `holding` says what the node
    itself still has of it.
    """

    def __init__(
        self, stream: AsyncIterator[T], holding: Callable[[], Iterable[T]] | None = None
    ) -> None:
        self._stream, self._holding = stream, holding
        self._values: deque[T] = deque()
        self._pending: asyncio.Task[Sequence[T]] | None = None
        self._ended = False

    async def next(self, timeout: float | None = None) -> T | Silence:
        """The next value; TIMEOUT when none came for so many seconds; END after the last."""
        if self._values:
            return self._values.popleft()
        if self._pending is None:
            self._pending = asyncio.ensure_future(_block(self._stream))
        await asyncio.wait([self._pending], timeout=None if timeout is None else max(timeout, 0.0))
        if not self._pending.done():
            return Silence.TIMEOUT
        task, self._pending = self._pending, None
        values = task.result()
        if not values:
            self._ended = True
            return Silence.END
        self._values.extend(values)
        return self._values.popleft()

    async def __aenter__(self) -> "Inbox[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._let_go()
        give_back = getattr(self._stream, "give_back", None)
        if give_back is not None and not self._ended:
            held = self._holding() if self._holding else ()
            give_back([*held, *self._values])

    async def _let_go(self) -> None:
        """Wait for nothing more; keep what has come just now."""
        if self._pending is not None:
            self._pending.cancel()
            with suppress(asyncio.CancelledError):
                self._values.extend(await self._pending)


async def _block(stream: AsyncIterator[T]) -> Sequence[T]:
    """What waits in a stream, at least one value; nothing after the last. Streams of the engine
    give all that is at hand at once."""
    rest = getattr(stream, "rest", None)
    if rest is not None:
        return await rest() or ()
    async for value in stream:
        return [value]
    return ()
