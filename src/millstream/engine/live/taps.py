"""Taps: looking at what flows, on demand, a few samples a second. Free where there is none.

A tap holds a bounded number of samples; who does not take them loses the oldest.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from millstream.engine.channel import Signal

HELD = 256
"""Samples that a tap keeps for its reader."""


class Sample(Struct, frozen=True):
    """One message that passed: its number, its value, and when (seconds since the epoch)."""

    number: int
    value: Any
    time: float


class Tap:
    """Samples of what one step gives by one of its ports. `close` it when done."""

    def __init__(
        self,
        step: str,
        port: str,
        per_second: float,
        *,
        now: Callable[[], float],
        on_close: Callable[["Tap"], None],
    ) -> None:
        self.step, self.port = step, port
        self.seen = 0
        """Messages that have passed since it was opened."""
        self._pause = 1.0 / per_second
        self._due = 0.0
        self._now, self._on_close = now, on_close
        self._samples: deque[Sample] = deque(maxlen=HELD)
        self._signal = Signal()
        self.closed = False

    def offer(self, numbers: Sequence[int], values: Sequence[Any]) -> None:
        """A block has passed: its newest message is a sample, if one is due."""
        self.seen += len(values)
        moment = self._now()
        if moment < self._due or not values:
            return
        self._due = max(self._due + self._pause, moment)
        self._samples.append(Sample(numbers[-1], values[-1], moment))
        self._signal.set()

    def take(self) -> list[Sample]:
        """The samples since this was last called."""
        taken = list(self._samples)
        self._samples.clear()
        return taken

    async def wait(self) -> None:
        """Until there is a sample, or the tap is closed."""
        while not self._samples and not self.closed:
            await self._signal.wait()

    def close(self) -> None:
        """End. Safe to call twice."""
        if not self.closed:
            self.closed = True
            self._on_close(self)
            self._signal.set()

    def __repr__(self) -> str:
        return f"<Tap of {self.step}:{self.port}, {self.seen} seen>"
