"""Windows: many messages gathered into one, by count or by time, tumbling or sliding.

What a window does is decided purely (`push`, `tick`, `flush`); the step around it only waits.
No message is lost: what is left at the end, or when a window is full, is given as it is, with
`complete` false.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from msgspec import Struct

from millstream import Stream
from millstream_apps.nodeflow.nodes.base import Config, Count, Seconds, Tools
from millstream_apps.nodeflow.nodes.pacing import Inbox, Silence


class WindowConfig(Config, frozen=True):
    """`count` messages, or `seconds` of them; a new window every `slide` (messages or seconds),
    which is the window's own size where not said. `most` bounds what one may hold."""

    count: Count | None = None
    seconds: Seconds | None = None
    slide: float | None = None
    most: Count = 10_000

    def __post_init__(self) -> None:
        if (self.count is None) == (self.seconds is None):
            raise ValueError("count: say either count or seconds")
        size = self.seconds or self.count or 0
        if self.slide is not None and not 0 < self.slide <= size:
            raise ValueError(f"slide: {self.slide} is not above 0 and at most the size, {size}")
        if self.count is not None and self.slide is not None and self.slide != int(self.slide):
            raise ValueError(f"slide: {self.slide} is not a whole number of messages")
        if self.count is not None and self.count > self.most:
            raise ValueError(f"count: {self.count} is more than `most`, {self.most}")


class Window(Struct, frozen=True):
    """The messages of one window, oldest first. `start` and `end` are seconds since the epoch: the
    borders of a time window, the first and last arrival of a count window."""

    start: float
    end: float
    values: list[Any]
    complete: bool = True


class Gathering(Protocol):
    """A window's state. Times are seconds since the epoch."""

    def push(self, value: Any, now: float) -> list[Window]:
        """Take a message; the windows that end with it."""
        ...

    def tick(self, now: float) -> list[Window]:
        """The windows that have ended by themselves."""
        ...

    def flush(self, now: float) -> list[Window]:
        """What is left, at the end of the stream."""
        ...

    def held(self) -> list[Any]:
        """The messages that no window has had yet."""
        ...

    @property
    def due(self) -> float | None:
        """When `tick` is to be called next; None while nothing would come of it."""
        ...


class CountWindow:
    """Every `slide` messages, the last `count`."""

    due = None

    def __init__(self, count: int, slide: int) -> None:
        self._slide = slide
        self._held: deque[tuple[float, Any]] = deque(maxlen=count)
        self._fresh = 0
        self._count = count

    def push(self, value: Any, now: float) -> list[Window]:
        """See Gathering."""
        self._held.append((now, value))
        self._fresh += 1
        if len(self._held) < self._count or self._fresh < self._slide:
            return []
        self._fresh = 0
        return [self._window(complete=True)]

    def tick(self, now: float) -> list[Window]:
        """See Gathering."""
        return []

    def flush(self, now: float) -> list[Window]:
        """The messages that no window has had yet (with those before them, where it slides)."""
        fresh, self._fresh = self._fresh, 0
        return [self._window(complete=False)] if fresh else []

    def held(self) -> list[Any]:
        """See Gathering."""
        values = [value for _, value in self._held]
        return values[len(values) - self._fresh :]

    def _window(self, *, complete: bool) -> Window:
        held = list(self._held)
        if self._slide == self._count:  # tumbling: each message stands in one window
            self._held.clear()
        return Window(held[0][0], held[-1][0], [value for _, value in held], complete)


class TimeWindow:
    """Windows of `seconds`, one every `slide` seconds, at multiples of `slide` since the epoch. A
    message belongs to every window that is open when it comes. Empty windows are not told."""

    def __init__(self, seconds: float, slide: float, most: int) -> None:
        self._seconds, self._slide, self._most = seconds, slide, most
        self._held: deque[tuple[float, Any]] = deque()
        self._next: int | None = None
        self._told_until = -math.inf

    @property
    def due(self) -> float | None:
        """The end of the next window that holds something."""
        return None if self._next is None else self._next * self._slide

    def push(self, value: Any, now: float) -> list[Window]:
        """See Gathering."""
        ended = self.tick(now)
        if self._next is None:
            self._next = math.floor(now / self._slide) + 1
        self._held.append((now, value))
        if len(self._held) >= self._most:
            ended += self.flush(now)
        return ended

    def tick(self, now: float) -> list[Window]:
        """See Gathering."""
        ended: list[Window] = []
        while self._next is not None and self._next * self._slide <= now:
            ended += self._end(self._next * self._slide)
        return ended

    def _end(self, end: float) -> list[Window]:
        assert self._next is not None
        start = end - self._seconds
        while self._held and self._held[0][0] < start:
            self._held.popleft()
        values = [value for at, value in self._held if at < end]
        self._told_until = end
        while self._held and self._held[0][0] < start + self._slide:
            self._held.popleft()  # no later window reaches so far back
        self._next = self._next + 1 if self._held else None
        return [Window(start, end, values)] if values else []

    def flush(self, now: float) -> list[Window]:
        """The open window as far as it is, where it holds what no window has had yet."""
        end = self.due
        held, self._next = list(self._held), None
        self._held.clear()
        if end is None or not any(at >= self._told_until for at, _ in held):
            return []
        self._told_until = now
        values = [value for _, value in held]
        return [Window(end - self._seconds, max(now, held[-1][0]), values, complete=False)]

    def held(self) -> list[Any]:
        """See Gathering."""
        return [value for at, value in self._held if at >= self._told_until]


def gathering(config: WindowConfig) -> Gathering:
    """The window that a config asks for."""
    if config.count is not None:
        return CountWindow(config.count, int(config.slide or config.count))
    assert config.seconds is not None
    return TimeWindow(config.seconds, config.slide or config.seconds, config.most)


def window(config: WindowConfig, tools: Tools) -> Callable[[Stream[Any]], AsyncIterator[Window]]:
    """Messages in, windows out; time windows end on time, whether or not more comes."""

    async def step(input: Stream[Any]) -> AsyncIterator[Window]:
        state = gathering(config)
        async with Inbox(input, state.held) as inbox:
            while True:
                wait = None if state.due is None else state.due - tools.now()
                value = await inbox.next(wait)
                if value is Silence.END:
                    break
                timeout = value is Silence.TIMEOUT
                now = tools.now()
                for ended in state.tick(now) if timeout else state.push(value, now):
                    yield ended
        for ended in state.flush(tools.now()):
            yield ended

    return step
