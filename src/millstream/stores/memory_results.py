"""Remembered results in this process: the part of `stores/memory.py` that is the cache.

No thread, no await, no clock: the caller brings the time.
"""

from bisect import bisect_left, insort

from msgspec import Struct
from msgspec.structs import replace


class _Result(Struct, frozen=True):
    """A remembered result, until when it counts, and when it was last used."""

    value: bytes
    until: float
    used: float


class _Space:
    """The results of one space, and their order of use."""

    __slots__ = ("order", "results", "size")

    def __init__(self) -> None:
        self.results: dict[str, _Result] = {}
        self.order: list[tuple[float, str]] = []  # (used, key), oldest first
        self.size = 0

    def add(self, key: str, result: _Result) -> None:
        self.results[key] = result
        insort(self.order, (result.used, key))
        self.size += len(result.value)

    def drop(self, key: str) -> None:
        result = self.results.pop(key, None)
        if result is not None:
            del self.order[bisect_left(self.order, (result.used, key))]
            self.size -= len(result.value)


class Results:
    """All spaces of a store. The methods are the port's."""

    def __init__(self) -> None:
        self._spaces: dict[str, _Space] = {}

    def recall(self, space: str, key: str, now: float) -> bytes | None:
        """A result, while its time is not over."""
        known = self._spaces.get(space)
        found = known and known.results.get(key)
        return found.value if found and now < found.until else None

    def remember(
        self, space: str, key: str, value: bytes, now: float, until: float, entries: int, size: int
    ) -> None:
        """Keep a result; the oldest-used go beyond the bounds."""
        known = self._spaces.setdefault(space, _Space())
        known.drop(key)
        known.add(key, _Result(value, until, now))
        while len(known.results) > entries or known.size > size:
            known.drop(known.order[0][1])

    def touch(self, space: str, key: str, now: float) -> None:
        """A result was used now."""
        known = self._spaces.get(space)
        result = known and known.results.get(key)
        if known and result and now > result.used:
            known.drop(key)
            known.add(key, replace(result, used=now))

    def evict(self, now: float) -> int:
        """Forget every result whose time is over."""
        count = 0
        for space in self._spaces.values():
            over = [key for key, found in space.results.items() if found.until <= now]
            count += len(over)
            for key in over:
                space.drop(key)
        return count
