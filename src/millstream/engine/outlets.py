"""Outlets: where a step's values go. The far end of one step, the near end of its arrows.

Readers of the value get it once it is there; readers of the elements (`Each`, `Stream`) get them
one by one, numbered. Every put waits for room: that is how backpressure climbs.
"""

from collections.abc import Sequence
from typing import Any

from millstream.core.graph import Path
from millstream.core.lineage import Numbering
from millstream.core.messages import End, Failed, Item, Message, Void
from millstream.engine.channel import Channel, Signal

Arrow = Channel[Message]


class Seen:
    """Counts the readers that have yet to act on a Void, at any distance.

    Only then may its replacement be logged: so no result that was computed from a superseded value
    ever stands in the log behind the value that supersedes it.
    """

    __slots__ = ("_done", "_left")

    def __init__(self) -> None:
        self._left = 0
        self._done = Signal()

    def expect(self) -> None:
        """One more reader has to act on it."""
        self._left += 1

    def acted(self) -> None:
        """One reader has, and has passed it on."""
        self._left -= 1
        if not self._left:
            self._done.set()

    async def by_all(self) -> None:
        """Wait until all have."""
        while self._left:
            await self._done.wait()


class Outlets:
    """The channels that leave one step (or the input)."""

    __slots__ = ("_all", "_elements", "_numbering", "_values", "wants_elements", "wants_values")

    def __init__(
        self, values: Sequence[Arrow], elements: Sequence[Arrow], numbering: Numbering | None
    ) -> None:
        self._values, self._elements = tuple(values), tuple(elements)
        self._all = (*values, *elements)
        self._numbering = numbering
        self.wants_values = bool(values)
        self.wants_elements = bool(elements)

    def number(self, path: Path, index: int) -> int:
        """The item that the element `index` of the value at `path` is."""
        if self._numbering is None:
            return index
        return self._numbering.number(path[-1] if path else None, index)

    async def value(self, path: Path, value: Any, *, fresh: bool = False) -> None:
        """The value of one item, to those who read values."""
        for channel in self._values:
            await channel.put(Item(path, value, fresh))

    async def element(self, path: Path, index: int, value: Any, *, fresh: bool = False) -> None:
        """One element of it, to those who read elements."""
        if self._elements:
            below = (*path, self.number(path, index))
            for channel in self._elements:
                await channel.put(Item(below, value, fresh))

    async def elements(self, path: Path, values: Sequence[Any], *, fresh: bool = False) -> None:
        """All elements of a list. They are numbered before the first is put, as the log has them
        in one event."""
        below = [(*path, self.number(path, index)) for index in range(len(values))]
        for at, value in zip(below, values, strict=True):
            for channel in self._elements:
                await channel.put(Item(at, value, fresh))

    async def void_element(self, path: Path, index: int) -> None:
        """That element is superseded. Returns when all have acted on it."""
        await self._void((*path, self.number(path, index)), self._elements)

    async def end(self, path: Path, count: int) -> None:
        """All `count` elements of the value at `path` were sent."""
        for channel in self._elements:
            await channel.put(End(path, count))

    async def fail(self, path: Path, *, fresh: bool = False) -> None:
        """There will be no value at `path`, and no (more) elements."""
        await self.forward(Failed(path, fresh))

    async def void(self, path: Path) -> None:
        """The value at `path` is superseded; its elements may come again. Returns when all have
        acted on it."""
        await self._void(path, self._all)

    async def _void(self, path: Path, channels: Sequence[Arrow]) -> None:
        seen = Seen()
        for channel in channels:
            seen.expect()
            await channel.put(Void(path, seen))
        await seen.by_all()

    async def forward(self, message: Message) -> None:
        """The same message to every reader."""
        for channel in self._all:
            if type(message) is Void and message.seen is not None:
                message.seen.expect()
            await channel.put(message)

    def close(self) -> None:
        """Nothing more leaves this step."""
        for channel in self._all:
            channel.close()
