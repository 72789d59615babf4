"""The shape of a pipeline: steps, arrows, and the scope each step works in. Pure data.

A **scope** says how often a step is called. `()` is once a run; `("urls",)` is once per element
of `urls`; `("urls", "links")` is once per link of each url. `Each` goes one level in, `list[...]`
of a mapped step goes one level out. A **path** is an item's numbers along its scope: `(3,)`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from millstream.errors import PipelineError
from millstream.policy import (
    DURABLE_BUFFER,
    Breaker,
    Buffer,
    Cache,
    ExecutorName,
    Processes,
    Publish,
    Retain,
    Retry,
)

Scope = tuple[str, ...]
Path = tuple[int, ...]


class Reading(Enum):
    """How a parameter reads its upstream."""

    VALUE = "value"
    """The upstream's value, or that of the same item; an outer one serves every item."""
    EACH = "each"
    """One call per element: starts a map."""
    ALL = "list"
    """One call with the values of all items of the upstream's map, in order."""
    STREAM = "stream"
    """One call with an async iterator over values while they are made."""
    BATCH = "batch"
    """One call per batch of messages (live pipelines)."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """`source` (a step, or the input's name) feeds `parameter` of `target`.

    `port` is the source's output port, `tag` what an `In` calls the arrow (None: values come
    bare), `buffer` what may wait on it (None: as the reading step says).
    """

    source: str
    target: str
    parameter: str
    reading: Reading
    annotation: Any = Any
    port: str = "out"
    tag: str | None = None
    buffer: Buffer | None = None

    @property
    def id(self) -> str:
        """Its name among all arrows: `source:port->target:parameter` (or its tag)."""
        return f"{self.source}:{self.port}->{self.target}:{self.tag or self.parameter}"


@dataclass(frozen=True, slots=True)
class Step:
    """One function with its policies, as declared. Durations in seconds."""

    name: str
    function: Callable[..., Any]
    arrows: tuple[Arrow, ...] = ()
    context: str | None = None
    yields: bool = False
    asynchronous: bool = False
    returns: Any = Any
    executor: ExecutorName | Processes = "inline"
    concurrency: int | None = None
    timeout: float | None = None
    retry: Retry | None = None
    fallback: Callable[..., Any] | None = None
    optional: bool = False
    internal: bool = False
    buffer: Buffer = DURABLE_BUFFER
    breaker: Breaker | None = None
    ports: tuple[str, ...] = ()
    publish: Publish = "always"
    sieves: bool = False
    """Whether it may return NOTHING."""
    cache: Cache | None = None

    @property
    def source(self) -> bool:
        """Whether it has no inputs (and so begins by itself)."""
        return not self.arrows

    @property
    def attempts(self) -> int:
        """How often it may be tried."""
        return self.retry.attempts if self.retry else 1

    @property
    def begins_anew(self) -> bool:
        """Whether it may yield a second time, perhaps other values."""
        return self.yields and (self.attempts > 1 or self.fallback is not None)


@dataclass(frozen=True, slots=True)
class Inlet:
    """How values come in at a step. `depth` is that of its own items; `depths` says how deep each
    parameter's arrow delivers, `inner` names those that deliver that deep, `outer` the others."""

    depth: int
    readings: Mapping[str, Reading]
    depths: Mapping[str, int]
    inner: tuple[str, ...]
    outer: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A pipeline, built: checked, ordered and immutable. Made by `build`."""

    name: str
    steps: Mapping[str, Step]
    """In an order in which every step stands after those it reads."""
    scopes: Mapping[str, Scope]
    """Of each step, and of the input."""
    input: str | None = None
    input_type: Any = None
    doc: str = ""
    live: bool = False
    """Whether messages pass between its steps without being logged."""
    keep: Retain | None = None
    """How much of a live graph's log is kept; None: all."""
    origins: Mapping[str, str | None] = field(default_factory=dict)
    """In a live graph: the step that numbers the messages which each step gives. None: it gives
    one value that serves all messages, like the input."""
    resolve: "Callable[[Any], Graph] | None" = None
    """Where each run has a graph of its own: how that is built from the run's input."""

    @cached_property
    def readers(self) -> Mapping[str, tuple[Arrow, ...]]:
        """The arrows that leave each step (and the input)."""
        names = [*self.steps, *([self.input] if self.input else [])]
        arrows = [arrow for step in self.steps.values() for arrow in step.arrows]
        return {name: tuple(a for a in arrows if a.source == name) for name in names}

    @cached_property
    def inlets(self) -> Mapping[str, Inlet]:
        """How values come in at each step."""
        return {step.name: self._inlet(step) for step in self.steps.values()}

    def _inlet(self, step: Step) -> Inlet:
        depth = len(self.scopes[step.name])
        depths: dict[str, int] = {}
        for arrow in step.arrows:
            source = self.steps.get(arrow.source)
            yields = source is not None and source.yields
            delivered = scope_of(arrow, self.scopes[arrow.source], source_yields=yields)
            depths[arrow.parameter] = len(delivered)
        return Inlet(
            depth=depth,
            readings={a.parameter: a.reading for a in step.arrows},
            depths=depths,
            inner=tuple(p for p, at in depths.items() if at == depth),
            outer=tuple(p for p, at in depths.items() if at < depth),
        )

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The published steps that nobody reads: their values are the run's result."""
        ends = [step for name, step in self.steps.items() if not self.readers[name]]
        return tuple(s.name for s in ends if not s.internal and s.publish != "never")

    @cached_property
    def descendants(self) -> Mapping[str, frozenset[str]]:
        """Every step that depends on a step (or the input), at any distance."""
        below: dict[str, frozenset[str]] = {}
        names: list[str] = [*([self.input] if self.input else []), *self.steps]
        for name in reversed(names):
            targets = [arrow.target for arrow in self.readers[name]]
            below[name] = frozenset(targets).union(*(below[target] for target in targets))
        return below

    @cached_property
    def maps(self) -> frozenset[str]:
        """The steps (or the input) whose elements start a map."""
        return frozenset(scope[-1] for scope in self.scopes.values() if scope)

    def flowing(self, step: Step) -> tuple[Arrow, ...]:
        """The arrows into a step of a live graph by which messages come, one after the other."""
        return tuple(a for a in step.arrows if self.origins.get(a.source) is not None)

    @cached_property
    def unsettled(self) -> frozenset[str]:
        """The steps whose value for one item may come again: something they read may be
        superseded after they have been called."""
        found: set[str] = set()
        for step in self.steps.values():
            if any(self._comes_again(arrow, found) for arrow in step.arrows):
                found.add(step.name)
        return frozenset(found)

    def _comes_again(self, arrow: Arrow, unsettled: Collection[str]) -> bool:
        if arrow.source in unsettled:
            return True
        source = self.steps.get(arrow.source)
        by_element = arrow.reading in (Reading.EACH, Reading.STREAM)
        return by_element and source is not None and source.begins_anew

    def repeats(self, name: str) -> bool:
        """Whether an element of this step can come again with another value: the step yields,
        and may be called more than once for the same item."""
        step = self.steps.get(name)
        return step is not None and step.yields and (step.begins_anew or name in self.unsettled)


