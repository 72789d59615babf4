"""Inboxes: where a live step takes its messages from. One arrow, several matched by number, several
merged in the order of arrival, or any of these in batches.

Here a step is paused (its inbox gives nothing) and stopped (what comes is dropped and counted).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from millstream.annotations import In
from millstream.core.align import Aligner
from millstream.engine.channel import Signal
from millstream.engine.live.channel import Channel
from millstream.engine.live.statistics import Counts

FOREVER: Final = 1 << 62
"""The watermark of a writer that has ended."""


class Taken(NamedTuple):
    """A block: numbers, values (tuples where several arrows are matched), and up to which number
    all has been given."""

    numbers: Sequence[int]
    values: Sequence[Any]
    passed: int


class _Way(Protocol):
    """How messages come together."""

    def take(self, most: int) -> Taken | None:
        """What there is, or None."""

    @property
    def ended(self) -> bool:
        """Whether there will never be anything more."""
        ...


class Inbox:
    """What one step reads. `take` waits; one reader at a time."""

    def __init__(self, channels: Sequence[Channel], way: _Way) -> None:
        self.channels, self._way = channels, way
        self._signal = Signal()
        self.paused = self.interrupted = False
        self._turns = False
        """Whether it has given a block since others last had their turn."""
        for channel in channels:
            channel.wake = self._signal.set

    async def take(self, most: int) -> Taken | None:
        """The next block, of up to `most` messages; it may have none and just a later watermark.
        None after the last one, and while it is interrupted."""
        while not self.interrupted:
            if not self.paused:
                if self._turns and any(map(len, self.channels)):
                    await asyncio.sleep(0)  # others' turn, however much waits here
                taken, self._turns = self._way.take(most), True
                if taken is not None:
                    return taken
                if self._way.ended:
                    return None
            await self._signal.wait()
            self._turns = False
        return None

    def pause(self, paused: bool) -> None:
        """Give nothing from now on; or go on."""
        self.paused = paused
        self._signal.set()

    def interrupt(self, interrupted: bool) -> None:
        """Whoever waits here gets None, so that another can go on reading where it was."""
        self.interrupted = interrupted
        self._signal.set()

    def discard(self, discarding: bool) -> None:
        """Drop what waits and what comes; or no longer."""
        for channel in self.channels:
            channel.discard(discarding)

    def __repr__(self) -> str:
        state = "paused" if self.paused else "open"
        return f"<Inbox {state} of {', '.join(map(repr, self.channels))}>"


def _tagged(channel: Channel, values: Sequence[Any]) -> Sequence[Any]:
    """The values, each with the arrow's name where that is asked for."""
    tag = channel.arrow.tag
    return values if tag is None else [In(tag, value) for value in values]


class Single:
    """One arrow."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._passed = channel.passed

    def take(self, most: int) -> Taken | None:
        """See _Way."""
        channel = self._channel
        numbers, values = channel.take(most)
        if not values and channel.passed <= self._passed:
            return None
        last = numbers[-1] if numbers else 0
        self._passed = last if len(channel) else max(last, channel.passed)
        return Taken(numbers, _tagged(channel, values), self._passed)

    @property
    def ended(self) -> bool:
        """See _Way."""
        return self._channel.ended


class Matched:
    """Several arrows: rows of what bears the same number on all of them."""

    def __init__(self, channels: Sequence[Channel], counts: Counts) -> None:
        self._channels, self._counts = channels, counts
        self._aligner = Aligner(len(channels))
        self._passed = 0

    def take(self, most: int) -> Taken | None:
        """See _Way."""
        aligner = self._aligner
        fed = self._feed(most)
        numbers, rows = aligner.rows()
        while fed and not rows:
            fed = self._feed(most)
            numbers, rows = aligner.rows()
        self._counts.unmatched += aligner.unmatched
        aligner.unmatched = 0
        passed = min(aligner.watermark, FOREVER)
        if not rows and passed <= self._passed:
            return None
        self._passed = passed
        if passed >= FOREVER:  # all have ended: no number beyond the last one is meant
            passed = max(channel.passed for channel in self._channels)
        return Taken(numbers, rows, passed)

    def _feed(self, most: int) -> bool:
        """Give the aligner what it lacks. Whether there was some."""
        fed = False
        for line, channel in enumerate(self._channels):
            if self._aligner.empty(line) and len(channel):
                numbers, values = channel.take(most)
                self._aligner.feed(line, (numbers, _tagged(channel, values)))
                fed = True
            if not len(channel):
                self._aligner.passed(line, FOREVER if channel.ended else channel.passed)
        return fed

    @property
    def ended(self) -> bool:
        """See _Way."""
        return all(channel.ended for channel in self._channels) and not self._aligner.holding


class Merged:
    """Several arrows, in the order of arrival; numbered anew from `number` + 1 on."""

    def __init__(self, channels: Sequence[Channel], number: int = 0) -> None:
        self._channels = list(channels)
        self._number = number

    def take(self, most: int) -> Taken | None:
        """See _Way. Takes from the arrows in turn, so that a busy one starves no other."""
        for _ in self._channels:
            channel = self._channels.pop(0)
            self._channels.append(channel)
            _, values = channel.take(most)
            if values:
                return self._numbered(channel, values)
        return None

    def _numbered(self, channel: Channel, values: Sequence[Any]) -> Taken:
        first = self._number + 1
        self._number += len(values)
        given = _tagged(channel, values)
        return Taken(range(first, self._number + 1), given, self._number)

    @property
    def ended(self) -> bool:
        """See _Way."""
        return all(channel.ended for channel in self._channels)


class Batches(Inbox):
    """Messages of another inbox as lists, each a message of its own: of `size` messages at most,
    or of what has come within `linger` seconds of the first. None is ever lost."""

    def __init__(self, inner: Inbox, size: int, linger: float, number: int = 0) -> None:
        self._inner, self._size, self._linger = inner, size, linger
        self._number = number
        self._batch: list[Any] = []

    @property
    def interrupted(self) -> bool:  # type: ignore[override]
        """See Inbox."""
        return self._inner.interrupted

    @property
    def channels(self) -> Sequence[Channel]:  # type: ignore[override]
        """Those of the inbox that it takes from."""
        return self._inner.channels

    async def take(self, most: int) -> Taken | None:
        """The next batch. None after the last one, and while it is interrupted."""
        while not self._batch and await self._more():
            pass
        try:
            async with asyncio.timeout(self._linger):
                while len(self._batch) < self._size and await self._more():
                    pass
        except TimeoutError:
            pass
        if not self._batch or self.interrupted:
            return None
        self._number += 1
        given, self._batch = self._batch, []
        return Taken([self._number], [given], self._number)

    async def _more(self) -> bool:
        """What waits, into the batch. False where there is no more."""
        taken = await self._inner.take(self._size - len(self._batch))
        if taken is None:
            return False
        self._batch += taken.values
        return True

    def pause(self, paused: bool) -> None:
        """See Inbox."""
        self._inner.pause(paused)

    def interrupt(self, interrupted: bool) -> None:
        """See Inbox."""
        self._inner.interrupt(interrupted)

    def discard(self, discarding: bool) -> None:
        """See Inbox."""
        self._inner.discard(discarding)

    def __repr__(self) -> str:
        return f"<Batches of {self._inner!r}, {len(self._batch)} gathered>"
