"""How much of a log may go: decided from a few marks, so that no event costs anything. Pure."""

from collections import deque

from millstream.events import Position
from millstream.policy import Retain

PART = 8
"""There may be this part more than is asked for, so that letting go is rare: one trim for each
eighth of what is kept. Of a time, half of that: marks are set every sixteenth of it."""


class Marks:
    """Which positions were written when, and which have gone. `first` is the oldest that is kept.

    Times are seconds, by whatever clock `note` and `due` are given.
    """

    def __init__(self, policy: Retain, *, first: Position, last: Position, now: float) -> None:
        self.policy = policy
        self.first, self.last = first, last
        self._marks: deque[tuple[Position, float]] = deque([(last, now)])

    def note(self, last: Position, now: float) -> None:
        """The log has grown up to `last` by now."""
        self.last = last
        seconds = self.policy.seconds
        if seconds is not None and now - self._marks[-1][1] >= seconds / (2 * PART):
            self._marks.append((last, now))

    def due(self, now: float) -> Position | None:
        """The position before which everything may go; None where that is not worth it yet."""
        before = max(self._by_count(), self._by_age(now))
        return before if before > self.first else None

    def trimmed(self, first: Position) -> None:
        """Everything before `first` has gone."""
        self.first = max(self.first, first)

    def _by_count(self) -> Position:
        events = self.policy.events
        if events is None:
            return 0
        kept = self.last - self.first + 1
        return self.last - events + 1 if kept - events >= max(1, events // PART) else 0

    def _by_age(self, now: float) -> Position:
        """What stood at a mark that is old enough was written before it."""
        seconds = self.policy.seconds
        before = 0
        while seconds is not None and self._marks[0][1] <= now - seconds:
            before = self._marks[0][0] + 1
            if len(self._marks) == 1:
                break
            self._marks.popleft()
        return before

    def __repr__(self) -> str:
        return f"<Marks {self.first} … {self.last} of {self.policy}>"
