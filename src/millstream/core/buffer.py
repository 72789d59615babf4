"""What a full buffer does: which message goes, when one that may lose messages has no room.

A small state machine without a clock: messages go in by `add`, which says what was dropped and
why, and come out by `take` in the order of their numbers. Every message that went in has come
out, was dropped, or waits: `added == taken + dropped + len(shelf)`, always.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple

from millstream.core.adaptive import Adapted
from millstream.policy import CLASSES, Buffer

FULL: Final = "full"
"""Dropped since there was no room."""

SUPERSEDED: Final = "superseded"
"""Dropped since a newer message of its key came (on_full="latest")."""

EARLY: Final = "early"
"""Turned away before the buffer was full: an adaptive buffer under load."""

TIERS: Final[Mapping[str, int]] = {"ui-update": 0, "data-flow": 0, "control": 1, "error": 2}
"""Control and error go last, whatever the policy."""

RANKS: Final[Mapping[str, int]] = {name: rank for rank, name in enumerate(CLASSES)}
"""By weight: for `drop_lowest`."""


class Dropped(NamedTuple):
    """One message lost: why, and of which class."""

    cause: str
    kind: str


class Shelf:
    """The messages that wait on a lossy arrow. `size` may be changed at any time."""

    def __init__(self, policy: Buffer) -> None:
        self.size = policy.size
        self._policy = policy
        self._ranks = RANKS if policy.on_full == "drop_lowest" else TIERS
        self._lines: dict[str, OrderedDict[int, Any]] = {name: OrderedDict() for name in CLASSES}
        self._keys: dict[Hashable, tuple[str, int]] = {}
        self._key_of: dict[int, Hashable] = {}
        self._count = 0
        self._early: dict[str, float] = dict.fromkeys(CLASSES, 0.0)

    def __len__(self) -> int:
        return self._count

    # --- in ---------------------------------------------------------------------------------

    def add(
        self,
        number: int,
        value: Any,
        kind: str,
        *,
        key: Hashable = None,
        adapted: Adapted | None = None,
    ) -> list[Dropped]:
        """Take a message, whose number is above all before it; what was dropped for it (perhaps
        itself). `key` is for on_full="latest"; `adapted` is the load's, for an adaptive buffer."""
        if adapted is not None and self._turned_away(kind, adapted):
            return [Dropped(EARLY, kind)]
        latest = self._policy.on_full == "latest"
        dropped = self._supersede(number, (TIERS[kind], key), kind) if latest else []
        if self._count >= self.size and not self._make_room(kind, dropped):
            self._forget(number)
            return dropped
        self._lines[kind][number] = value
        self._count += 1
        while self._count > self.size:  # the size has been made smaller
            self._remove(*self._victim(kind), dropped)
        return dropped

    def _supersede(self, number: int, key: Hashable, kind: str) -> list[Dropped]:
        """The waiting message of the same key (and tier) goes."""
        dropped: list[Dropped] = []
        if (earlier := self._keys.pop(key, None)) is not None:
            self._remove(*earlier, dropped, SUPERSEDED)
        self._keys[key] = (kind, number)
        self._key_of[number] = key
        return dropped

    def _make_room(self, kind: str, dropped: list[Dropped]) -> bool:
        """Drop one message for a new one of this class. False where that one is to go itself."""
        lowest = min(self._ranks[name] for name, line in self._lines.items() if line)
        rank = self._ranks[kind]
        if rank < lowest or (rank == lowest and self._policy.on_full == "drop_newest"):
            dropped.append(Dropped(FULL, kind))
            return False
        self._remove(*self._victim(kind), dropped)
        return True

    def _victim(self, kind: str) -> tuple[str, int]:
        """Class and number of the waiting message to drop: of the lowest rank, the oldest (the
        newest for drop_newest)."""
        lowest = min(self._ranks[name] for name, line in self._lines.items() if line)
        newest = self._policy.on_full == "drop_newest"
        ends = [
            (next(reversed(line) if newest else iter(line)), name)
            for name, line in self._lines.items()
            if line and self._ranks[name] == lowest
        ]
        number, name = max(ends) if newest else min(ends)
        return name, number

    def _remove(self, kind: str, number: int, dropped: list[Dropped], cause: str = FULL) -> None:
        del self._lines[kind][number]
        self._count -= 1
        self._forget(number)
        dropped.append(Dropped(cause, kind))

    def _forget(self, number: int) -> None:
        """That message waits under its key no more."""
        key = self._key_of.pop(number, None)
        if key is not None and self._keys.get(key, ("", 0))[1] == number:
            del self._keys[key]

    def _turned_away(self, kind: str, adapted: Adapted) -> bool:
        """Whether this one is among those that an adaptive buffer under load turns away: of data
        and ui-update, the part `rate` times (1 - the class's weight), evenly spread."""
        if TIERS[kind] or self._count < adapted.threshold * self.size:
            return False
        self._early[kind] += adapted.rate * (1 - CLASSES[kind])
        if self._early[kind] < 1:
            return False
        self._early[kind] -= 1
        return True

    # --- out --------------------------------------------------------------------------------

    def take(self, most: int) -> tuple[list[int], list[Any]]:
        """Up to so many messages: their numbers and values, oldest first."""
        numbers: list[int] = []
        values: list[Any] = []
        filled = [line for line in self._lines.values() if line]
        while filled and len(numbers) < most:
            line = filled[0] if len(filled) == 1 else min(filled, key=lambda each: next(iter(each)))
            number, value = line.popitem(last=False)
            numbers.append(number)
            values.append(value)
            if not line:
                filled.remove(line)
        self._count -= len(numbers)
        if self._key_of:
            for number in numbers:
                self._forget(number)
        return numbers, values

    def clear(self) -> list[Dropped]:
        """Drop all that waits: its classes, each with an empty cause."""
        gone = [Dropped("", name) for name, line in self._lines.items() for _ in line]
        for line in self._lines.values():
            line.clear()
        self._keys.clear()
        self._key_of.clear()
        self._count = 0
        return gone
