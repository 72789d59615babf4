"""Channel: one arrow of a live graph. Blocks of numbered messages, bounded; one writer, one reader.

A reader that wakes takes all that waits, at once; a full channel stops its writer. The watermark
`passed` says up to which number the writer has come: it takes no room, so it is never held up.
Knows neither steps nor what a message is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from millstream.core.adaptive import WINDOW, Adapted, adapt
from millstream.core.graph import Arrow
from millstream.engine.live.statistics import EdgeStatistics, Gauge
from millstream.policy import CLASSES, Buffer

STOPPED = "stopped"
"""The cause of drops in front of a step that was stopped by hand."""

Wait = asyncio.Future
Taken = tuple[Sequence[int], Sequence[Any]]


def _nobody() -> None:
    """Nobody reads yet."""


class Channel:
    """`wake` is called whenever there is something new for the reader; `on_drop` after a loss."""

    lossy = False

    def __init__(
        self,
        arrow: Arrow,
        policy: Buffer,
        *,
        now: Callable[[], float],
        on_drop: Callable[[], None] = _nobody,
    ) -> None:
        self.arrow, self.policy, self.size = arrow, policy, policy.size
        self.wake: Callable[[], None] = _nobody
        self.passed = 0
        self.closed = self.discarding = False
        self.gauge = Gauge(now())
        self._now, self._on_drop = now, on_drop
        self._numbers: list[int] = []
        self._values: list[Any] = []
        self._marks: deque[list[Any]] = deque()
        self._rest: tuple[list[int], list[Any], int] | None = None
        self._room: Wait[None] | None = None
        self._adapted = Adapted(policy.size, policy.high) if policy.adaptive else None
        self._fills: list[float] = []
        self._refused = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def ended(self) -> bool:
        """Whether nothing waits and nothing more will come."""
        return self.closed and not len(self) and self._rest is None

    # --- the writer's -----------------------------------------------------------------------

    def put(self, numbers: Sequence[int], values: Sequence[Any], passed: int) -> Wait[None] | None:
        """Append a block. What comes back, where there is no room for all of it, is to be awaited
        before the next one: then all of it is in. `passed` holds once all of it is in."""
        room = self.size - len(self._values)
        if self.discarding:
            self._discard(values)
        elif self._rest is not None or len(values) > room:
            return self._stop(numbers, values, passed, max(0, room))
        elif values:
            self._admit(numbers, values)
        self.passed = passed
        self.wake()
        return None

    def _admit(self, numbers: Sequence[int], values: Sequence[Any]) -> None:
        self._numbers += numbers
        self._values += values
        count, moment, gauge = len(values), self._now(), self.gauge
        self._marks.append([count, moment])
        gauge.sent += count
        gauge.meter.note(gauge.sent, moment)
        if len(self._values) >= self.policy.high * self.size:
            gauge.pressed += 1
        if self._adapted is not None:
            self._adapt(refused=False)

    def _stop(
        self, numbers: Sequence[int], values: Sequence[Any], passed: int, room: int
    ) -> Wait[None]:
        """Take what fits; keep the rest at hand until the reader has made room."""
        self.gauge.stops += 1
        if self._rest is None:
            if room:
                self._admit(numbers[:room], values[:room])
            self._rest = list(numbers[room:]), list(values[room:]), passed
        else:  # another writer took over while the rest of the last one's waits
            self._rest = self._rest[0] + list(numbers), self._rest[1] + list(values), passed
        if self._room is None or self._room.done():
            self._room = asyncio.get_running_loop().create_future()
        if self._adapted is not None:
            self._adapt(refused=True)
        self.wake()
        return self._room

    def _refill(self) -> None:
        """Let the stopped writer's rest in, as far as there is room."""
        room = self.size - len(self._values)
        if self._rest is None or room <= 0:
            return
        numbers, values, passed = self._rest
        self._admit(numbers[:room], values[:room])
        if len(values) > room:
            self._rest = numbers[room:], values[room:], passed
        else:
            self._settle()

    def _settle(self) -> None:
        """All of the stopped writer's block is in."""
        assert self._rest is not None
        self.passed, self._rest = self._rest[2], None
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def close(self) -> None:
        """Nothing more will be put; what waits can still be read."""
        self.closed = True
        self.wake()

    # --- the reader's -----------------------------------------------------------------------

    def take(self, most: int) -> Taken:
        """Up to so many messages, oldest first; none where none wait."""
        if len(self._values) <= most:
            numbers, values = self._numbers, self._values
            self._numbers, self._values = [], []
        else:
            numbers, values = self._numbers[:most], self._values[:most]
            del self._numbers[:most], self._values[:most]
        if values:
            self._delivered(len(values))
            if self._rest is not None:
                self._refill()
        return numbers, values

    def _delivered(self, count: int) -> None:
        gauge, moment, marks = self.gauge, self._now(), self._marks
        gauge.delivered += count
        while count:
            mark = marks[0]
            part = min(count, mark[0])
            gauge.latencies.add(moment - mark[1], part)
            mark[0] -= part
            count -= part
            if not mark[0]:
                marks.popleft()

    def discard(self, discarding: bool) -> None:
        """From now on (or: no longer) drop all that comes and waits, and count it."""
        self.discarding = discarding
        if not discarding:
            return
        waiting = self._values
        self._numbers, self._values = [], []
        self._marks.clear()
        self._lose(waiting)
        if self._rest is not None:
            self._discard(self._rest[1])
            self._settle()

    def _discard(self, values: Sequence[Any]) -> None:
        self.gauge.sent += len(values)
        self._lose(values)

    def _lose(self, values: Sequence[Any]) -> None:
        for value in values:
            self.gauge.drop(STOPPED, self.kind(value))
        if values:
            self._on_drop()

    def kind(self, value: Any) -> str:
        """The class of a message. One that the policy cannot class counts as data."""
        priority = self.policy.priority
        if not callable(priority):
            return priority
        try:
            kind = priority(value)
        except Exception:
            return "data-flow"
        return kind if kind in CLASSES else "data-flow"

    # --- adapting, showing ------------------------------------------------------------------

    def _adapt(self, *, refused: bool) -> None:
        self._fills.append(len(self) / self.size)
        self._refused += refused
        if len(self._fills) >= WINDOW and self._adapted is not None:
            self._adapted = adapt(self._adapted, self._fills, self._refused, high=self.policy.high)
            self.size = self._adapted.size
            self._fills, self._refused = [], 0

    def statistics(self) -> EdgeStatistics:
        """The arrow now."""
        gauge, arrow = self.gauge, self.arrow
        return EdgeStatistics(
            id=arrow.id,
            source=arrow.source,
            port=arrow.port,
            target=arrow.target,
            parameter=arrow.parameter,
            sent=gauge.sent,
            delivered=gauge.delivered,
            dropped=gauge.dropped,
            waiting=len(self),
            size=self.size,
            fill=len(self) / self.size,
            stops=gauge.stops,
            pressed=gauge.pressed,
            rate=gauge.meter.rate(gauge.sent, self._now()),
            drops=gauge.by_cause(),
            latency=gauge.latencies.percentiles(),
            closed=self.closed,
        )

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        gauge = self.gauge
        return (
            f"<Channel {self.arrow.id} {state} {len(self)}/{self.size}, {gauge.sent} sent, "
            f"{gauge.delivered} delivered, {gauge.dropped} dropped>"
        )
