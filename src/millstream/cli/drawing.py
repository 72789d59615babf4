"""Graphs as text, and as Mermaid flowcharts. Pure; in the command line's room, reads `core.graph`.

Steps stand in an order in which each comes after those it reads, and those of one map together.
"""

import re
from collections.abc import Callable, Iterator

from millstream.core.graph import Arrow, Graph, Reading, Scope, Step
from millstream.policy import DURABLE_BUFFER, LIVE_BUFFER, Processes
from millstream.values import describe

READS = {
    Reading.VALUE: "{}",
    Reading.EACH: "each of {}",
    Reading.ALL: "list of {}",
    Reading.STREAM: "stream of {}",
}
LABELS = {Reading.EACH: "each", Reading.ALL: "list", Reading.STREAM: "stream"}


def arranged(graph: Graph) -> list[Step]:
    """Every step after those it reads; where there is a choice, the scope stays the same."""
    waiting, placed = dict(graph.steps), list[Step]()
    scope: Scope = ()
    while waiting:
        ready = [s for s in waiting.values() if all(a.source not in waiting for a in s.arrows)]
        near = max(ready, key=lambda step: _nearness(graph.scopes[step.name], scope))
        scope = graph.scopes[near.name]
        placed.append(waiting.pop(near.name))
    return placed


def _nearness(scope: Scope, last: Scope) -> tuple[int, int]:
    """A map is finished before it is left: few maps to leave, then few to enter."""
    shared = _shared(scope, last)
    return shared - len(last), shared - len(scope)


def _shared(a: Scope, b: Scope) -> int:
    """How many maps both are in."""
    return next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))


# --- text ----------------------------------------------------------------------------------------


def text(graph: Graph) -> str:
    """Columns: the step (indented by the maps it is in), what it reads, what it gives, policies."""
    rows: list[tuple[str, ...]] = []
    scope: Scope = ()
    for step in arranged(graph):
        now = graph.scopes[step.name]
        kept = _shared(scope, now)
        rows += [(f"{'  ' * depth}each of {now[depth]}:",) for depth in range(kept, len(now))]
        scope = now
        rows.append(
            (
                "  " * len(now) + step.name,
                ", ".join(_read(arrow) for arrow in step.arrows) or "-",
                _gives(step),
                "; ".join(policies(step, output=step.name in graph.outputs)),
            )
        )
    return "\n".join([*_head(graph), *_columns(("step", "reads", "gives", "policies"), rows)])


def _head(graph: Graph) -> Iterator[str]:
    yield f"pipeline {graph.name}" + (f": {graph.doc.strip().splitlines()[0]}" if graph.doc else "")
    if graph.input is not None:
        yield f"input {graph.input}: {describe(graph.input_type)}"
    yield ""


def _read(arrow: Arrow) -> str:
    return READS[arrow.reading].format(arrow.source)


def _gives(step: Step) -> str:
    returns = describe(step.returns)
    return f"{returns}, one by one" if step.yields else returns


def _columns(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A row of one cell is a heading, and counts for no width."""
    full = [titles, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[column]) for row in full) for column in range(len(titles))]
    for row in [titles, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join(["", *cells]).rstrip()


def policies(step: Step, *, output: bool = False) -> list[str]:
    """What a step is allowed and asked, in words; what is usual is left out."""
    rules: list[tuple[bool, Callable[[], str]]] = [
        (output, lambda: "output"),
        (step.source, lambda: "source"),
        (step.executor != "inline", lambda: _executor(step)),
        (step.concurrency is not None, lambda: f"{step.concurrency} at a time"),
        (step.timeout is not None, lambda: f"timeout {step.timeout:g} s"),
        (step.retry is not None, lambda: f"up to {step.attempts} attempts"),
        (step.fallback is not None, lambda: f"fallback {_named(step.fallback)}"),
        (step.optional, lambda: "optional"),
        (step.internal, lambda: "internal"),
        (step.buffer not in (DURABLE_BUFFER, LIVE_BUFFER), lambda: f"buffer {step.buffer.size}"),
    ]
    return [say() for holds, say in rules if holds]


def _executor(step: Step) -> str:
    if isinstance(step.executor, Processes):
        workers = step.executor.workers
        return f"{workers} processes" if workers else "a process a core"
    return step.executor


def _named(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)


# --- Mermaid -------------------------------------------------------------------------------------


def mermaid(graph: Graph) -> str:
    """A flowchart. What is mapped over stands in a box of its own; arrows say how they read."""
    ids = _ids(graph)
    lines = ["---", f"title: {graph.name}", "---", "flowchart LR"]
    if graph.input is not None:
        kind = describe(graph.input_type)
        lines.append(f"  {ids[graph.input]}([{_quoted(f'{graph.input}: {kind}')}])")
    lines += _boxes(graph, ids, ())
    for step in graph.steps.values():
        lines += [f"  {_arrow(arrow, ids)}" for arrow in step.arrows]
    outputs = [ids[name] for name in graph.outputs]
    if outputs:
        lines += ["  classDef output stroke-width:3px", f"  class {','.join(outputs)} output"]
    return "\n".join(lines)


def _ids(graph: Graph) -> dict[str, str]:
    """Names that Mermaid takes: its keywords (`end`) and other signs are none."""
    names = [*([graph.input] if graph.input else []), *graph.steps]
    return {
        name: f"{'in' if name == graph.input else 's'}{index}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        for index, name in enumerate(names)
    }


def _boxes(graph: Graph, ids: dict[str, str], scope: Scope) -> Iterator[str]:
    """The steps of one scope, then the scopes inside of it."""
    indent = "  " * (len(scope) + 1)
    for step in graph.steps.values():
        if graph.scopes[step.name] == scope:
            yield f"{indent}{ids[step.name]}{_node(step)}"
    for inner in _inner(graph, scope):
        yield f"{indent}subgraph each_{'_'.join(ids[name] for name in inner)}" + (
            f"[{_quoted(f'each of {inner[-1]}')}]"
        )
        yield from _boxes(graph, ids, inner)
        yield f"{indent}end"


def _inner(graph: Graph, scope: Scope) -> list[Scope]:
    depth = len(scope)
    found = (
        graph.scopes[name][: depth + 1]
        for name in graph.steps
        if len(graph.scopes[name]) > depth and graph.scopes[name][:depth] == scope
    )
    return list(dict.fromkeys(found))


def _node(step: Step) -> str:
    """A yielding step has several values: a stack of boxes, as flowcharts draw documents."""
    told = "<br/>".join([step.name, _gives(step), *policies(step)])
    return f"[[{_quoted(told)}]]" if step.yields else f"[{_quoted(told)}]"


def _arrow(arrow: Arrow, ids: dict[str, str]) -> str:
    label = LABELS.get(arrow.reading)
    joint = "-->" if label is None else f"-- {label} -->"
    return f"{ids[arrow.source]} {joint} {ids[arrow.target]}"


def _quoted(told: str) -> str:
    return '"' + told.replace('"', "#quot;") + '"'
