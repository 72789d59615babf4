"""Tails: the live edges in this process, one for each log that is written or read here."""

from collections.abc import Callable

from millstream.engine.replays import Replays
from millstream.engine.tail import Tail
from millstream.events import Position


class Tails:
    """The tails of this process, by run. One lives while somebody writes or reads its log."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.replays = Replays(now)
        """What is read behind them."""
        self._tails: dict[str, Tail] = {}
        self._writers: dict[str, int] = {}

    def get(self, run: str) -> Tail | None:
        """The run's tail, if it has one here."""
        return self._tails.get(run)

    def watch(self, run: str) -> Tail:
        """A reader comes. The tail is at 0 where nobody here knows the log yet: ask the store,
        and `advance` it."""
        tail = self._tails.get(run)
        if tail is None:
            tail = self._tails[run] = Tail(run, first=1, last=0, ended=False)
        tail.watchers += 1
        return tail

    def unwatch(self, tail: Tail) -> None:
        """That reader goes."""
        tail.watchers -= 1
        if tail.watchers == 0:
            tail.left_at = self._now()
        self._release(tail.run)

    def begin(self, run: str, *, last: Position) -> Tail:
        """A writer comes."""
        self._writers[run] = self._writers.get(run, 0) + 1
        tail = self._tails.get(run)
        if tail is None:
            tail = self._tails[run] = Tail(run, first=1, last=last, ended=False)
            tail.left_at = self._now()
        elif tail.last < last:
            tail.advance(first=1, last=last, ended=False)
        return tail

    def finish(self, run: str) -> None:
        """That writer goes."""
        self._writers[run] -= 1
        if not self._writers[run]:
            del self._writers[run]
        self._release(run)

    def _release(self, run: str) -> None:
        tail = self._tails.get(run)
        if tail and not tail.watchers and run not in self._writers:
            del self._tails[run]

    def unwritten(self) -> list[Tail]:
        """Tails of live logs that are read here and written elsewhere, if at all."""
        return [
            tail
            for run, tail in self._tails.items()
            if run not in self._writers and tail.last and not tail.ended
        ]

    def __len__(self) -> int:
        return len(self._tails)

    @property
    def watchers(self) -> int:
        """Readers that follow a log right now."""
        return sum(tail.watchers for tail in self._tails.values())