def order(name: str, steps: Mapping[str, Step]) -> list[Step]:
    """Steps after those they read (ties in the order of declaration).

    Raises PipelineError for a cycle, naming the steps along it.
    """
    done: dict[str, Step] = {}
    waiting = dict(steps)
    while waiting:
        ready = [
            step
            for step in waiting.values()
            if all(arrow.source not in waiting for arrow in step.arrows)
        ]
        if not ready:
            around = " -> ".join(_cycle(waiting))
            raise PipelineError(
                f"pipeline {name!r}: the steps {around} wait for each other; "
                "rename a parameter so that one of them reads the input or an earlier step"
            )
        for step in ready:
            done[step.name] = waiting.pop(step.name)
    return list(done.values())


def _cycle(waiting: Mapping[str, Step]) -> Iterator[str]:
    """The names along one cycle, its first name again at the end."""
    trail: list[str] = [next(iter(waiting))]
    while True:
        step = waiting[trail[-1]]
        upstream = next(arrow.source for arrow in step.arrows if arrow.source in waiting)
        if upstream in trail:
            loop = trail[trail.index(upstream) :]
            return iter([upstream, *reversed(loop)])
        trail.append(upstream)


def scope_of(arrow: Arrow, source: Scope, *, source_yields: bool) -> Scope:
    """The scope in which one arrow delivers, given its source's scope."""
    match arrow.reading:
        case Reading.EACH:
            return (*source, arrow.source)
        case Reading.ALL:
            return source[:-1]
        case Reading.STREAM if not source_yields:
            return source[:-1]
        case _:
            return source


def joined(pipeline: str, step: Step, delivered: Mapping[str, Scope]) -> Scope:
    """The scope of a step: the innermost its parameters are delivered in.

    `delivered` maps each parameter to the scope of its arrow. Raises PipelineError where two
    parameters come from different maps.
    """
    holder = max(delivered, key=lambda parameter: len(delivered[parameter]), default="")
    scope = delivered.get(holder, ())
    for parameter, other in delivered.items():
        if scope[: len(other)] != other:
            raise PipelineError(
                f"pipeline {pipeline!r}, step {step.name!r}: parameter {parameter!r} comes once "
                f"per item of {other[-1]!r}, but {holder!r} once per item of {scope[-1]!r}; "
                f"collect one of them: annotate it list[...]"
            )
    return scope
