"""What a run has come to: a fold over its events into the document that clients read.

The newest attempt counts (law 7). A yielding step's value is the list of its partials. With one
output step `result` is its value, with several an object by step name; a mapped step's value is
the list of its items' values in order, those without one left out (and named in `missing`).
"""

from typing import Any

from msgspec import Struct

from millstream.core.graph import Graph
from millstream.core.lineage import Key, Lineage
from millstream.core.recovery import INPUT_FAILED
from millstream.events import STEP_FAILED, STEP_PARTIAL, STEP_RESULT, Event


class Document(Struct):
    """A run, as clients read it (DESIGN section 6). Times are RFC 3339 strings."""

    id: str
    pipeline: str
    state: str
    tier: str
    created: str
    started: str | None
    ended: str | None
    seq: int
    result: Any
    partial: bool
    missing: list[dict[str, Any]]
    error: dict[str, Any] | None


class _Cell(Struct):
    """One step's value for one item, so far."""

    done: bool = False
    failed: bool = False
    value: Any = None
    partials: list[Any] = []

    def holds(self, index: int) -> bool:
        """Whether the value has such an element, as far as can be told."""
        if self.failed:
            return index < len(self.partials)
        return not (self.done and isinstance(self.value, list)) or index < len(self.value)


class Fold:
    """Events in, in order; `result`, `missing`, `error` and the like out at any time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.wanted = frozenset(graph.outputs) | graph.maps
        self.cells: dict[str, dict[int | None, _Cell]] = {name: {} for name in self.wanted}
        self.lineage = Lineage(graph)
        self.failures: dict[tuple[str, int | None], dict[str, Any]] = {}
        self.started: str | None = None
        self.ended: str | None = None
        self.state = "queued"
        self.seq = 0
        self.error: dict[str, Any] | None = None
        self.completion: dict[str, Any] = {}

    def apply(self, event: Event) -> None:
        """One event."""
        self.seq = event.seq
        if event.type.startswith("run."):
            self._run(event)
        elif event.step is not None and event.step in self.graph.steps:
            self._step(event)

    def _run(self, event: Event) -> None:
        match event.type:
            case "run.started":
                self.state, self.started = "running", self.started or event.time
            case "run.completed":
                self.state, self.ended = "completed", event.time
                self.completion = event.value or {}
            case "run.failed" | "run.cancelled":
                self.state, self.ended = event.type.removeprefix("run."), event.time
                self.error = event.value

    def _step(self, event: Event) -> None:
        if self.graph.live:
            self._flowing(event)
            return
        key = (event.step or "", event.item)
        cell = self.cells[key[0]].get(event.item) if key[0] in self.wanted else None
        if event.type == STEP_FAILED:
            self._failed(key, cell, event)
            return
        if event.type == STEP_RESULT:
            self.failures.pop(key, None)
        if key[0] not in self.wanted or event.type not in (STEP_PARTIAL, STEP_RESULT):
            return
        cell = self.cells[key[0]].setdefault(event.item, _Cell(partials=[]))
        if event.type == STEP_PARTIAL:
            self._partial(key, cell, event)
        elif event.type == STEP_RESULT:
            cell.done, cell.failed = True, False
            cell.value = cell.partials[: event.count] if event.count is not None else event.value
            self._note_elements(key, cell.value)

    def _flowing(self, event: Event) -> None:
        """Of a live run the newest value of each output counts, and that something failed."""
        name, data = event.step or "", event.value
        if event.type in (STEP_PARTIAL, STEP_RESULT) and name in self.wanted:
            self.cells[name] = {None: _Cell(done=True, value=data)}
        elif event.type == STEP_FAILED and not data.get("will_retry"):
            earlier = self.failures.get((name, None), {"count": 0})["count"]
            self.failures[name, None] = {
                "step": name,
                "code": data.get("code"),
                "message": data.get("message"),
                "count": earlier + data.get("count", 1),
            }

    def _failed(self, key: Key, cell: _Cell | None, event: Event) -> None:
        data = event.value or {}
        if data.get("will_retry") or data.get("fallback"):
            return
        if cell is not None:
            cell.done, cell.failed = False, True
            del cell.partials[event.count or 0 :]
        if data.get("code") == INPUT_FAILED:
            self.failures.pop(key, None)
            return
        told = {"step": key[0], "code": data.get("code"), "message": data.get("message")}
        self.failures[key] = told if event.item is None else {**told, "item": event.item}

    def _partial(self, key: Key, cell: _Cell, event: Event) -> None:
        index = len(cell.partials) if event.index is None else event.index
        if index < len(cell.partials):
            cell.partials[index] = event.value
        else:
            cell.partials.append(event.value)
        self.lineage.note(*key, index)

    def _note_elements(self, key: Key, value: Any) -> None:
        if key[0] in self.graph.maps and isinstance(value, list):
            for index in range(len(value)):
                self.lineage.note(*key, index)

    # --- answers ----------------------------------------------------------------------------

    @property
    def missing(self) -> list[dict[str, Any]]:
        """What failed for good, by step and item: none of it is in the result."""
        if "missing" in self.completion:
            return self.completion["missing"]
        listed = sorted(self.failures.items(), key=lambda kv: (kv[0][0], kv[0][1] or 0))
        return [told for (step, item), told in listed if self._counts(step, item)]

    @property
    def partial(self) -> bool:
        """Whether the run completed without some part."""
        return bool(self.completion.get("partial"))

    def value(self, step: str) -> Any:
        """One output's value so far: partials while it still yields, None before anything."""
        cells = self.cells.get(step, {})
        if not self.graph.scopes[step]:
            return _shown(cells.get(None))
        return [_shown(cells[item]) for item in self._items(step) if _has_value(cells[item])]

    def _items(self, step: str) -> list[int]:
        """The items of a mapped step that count."""
        items = sorted(item for item in self.cells[step] if item is not None)
        return [item for item in items if self._counts(step, item)]

    def _counts(self, step: str, item: int | None) -> bool:
        """Whether there is such an item: a second attempt of a step that is mapped over may have
        yielded fewer."""
        for name in reversed(self.graph.scopes[step]):
            if item is None:
                return True
            item, index = self.lineage.place(name, item)
            cell = self.cells[name].get(item)
            if cell and not cell.holds(index):
                return False
        return True

    def result(self) -> Any:
        """The value of the output step, or of each by name where there are several."""
        outputs = self.graph.outputs
        if len(outputs) == 1:
            return self.value(outputs[0])
        return {name: self.value(name) for name in outputs}


def _has_value(cell: _Cell) -> bool:
    return cell.done or bool(cell.partials)


def _shown(cell: _Cell | None) -> Any:
    if cell is None:
        return None
    return cell.value if cell.done else (cell.partials or None)
