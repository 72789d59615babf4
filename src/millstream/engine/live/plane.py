"""Plane: a live run at work. Sources begin, messages pass, and when all sources have ended and
everything has drained, the run is through.

Lays the house (`layout`), runs its nodes, and rebuilds parts of it while it runs. What may be done
from outside is in `control`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from millstream.core.graph import Step
from millstream.engine.live.calls import LACKING, Calls
from millstream.engine.live.functions import AsyncNode, OrderedNode, SegmentNode
from millstream.engine.live.layout import Layout, Node
from millstream.engine.live.long import LongNode
from millstream.engine.live.source import SourceNode
from millstream.engine.live.statistics import Counts
from millstream.engine.work import RunFailed, Work
from millstream.errors import StepError
from millstream.events import STEP_RESULT

Fused = SegmentNode | SourceNode


class Plane:
    """One live run. `run` it; `layout` is there from then on."""

    def __init__(self, work: Work, input: Any, workers: Callable[[Step], int]) -> None:
        self.work, self._input, self._workers = work, input, workers
        self._layout: Layout | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()

    @property
    def layout(self) -> Layout | None:
        """The house; None before it is laid."""
        return self._layout

    async def run(self) -> None:
        """Until all has drained. Raises RunFailed where the run cannot go on."""
        constants = await self._constants()
        layout = self._layout = Layout(self.work, constants, self._workers)
        try:
            async with asyncio.TaskGroup() as self._group:
                self._begin(layout.lay())
        finally:
            self._group = None
            layout.reporter.close()
            self._settle(layout)

    def _begin(self, nodes: list[Node]) -> None:
        assert self._group is not None
        for node in nodes:
            self._tasks[node] = self._group.create_task(node.run())

    def _settle(self, layout: Layout) -> None:
        """What `run.completed` says of the work."""
        tally = self.work.tally
        for counts in layout.counts.values():
            tally.calls += counts.made + counts.filtered + counts.failed
            tally.failed += counts.failed
            if counts.state == "running":
                counts.state = "ended"
            if counts.failed:
                told = _told(counts.name, layout.reporter.last[counts.name])
                self.work.missing[counts.name, ()] = {**told, "count": counts.failed}

    # --- values that serve all messages -----------------------------------------------------

    async def _constants(self) -> dict[str, Any]:
        """The input, and what steps without messages make of it, each called once."""
        graph = self.work.graph
        found: dict[str, Any] = {graph.input: self._input} if graph.input else {}
        for step in graph.steps.values():
            if graph.origins[step.name] is None:
                found[step.name] = await self._constant(step, found)
        return found

    async def _constant(self, step: Step, known: dict[str, Any]) -> Any:
        given = {arrow.parameter: known[arrow.source] for arrow in step.arrows}
        last: list[StepError] = []
        counts = Counts(step.name, "constant", self.work.now())
        calls = Calls(self.work, step, (), given, counts, _Collecting(last))
        made = await calls.perform(0, ())
        if last:
            if not step.optional:
                self.work.stopping = True
                raise RunFailed(step.name, last[0])
            self.work.missing[step.name, ()] = _told(step.name, last[0])
        value = None if made.value is LACKING else made.value
        if step.publish == "always" or (step.publish == "watched" and self.work.watched()):
            self.work.journal.append(STEP_RESULT, step=step.name, data=value)
        return value

    # --- changes while it runs --------------------------------------------------------------

    async def isolate(self, name: str) -> Node:
        """The step's node, with no other step in it: it is taken out of its segment first."""
        layout = self._layout
        assert layout is not None, "the run has begun"
        while self._fused(layout, name) and self._group is not None:
            async with self._changing:
                if self._fused(layout, name):
                    await self._group.create_task(self._take_apart(layout, name))
        return layout.nodes[name]

    def _fused(self, layout: Layout, name: str) -> bool:
        """Whether it runs as one call with others."""
        return any(name in group and len(group) > 1 for group in layout.groups)

    async def _take_apart(self, layout: Layout, name: str) -> None:
        """Let the segment come to rest between two blocks; lay new ones in its place."""
        node = layout.nodes[name]
        assert isinstance(node, Fused), "only segments have several steps"
        self._note_inside(layout, node)
        await self._rest(node)
        layout.apart.add(name)
        made = layout.lay()
        for new in made:
            if isinstance(new, Fused):
                new.turns.pending = list(node.turns.pending)
            if isinstance(new, SourceNode) and isinstance(node, SourceNode):
                new.take_over(node)
        if isinstance(node, SegmentNode):
            node.inbox.interrupt(False)
        self._begin(made)

    async def exchange(self, name: str, function: Callable[..., Any]) -> None:
        """From the next message on this function is the step; the others go on undisturbed."""
        layout = self._layout
        assert layout is not None, "the run has begun"
        layout.functions[name] = function
        node = layout.nodes[name]
        if isinstance(node, LongNode):
            expands = layout.counts[name].kind == "expand"
            node.function = layout.expanding(node.step, function) if expands else function
            await node.break_off()
        elif isinstance(node, AsyncNode | OrderedNode):
            node.calls.exchange(function)
        elif isinstance(node, SourceNode) and name == node.counts.name:
            node.function = function
            node.restart()
        else:
            node.turns.segment.exchange(name, function)

    async def _rest(self, node: Fused) -> None:
        """Until the node has come to rest."""
        if isinstance(node, SourceNode):
            node.interrupt()
        else:
            node.turns.interrupt()
            node.inbox.interrupt(True)
        task = self._tasks.pop(node)
        await asyncio.wait([task])

    def _note_inside(self, layout: Layout, node: Fused) -> None:
        segment = node.turns.segment
        for arrow in layout.arrows():
            if arrow.id not in layout.channels and layout.nodes[arrow.target] is node:
                inside = segment.inside(arrow.source, arrow.port)
                layout.passed_inside[arrow.id] = layout.passed_inside.get(arrow.id, 0) + inside


class _Collecting:
    """Stands in for the reporter: failures of steps that are called once, before all others."""

    def __init__(self, into: list[StepError]) -> None:
        self._into = into

    def failed(self, counts: Counts, number: int | None, error: StepError) -> None:
        """Keep it."""
        self._into.append(error)


def _told(step: str, error: StepError) -> dict[str, Any]:
    return {"step": step, "code": error.code, "message": error.message}
