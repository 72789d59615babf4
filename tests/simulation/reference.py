"""A naive interpreter of the same pipelines: recursion over paths, no tasks, no log, no clock.

Which attempt of a step counts is not its business: that is asked of `final`, which is either
worked out from the policies alone (`ByPolicy`) or read from the log (`ByLog`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from millstream.core.graph import Graph, Path, Reading
from millstream.events import STEP_FAILED, STEP_RESULT, Event
from tests.simulation.shapes import (
    Book,
    Key,
    Plan,
    Read,
    Shape,
    breaks_at,
    failures,
    fallback_fails,
    key_of,
    value,
)


class Fail:
    """In the place of a value that there is not."""

    def __repr__(self) -> str:
        return "FAIL"


FAIL = Fail()


class Final(Protocol):
    """Which attempt of a call counts, and whether it was the fallback; None where it failed."""

    def __call__(self, shape: Shape, key: Key, /) -> tuple[int, bool] | None: ...

    def known(self, shape: Shape, key: Key) -> bool:
        """Whether the call is known to have come to its end."""
        ...

    def stands(self, shape: Shape, key: Key) -> int | None:
        """How many values of a call that failed still stand; None where that is not known."""
        ...


class RunFails(Exception):
    """A step outside of every map has failed for good, and is not optional."""


@dataclass
class Meant:
    """What a run must come to. `result` has each output's value; lists of inner maps are sorted."""

    result: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


