"""Feed: the values for one call's `Stream` parameter, while they are made.

The step's loop puts, the call reads. A full feed stops the loop, and so the writers before it;
but not before the call has begun to read, since what the call still waits for may come through
the same loop.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from millstream.annotations import Stream

_HOLE: Final = object()


class Feed:
    """Bounded to `size` unread values once there is a reader. With `keep` it keeps what was read,
    so that a second attempt can begin again from the first value."""

    def __init__(self, size: int, *, keep: bool, load: Callable[[Any], Any]) -> None:
        self._size, self._keep, self._load = size, keep, load
        self._values: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._dropped = 0
        self._read = 0
        self._begun = False
        self.ended = False
        self.abandoned = False
        self._changed: list[asyncio.Future[None]] = []

    def _notify(self) -> None:
        waiters, self._changed = self._changed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(waiter)
        await waiter

    @property
    def total(self) -> int:
        """How many values were put so far."""
        return self._dropped + len(self._values)

    @property
    def _full(self) -> bool:
        """Whether the writer must wait. Not where the reader waits at a hole: what fills it comes
        by the same way."""
        unread = self.total - self._read
        return self._begun and not self.abandoned and unread >= self._size and self._has(self._read)

    async def put(self, number: int, value: Any) -> None:
        """Append; waits while `size` values are unread. Once nobody reads, values fall away.
        `number` is the item's; it finds the value again where one is superseded."""
        if self._keep and self._place(number, value):
            return
        while self._full:
            await self._change()
        if self.abandoned and not self._keep:
            return
        if self._keep:
            self._numbers[number] = self.total
        self._values.append(value)
        self._notify()

    def _place(self, number: int, value: Any) -> bool:
        """Put `value` in the hole that `drop` left for this number; False if there is none."""
        position = self._numbers.get(number)
        if position is None or self._values[position] is not _HOLE:
            return False
        self._values[position] = value
        self._notify()
        return True

    def finish(self) -> None:
        """No more values."""
        self.ended = True
        self._notify()

    async def reached(self, total: int | None) -> None:
        """Wait until so many values were put (None: all of them)."""
        while not self.ended and (total is None or self.total < total):
            await self._change()

    def release(self) -> None:
        """Nobody will begin again: what was kept can go."""
        self._keep = False
        self._numbers = {}
        self.abandon()

    def drop(self, number: int) -> bool:
        """The value put under this number is superseded. Needs `keep`.

        Leaves a hole, which readers wait at until it is filled or the feed finishes. Says whether
        the value had been read, so that what was made of it no longer counts.
        """
        position = self._numbers.get(number)
        if position is None:
            return False
        self._values[position] = _HOLE
        return position < self._read

    def abandon(self) -> None:
        """Nobody reads any more: let the writer run free."""
        self.abandoned = True
        if not self._keep:
            self._dropped, self._values = self.total, []
        self._notify()

    def reader(self) -> "Reader":
        """A reader from the first value that is kept."""
        self._begun, self.abandoned = True, False
        self._read = self._dropped
        return Reader(self)

    def _has(self, position: int) -> bool:
        at = position - self._dropped
        return 0 <= at < len(self._values) and self._values[at] is not _HOLE

    async def get(self, position: int) -> tuple[int, Any]:
        """The value at that position, or at the next one that has one; and its position.
        Raises StopAsyncIteration past the last one."""
        while not self._has(position):
            if self.ended and position >= self.total:
                raise StopAsyncIteration
            if self.ended:
                position += 1
            else:
                await self._change()
        value = self._values[position - self._dropped]
        self._read = position + 1
        if not self._keep:
            del self._values[: self._read - self._dropped]
            self._dropped = self._read
        self._notify()
        return position, self._load(value)


class Reader(Stream[Any]):
    """What the step iterates."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._position = feed._dropped

    def __aiter__(self) -> "Reader":
        return self

    async def __anext__(self) -> Any:
        position, value = await self._feed.get(self._position)
        self._position = position + 1
        return value
