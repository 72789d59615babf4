"""Board: which steps and items are at work right now. A fold over events, in the command line's
room; pure, and knows no terminal.
"""

from dataclasses import dataclass

from millstream import events
from millstream.events import Event

Key = tuple[str, int | None]


@dataclass
class Row:
    """One step, or one of its items, at work."""

    attempt: int = 1
    fraction: float | None = None
    message: str = ""
    values: int = 0
    waiting: bool = False
    """Between two attempts."""


class Board:
    """Events in; rows of what is at work, and counts of what is done."""

    def __init__(self) -> None:
        self.run = ""
        self.state = "queued"
        self.rows: dict[Key, Row] = {}
        self.done: dict[str, int] = {}
        self.failed: dict[str, int] = {}

    def apply(self, event: Event) -> None:
        """One event."""
        self.run = event.run
        if event.type == events.RUN_STARTED:
            self.state = "running"
        elif event.terminal:
            self.state = event.type.removeprefix("run.")
            self.rows.clear()
        elif event.step is not None:
            self._step((event.step, event.item), event)

    def _step(self, key: Key, event: Event) -> None:
        match event.type:
            case events.STEP_STARTED:
                self.rows[key] = Row(attempt=event.attempt)
            case events.STEP_PROGRESS:
                self._progress(self._row(key), event)
            case events.STEP_PARTIAL:
                self._row(key).values += 1
            case events.STEP_RESULT:
                self._end(key, self.done)
            case events.STEP_FAILED:
                self._failed(key, event)

    def _row(self, key: Key) -> Row:
        """A step that was at work before our cursor has no row yet."""
        return self.rows.setdefault(key, Row())

    def _progress(self, row: Row, event: Event) -> None:
        data = event.value if isinstance(event.value, dict) else {}
        fraction = data.get("fraction")
        row.fraction = fraction if isinstance(fraction, int | float) else None
        row.message = str(data.get("message") or "")

    def _failed(self, key: Key, event: Event) -> None:
        data = event.value if isinstance(event.value, dict) else {}
        if data.get("will_retry") or data.get("fallback"):
            row = self._row(key)
            row.waiting, row.fraction = True, None
            row.message = str(data.get("message") or "")
        else:
            self._end(key, self.failed)

    def _end(self, key: Key, counts: dict[str, int]) -> None:
        self.rows.pop(key, None)
        counts[key[0]] = counts.get(key[0], 0) + 1

    def __repr__(self) -> str:
        done, failed = sum(self.done.values()), sum(self.failed.values())
        return f"<Board {self.state}: {len(self.rows)} at work, {done} done, {failed} failed>"