class ByPolicy:
    """The attempt that counts if nothing ever interferes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, shape: Shape, key: Key, /) -> tuple[int, bool] | None:
        failing = failures(self.plan, shape, key)
        if failing < shape.attempts:
            return failing + 1, False
        if shape.fallback and not fallback_fails(self.plan, shape, key):
            return shape.attempts + 1, True
        return None

    def known(self, shape: Shape, key: Key) -> bool:
        return True

    def stands(self, shape: Shape, key: Key) -> int | None:
        return None


class ByLog:
    """The attempt that the log says counts. (An internal step that was broken off is not made
    again where its readers had enough already: for these the policy is asked.)"""

    def __init__(self, plan: Plan, book: Book, events: Sequence[Event]) -> None:
        self.policy = ByPolicy(plan)
        self.found: dict[tuple[str, Key], tuple[int, bool] | None] = {}
        self.standing: dict[tuple[str, Key], int] = {}
        for event in events:
            self._apply(book, event)

    def _apply(self, book: Book, event: Event) -> None:
        step = event.step or ""
        if event.type == STEP_RESULT:
            key = book.keys.get((step, event.item, event.attempt, event.fallback))
            if key is not None:
                self.found[step, key] = (event.attempt, event.fallback)
        elif event.type == STEP_FAILED and not (
            event.value["will_retry"] or event.value["fallback"]
        ):
            for fallback in (False, True):
                key = book.keys.get((step, event.item, event.attempt, fallback))
                if key is not None and event.value["code"] != "input_failed":
                    self.found[step, key] = None
                    self.standing[step, key] = event.count or 0

    def __call__(self, shape: Shape, key: Key, /) -> tuple[int, bool] | None:
        if shape.internal and not self.known(shape, key):
            return self.policy(shape, key)
        assert self.known(shape, key), f"{shape.name} was never finished for {key}"
        return self.found[shape.name, key]

    def known(self, shape: Shape, key: Key) -> bool:
        return (shape.name, key) in self.found

    def stands(self, shape: Shape, key: Key) -> int | None:
        return self.standing.get((shape.name, key)) if shape.timeout else None


class Interpreter:
    """Evaluates every step at every path."""

    def __init__(self, plan: Plan, graph: Graph, final: Final) -> None:
        self.plan, self.graph, self.final = plan, graph, final
        self.shapes = {shape.name: shape for shape in plan.shapes}
        self.values: dict[str, dict[Path, Any]] = {"x": {(): plan.input}}
        self.elements: dict[str, dict[Path, list[Any]]] = {"x": {(): plan.input}}
        self.broken: dict[str, set[Path]] = {"x": set()}
        self.meant = Meant()

    def run(self) -> Meant:
        """What the run must come to."""
        for shape in self.plan.shapes:
            self.values[shape.name], self.elements[shape.name] = {}, {}
            self.broken[shape.name] = set()
            for path in self._paths(self.graph.scopes[shape.name]):
                self._evaluate(shape, path)
        for name in self.graph.outputs:
            self.meant.result[name] = self._output(name)
        return self.meant

    def _paths(self, scope: tuple[str, ...]) -> list[Path]:
        if not scope:
            return [()]
        inner = self.elements[scope[-1]]
        return [
            (*path, index)
            for path in self._paths(scope[:-1])
            for index in range(len(inner.get(path, ())))
        ]

    def _evaluate(self, shape: Shape, path: Path) -> None:
        arguments = {read.source: self._read(shape, read, path) for read in shape.reads}
        if any(given is FAIL for given in arguments.values()):
            arguments = self._enough(shape, path, arguments)
        if any(given is FAIL for given in arguments.values()):
            self._fail(shape, path, [])
            return
        key = key_of(shape, arguments)
        counts = self.final(shape, key)
        if counts is None:
            self._note_missing(shape, path)
            self._fail(shape, path, self._left_behind(shape, key), own=True)
            return
        given = value(self.plan, shape, key, *counts)
        self.values[shape.name][path] = given
        self.elements[shape.name][path] = given if isinstance(given, list) else []

    def _enough(self, shape: Shape, path: Path, arguments: dict[str, Any]) -> dict[str, Any]:
        """A reader that stops early may have had enough before its stream failed: the log says."""
        if not shape.stops_after or shape.stream is None:
            return arguments
        left = self.elements[shape.stream].get(path, [])[: shape.stops_after]
        tried = {**arguments, shape.stream: left}
        if any(given is FAIL for given in tried.values()) or len(left) < shape.stops_after:
            return arguments
        return tried if self.final.known(shape, key_of(shape, tried)) else arguments

    def _note_missing(self, shape: Shape, path: Path) -> None:
        self.meant.missing[shape.name] = self.meant.missing.get(shape.name, 0) + 1
        if not path and not shape.optional:
            self.meant.failed.add(shape.name)

    def _fail(self, shape: Shape, path: Path, left: list[Any], *, own: bool = False) -> None:
        self.values[shape.name][path] = None if shape.optional and own else FAIL
        self.elements[shape.name][path] = left
        self.broken[shape.name].add(path)

    def _left_behind(self, shape: Shape, key: Key) -> list[Any]:
        """The values that a step had yielded before it failed for good."""
        if shape.gives != "yields":
            return []
        own = value(self.plan, shape, key, 1, False)
        standing = self.final.stands(shape, key)
        if standing is not None:
            return own[:standing]
        left = own[: breaks_at(self.plan, shape, key, 1, len(own))]
        if not shape.fallback:
            return left
        other = value(self.plan, shape, key, 2, True)
        other = other[: breaks_at(self.plan, shape, key, 2, len(other))]
        return other + left[len(other) :]

    # --- what a parameter gets ----------------------------------------------------------------

    def _read(self, shape: Shape, read: Read, path: Path) -> Any:
        source, depth = read.source, len(self.graph.scopes[read.source])
        at = path[:depth]
        match read.reading:
            case Reading.VALUE:
                return self.values[source][at]
            case Reading.EACH:
                return self.elements[source][at][path[depth]]
            case Reading.ALL:
                return self._all(source, path[: depth - 1])
            case _:
                return self._stream(shape, source, path)

    def _all(self, source: str, prefix: Path) -> Any:
        mapped = self.graph.scopes[source][-1]
        if self._fails(mapped, prefix):
            return FAIL
        count = len(self.elements[mapped].get(prefix, ()))
        found = [self.values[source][*prefix, index] for index in range(count)]
        return [each for each in found if each is not FAIL]

    def _fails(self, name: str, path: Path) -> bool:
        return name != "x" and self.values[name].get(path, FAIL) is FAIL

    def _stream(self, shape: Shape, source: str, path: Path) -> Any:
        if self.shapes[source].gives != "yields":
            found = self._all(source, path[: len(self.graph.scopes[source]) - 1])
            return found if found is FAIL else sorted(found, key=repr)
        if self._fails(source, path):
            return FAIL
        found = self.elements[source][path]
        if shape.stops_after:
            return found[: shape.stops_after]
        return sorted(found, key=repr)

    # --- what clients read --------------------------------------------------------------------

    def _output(self, name: str) -> Any:
        shape, scope = self.shapes[name], self.graph.scopes[name]
        shown = {path: self._shown(shape, path) for path in self._paths(scope)}
        if not scope:
            return shown[()]
        found = [each for each in shown.values() if each is not None]
        return found if len(scope) == 1 else sorted(found, key=repr)

    def _shown(self, shape: Shape, path: Path) -> Any:
        if path in self.broken[shape.name]:
            return self.elements[shape.name][path] or None
        return self.values[shape.name][path]
