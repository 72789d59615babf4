"""Which steps run as one call, and the program of each such segment. Pure; runs nothing.

Neighbours are fused where each message takes the same way through all of them: plain inline
functions on one origin's messages, without policies of their own, over arrows that lose nothing.
What follows the first step of a segment reads only steps of that segment.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from millstream.core.graph import Arrow, Graph, Reading, Step
from millstream.engine.live.code import Names, Operation, Program, Variable

Port = tuple[str, str]
"""A step and one of its ports."""

Groups = list[list[str]]


def fusible(step: Step) -> bool:
    """Whether a step may run in one call with its neighbours (a source: may drive them)."""
    policies = (step.timeout, step.fallback, step.breaker)
    return (
        step.executor == "inline"
        and not step.asynchronous
        and step.concurrency in (None, 1)
        and all(policy is None for policy in policies)
        and (step.retry is None or step.yields)
    )


def is_source(graph: Graph, step: Step) -> bool:
    """Whether its messages begin with it."""
    return step.yields and not graph.flowing(step)


def groups(graph: Graph, apart: Collection[str] = ()) -> Groups:
    """The segments, each in order, its first step first. Every fusible step that takes or gives
    messages is in one. `apart` names steps that are to be on their own."""
    found: Groups = []
    group: dict[str, list[str]] = {}
    for step in graph.steps.values():
        if not fusible(step) or graph.origins[step.name] is None:
            continue
        flowing = graph.flowing(step)
        if step.yields and flowing:
            continue
        homes = [group.get(arrow.source) for arrow in flowing]
        home = homes[0] if homes else None
        joins = (
            home is not None
            and all(each is home for each in homes)
            and step.name not in apart
            and home[0] not in apart
            and graph.origins[step.name] == graph.origins[flowing[0].source]
            and all(_soft(arrow, step) for arrow in flowing)
        )
        if not joins or home is None:
            home = []
            found.append(home)
        home.append(step.name)
        group[step.name] = home
    return found


def _soft(arrow: Arrow, step: Step) -> bool:
    """Whether the arrow needs no buffer of its own."""
    buffer = arrow.buffer or step.buffer
    plain = not buffer.lossy and not buffer.adaptive and arrow.tag is None
    return plain and arrow.reading in (Reading.EACH, Reading.VALUE)


def program(
    graph: Graph,
    names: Sequence[str],
    constants: Callable[[Step], Mapping[str, Any]],
    functions: Mapping[str, Callable[..., Any]],
) -> tuple[Program, dict[Port, Variable]]:
    """The program of a segment, and the variable of each port. `constants` gives a step's other
    arguments; `functions` those that have been exchanged since the graph was built."""
    writing = _Writing(graph, constants, functions)
    head, *others = (graph.steps[name] for name in names)
    if is_source(graph, head):
        writing.source(head)
    else:
        writing.enter(head)
        others = [head, *others]
    for step in others:
        writing.step(step)
    return Program(writing.entries, tuple(writing.operations), writing.whole), writing.variables


class _Writing:
    def __init__(
        self,
        graph: Graph,
        constants: Callable[[Step], Mapping[str, Any]],
        functions: Mapping[str, Callable[..., Any]],
    ) -> None:
        self.graph, self.constants, self.functions = graph, constants, functions
        self.names = Names()
        self.variables: dict[Port, Variable] = {}
        self.entered: dict[str, Variable] = {}
        self.entries: tuple[Variable, ...] = ()
        self.whole: tuple[Step, Variable] | None = None
        self.operations: list[Operation] = []

    def source(self, step: Step) -> None:
        """Messages come from a source that is part of the segment."""
        if not step.ports:
            self.variables[step.name, "out"] = Variable(self.names.new(step.name))
        else:
            self.whole = step, Variable(self.names.new(step.name))
            self.variables |= self._ports(step, frozenset())
        self.entries = tuple(self.variables.values())

    def enter(self, head: Step) -> None:
        """Messages come by the arrows of the first step."""
        for arrow in self.graph.flowing(head):
            if arrow.parameter not in self.entered:
                self.entered[arrow.parameter] = Variable(self.names.new(arrow.parameter))
        self.entries = tuple(self.entered.values())

    def step(self, step: Step) -> None:
        """One operation more."""
        first = not self.operations and self.whole is None and bool(self.entered)
        arguments = {
            arrow.parameter: self.entered[arrow.parameter]
            if first
            else self.variables[arrow.source, arrow.port]
            for arrow in self.graph.flowing(step)
        }
        guard = frozenset[str]().union(*(variable.needs for variable in arguments.values()))
        result = Variable(self.names.new(step.name), sieved=step.sieves, guard=guard)
        outs = self._ports(step, result.needs)
        self.variables |= outs or {(step.name, "out"): result}
        function = self.functions.get(step.name)
        self.operations.append(
            Operation(
                step=step,
                function=function or step.function,
                arguments=arguments,
                constants=self.constants(step),
                result=result,
                outs={port: variable for (_, port), variable in outs.items()},
            )
        )

    def _ports(self, step: Step, guard: frozenset[str]) -> dict[Port, Variable]:
        return {
            (step.name, port): Variable(
                self.names.new(f"{step.name}_{port}"), sieved=True, guard=guard
            )
            for port in step.ports
        }
