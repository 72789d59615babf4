"""What all the steps of one run share; and values that are still as the log has them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from millstream import values
from millstream.context import Facts
from millstream.core.graph import Arrow, Graph, Path, Reading, Step, scope_of
from millstream.core.recovery import INPUT_FAILED, Recovered
from millstream.core.retry import Budget
from millstream.engine.caching import Caching
from millstream.engine.executor import Executor
from millstream.engine.journal import Journal
from millstream.engine.observer import Observer
from millstream.errors import StepError
from millstream.events import STEP_FAILED
from millstream.policy import Processes
from millstream.store import Run

NOT_NEEDED: Final = object()
"""In the place of an internal step's value after a crash, where every reader is done already."""


class RunFailed(Exception):
    """A step that the run cannot do without has failed for good."""

    def __init__(self, step: str, error: StepError) -> None:
        super().__init__(f"step {step!r}: {error.message}")
        self.step, self.error = step, error


class Logged:
    """A value as the log has it; decoded when somebody asks."""

    __slots__ = ("_decode", "_raw", "_value")

    def __init__(self, raw: bytes, decode: values.Decoder) -> None:
        self._raw: bytes | None = raw
        self._decode = decode
        self._value: Any = None

    def load(self) -> Any:
        """The value; the same object each time."""
        if self._raw is not None:
            self._value, self._raw = self._decode(self._raw), None
        return self._value


def load(value: Any, depth: int = 2) -> Any:
    """A value, decoded if it still is as logged. So are a list's elements, and theirs: `list[...]`
    of a mapped step that yields is a list of lists of values."""
    if type(value) is Logged:
        return value.load()
    if type(value) is list and depth:
        return [load(each, depth - 1) for each in value]
    return value


class Tally(Struct):
    """What `run.completed` says of the work."""

    calls: int = 0
    retries: int = 0
    failed: int = 0
    cached: int = 0


@dataclass(slots=True)
class Work:
    """One run being worked on: its graph, its log, and what its steps may use.

    `recovered` is None unless the run goes on from an earlier worker's log. `missing` says what
    failed for good, by step and path. `under_way` has every call, and how to
    say that it was broken off. `stopping` is true from when the run is to end anyway.
    """

    graph: Graph
    run: Run
    journal: Journal
    recovered: Recovered | None
    now: Callable[[], float]
    chance: Callable[[], float]
    executor: Callable[[Step], Executor]
    budget: Callable[[str, Step], Budget | None]
    observer: Observer
    tally: Tally = field(default_factory=Tally)
    missing: dict[tuple[str, Path], dict[str, Any]] = field(default_factory=dict)
    under_way: dict[tuple[str, Path], Callable[[], None]] = field(default_factory=dict)
    stopping: bool = False
    watched: Callable[[], bool] = bool
    caching: Caching | None = None

    def facts(self, step: Step, item: int | None, attempt: int) -> Facts:
        """What the step's Context says."""
        return Facts(
            run=self.run.id,
            pipeline=self.graph.name,
            step=step.name,
            item=item,
            attempt=attempt,
            deadline=self.run.deadline,
            owner=self.run.owner,
            created=self.run.created,
        )

    def remaining(self) -> float | None:
        """Seconds to the run's deadline, or None."""
        return None if self.run.deadline is None else self.run.deadline - self.now()

    def tell_skipped(self, step: str, path: Path, attempt: int) -> None:
        """An input of this item has failed, after something of it had been logged."""
        data = {
            "code": INPUT_FAILED,
            "message": "an input of this item has failed, so the item is skipped",
            "retryable": False,
            "will_retry": False,
            "fallback": False,
        }
        item = path[-1] if path else None
        self.journal.append(STEP_FAILED, step=step, item=item, attempt=attempt, data=data)

    def needed(self, step: str, path: Path) -> bool:
        """Whether, after a crash, anybody still needs an internal step's value for this item."""
        if self.recovered is None:
            return True
        readers = self.graph.readers[step]
        if not readers:
            item = path[-1] if path else None
            return not self.recovered.trace(step, item).finished
        return any(self._unfinished(arrow, path) for arrow in readers)

    def _unfinished(self, arrow: Arrow, path: Path) -> bool:
        """Whether a call that reads this item is still to be made. Where several calls do (the
        value serves every item of a map) that is taken for granted."""
        reader, source = arrow.target, self.graph.steps[arrow.source]
        delivered = scope_of(arrow, self.graph.scopes[source.name], source_yields=source.yields)
        depth = len(self.graph.scopes[reader])
        if depth > len(delivered) or depth > len(path) or self.recovered is None:
            return True
        below = path[:depth]
        if self.graph.steps[reader].internal:
            return self.needed(reader, below)
        return (reader, below[-1] if below else None) not in self.recovered.outcomes


def default_concurrency(step: Step, depth: int, workers: int) -> int | None:
    """How many items at a time where the step does not say; None: as many as come."""
    if step.concurrency is not None:
        return step.concurrency
    if any(arrow.reading is Reading.STREAM for arrow in step.arrows):
        return None if depth else 1
    if step.executor == "thread":
        return 8
    if step.executor == "process" or isinstance(step.executor, Processes):
        return max(1, workers)
    return 1
