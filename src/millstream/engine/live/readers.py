"""Readers: what a long call iterates, in the event loop or in a thread.

A reader outlives the call: one that is begun anew goes on with the first message not yet read.
"""

import asyncio
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from millstream.annotations import Stream
from millstream.context import Cancelled
from millstream.core import pace
from millstream.engine.live.inbox import Inbox


class Reader(Stream[Any]):
    """One parameter's messages, for `async for`."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self._values: Sequence[Any] = ()
        self._at = 0

    @property
    def lost(self) -> int:  # type: ignore[override]
        """See Stream."""
        return sum(channel.gauge.dropped for channel in self.inbox.channels)

    def __aiter__(self) -> "Reader":
        return self

    async def __anext__(self) -> Any:
        while self._at >= len(self._values):
            if not await self._more():
                raise StopAsyncIteration
        value = self._values[self._at]
        self._at += 1
        return value

    async def _more(self) -> bool:
        """The next block. False where there is none."""
        taken = await self.inbox.take(pace.FIRST)
        if taken is None:
            return False
        self._values, self._at = taken.values, 0
        return True

    async def rest(self) -> Sequence[Any] | None:
        """What is at hand unread; else the next block; None after the last one."""
        while self._at >= len(self._values):
            if not await self._more():
                return None
        left, self._values = self._values[self._at :], ()
        return left

    def give_back(self, values: Iterable[Any]) -> None:
        """These were taken by `rest`, and not read."""
        self._values, self._at = [*values, *self._values[self._at :]], 0


class ThreadReader(Stream[Any]):
    """The same in a thread, for `for`. The thread waits for the loop, never the reverse."""

    def __init__(self, reader: Reader, loop: asyncio.AbstractEventLoop) -> None:
        self._reader, self._loop = reader, loop
        self._values: list[Any] = []
        self._lock = threading.Lock()
        self._asked: Any = None
        self.stopped = False

    @property
    def lost(self) -> int:  # type: ignore[override]
        """See Stream."""
        return self._reader.lost

    async def __anext__(self) -> Any:
        raise TypeError("in a thread a Stream is read with a plain `for`")

    def __iter__(self) -> "ThreadReader":
        return self

    def __next__(self) -> Any:
        while True:
            with self._lock:
                if self._values:
                    return self._values.pop()
            self._fetch()

    def _fetch(self) -> None:
        if self.stopped:
            raise Cancelled
        asked = self._asked = asyncio.run_coroutine_threadsafe(self._reader.rest(), self._loop)
        try:
            values = asked.result()
        except BaseException as error:
            raise Cancelled from error
        if values is None:
            raise StopIteration
        with self._lock:
            if not self.stopped:
                self._values = list(reversed(values))
                return
        self._loop.call_soon_threadsafe(self._reader.give_back, values)
        raise Cancelled

    def stop(self) -> None:
        """In the loop: the thread is to end. What it had not read yet goes back."""
        self.stopped = True
        if self._asked is not None:
            self._asked.cancel()
        with self._lock:
            left, self._values = self._values, []
        self._reader.give_back(reversed(left))
