"""Channel: a bounded buffer between two steps, within one event loop.

One reader (a step's loop) and any number of writers. A full channel stops its writers (law 9);
the reader is woken once and takes all that waits. Knows neither steps nor messages.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class ChannelStatistics(Struct, frozen=True):
    """A channel at one moment. `passed` counts messages read so far; `stops` how often a writer
    had to wait."""

    size: int
    waiting: int
    writers_stopped: int
    passed: int
    stops: int
    closed: bool


class Channel(Generic[T]):
    """`wake` is called whenever there is something new for the reader: a value, or the close."""

    __slots__ = ("_closed", "_messages", "_passed", "_size", "_stops", "_wake", "_writers")

    def __init__(self, size: int, wake: Callable[[], object]) -> None:
        self._size = size
        self._wake = wake
        self._messages: deque[T] = deque()
        self._writers: deque[tuple[asyncio.Future[None], T]] = deque()
        self._closed = False
        self._passed = 0
        self._stops = 0

    @property
    def closed(self) -> bool:
        """Whether nothing waits and nothing more will come."""
        return self._closed and not self._messages

    def __len__(self) -> int:
        return len(self._messages)

    async def put(self, message: T) -> None:
        """Append; waits while the channel is full. Writers get their turn in order.

        Cancelled while it waits, the message may have got in all the same.
        """
        if self._writers or len(self._messages) >= self._size:
            await self._turn(message)
        else:
            self._messages.append(message)
            self._wake()

    async def _turn(self, message: T) -> None:
        self._stops += 1
        writer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writers.append((writer, message))
        try:
            await writer
        except asyncio.CancelledError:
            if (writer, message) in self._writers:
                self._writers.remove((writer, message))
            raise

    def pop(self) -> T:
        """The oldest message. Raises IndexError where none waits."""
        message = self._messages.popleft()
        self._passed += 1
        self._admit()
        return message

    def _admit(self) -> None:
        """Let waiting writers in while there is room."""
        while self._writers and len(self._messages) < self._size:
            writer, message = self._writers.popleft()
            if not writer.done():  # else it is being cancelled
                self._messages.append(message)
                writer.set_result(None)
                self._wake()

    def close(self) -> None:
        """Nothing more will be put; what waits can still be read."""
        self._closed = True
        self._wake()

    def statistics(self) -> ChannelStatistics:
        """The channel now."""
        return ChannelStatistics(
            size=self._size,
            waiting=len(self._messages),
            writers_stopped=len(self._writers),
            passed=self._passed,
            stops=self._stops,
            closed=self._closed,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return (
            f"<Channel {state} {len(self._messages)}/{self._size}, "
            f"{len(self._writers)} writers stopped, {self._passed} passed>"
        )


class Signal:
    """Wakes one waiter; a wake that comes before the wait is not lost."""

    __slots__ = ("_set", "_waiter")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the waiter, now or when it next waits."""
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Until the next `set` since the last wait."""
        if not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._set = False
