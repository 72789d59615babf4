"""Pipeline: declaring a graph of typed functions, and checking it.

A parameter's name is an arrow: named after a step, it takes that step's value; the one other
name is the pipeline's input. Everything that can be wrong with a graph is said when it is built,
with the step, the parameter and the fix.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any, TypeVar, overload

from millstream import cached
from millstream.annotations import From
from millstream.building.drafts import Declared, drafts
from millstream.building.durable import durable_graph
from millstream.building.functions import Kind, hints_of
from millstream.building.live import live_graph
from millstream.building.places import at
from millstream.core.graph import Graph, Step
from millstream.errors import PipelineError, did_you_mean
from millstream.policy import (
    DURABLE_BUFFER,
    LIVE_BUFFER,
    Breaker,
    Buffer,
    Cache,
    ExecutorName,
    Processes,
    Publish,
    Retain,
    Retry,
)

F = TypeVar("F", bound=Callable[..., Any])
Buffers = int | Buffer | Mapping[str, int | Buffer]


class Pipeline:
    """A named graph of steps.

    >>> crawl = Pipeline("crawl")
    >>> @crawl.step
    ... async def title(url: str) -> str: ...
    """

    def __init__(
        self, name: str, *, doc: str = "", live: bool = False, keep: Retain | None = None
    ) -> None:
        if not name or not name.replace("-", "_").isidentifier():
            raise PipelineError(
                f"pipeline name {name!r}: use letters, digits, '_' and '-', not a digit first; "
                "it stands in URLs"
            )
        self.name = name
        self.doc = doc
        self.live = live
        self.keep = keep
        if keep is not None and not live:
            raise PipelineError(
                f"pipeline {name!r}: keep={keep} needs live=True; a run that ends goes on after a "
                "crash by what its log says, so its log is kept whole"
            )
        self._declared: dict[str, Declared] = {}
        self._graph: Graph | None = None

    @overload
    def step(self, function: F, /) -> F: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        fallback: Callable[..., Any] | None = None,
        optional: bool = False,
        concurrency: int | None = None,
        executor: ExecutorName | Processes | None = None,
        buffer: Buffers | None = None,
        internal: bool = False,
        cache: Cache | None = None,
        breaker: Breaker | None = None,
        ports: Sequence[str] = (),
        publish: Publish | None = None,
    ) -> Callable[[F], F]: ...

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        fallback: Callable[..., Any] | None = None,
        optional: bool = False,
        concurrency: int | None = None,
        executor: ExecutorName | Processes | None = None,
        buffer: Buffers | None = None,
        internal: bool = False,
        cache: Cache | None = None,
        breaker: Breaker | None = None,
        ports: Sequence[str] = (),
        publish: Publish | None = None,
    ) -> Any:
        """Declare a function as a step; returns the function unchanged.

        name: the step's name; the function's where not given.
        timeout: seconds for one attempt; running past it is the error `step_timeout`. While a
            step that yields waits for its readers to make room, they do not pass.
        retry: try again after a retryable error.
        fallback: a function of the same parameters, called when every attempt has failed; its
            value is the result, told as `fallback: true`.
        optional: a failure yields None downstream and the run still completes.
        concurrency: how many items at a time. Default: 1 inline (order is kept), 8 in threads,
            one per process in a process pool.
        executor: "inline" (in the event loop; the default of `async def`), "thread" (the default
            of `def`), "process", or a pool of its own: `Processes(workers=2, warm=load)`.
        buffer: how many messages may wait on each arrow into this step, a Buffer, or one for each
            parameter: `{"readings": Buffer(on_full="latest")}`.
        internal: neither published nor kept: a decoded picture, a connection. Made again, where
            somebody still needs it, on recovery.
        cache: keep its results, and use them again for the same arguments: told as `cached: true`.

        In live pipelines also:
        breaker: spare a step that keeps failing.
        ports: names of its outputs, where it has several: it gives `Out("above", value)`.
        publish: whether its values are logged, and so seen by clients: "always", "watched" (while
            somebody follows the run; the default of steps that nobody reads) or "never".
        """

        def declare(f: Callable[..., Any]) -> Callable[..., Any]:
            self._declare(
                f,
                name or getattr(f, "__name__", ""),
                caller,
                executor=executor,
                timeout=timeout,
                retry=retry,
                fallback=fallback,
                optional=optional,
                concurrency=concurrency,
                buffer=buffer,
                internal=internal,
                cache=cache,
                breaker=breaker,
                ports=ports,
                publish=publish,
            )
            return f

        caller = sys._getframe(1)
        return declare if function is None else declare(function)

    def add(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        arrows: Mapping[str, From | Sequence[From]] | None = None,
        **policies: Any,
    ) -> None:
        """Declare a step of a live pipeline by its arrows: for graphs made by a program.

        `arrows` says what each parameter reads, by parameter; what it does not name is an arrow by
        its own name, as ever. `policies` are those of `step`. The function's annotations are
        checked as ever; a parameter without one is called once per message.
        """
        where = at(self.name, name)
        if arrows and not self.live:
            raise PipelineError(f"{where}: arrows= is for live pipelines: Pipeline(..., live=True)")
        given = {
            p: (each,) if isinstance(each, From) else tuple(each)
            for p, each in (arrows or {}).items()
        }
        taken = inspect.signature(function).parameters
        for parameter in given:
            if parameter not in taken:
                raise PipelineError(
                    f"{where}: arrows= names the parameter {parameter!r}, which the function does "
                    f"not take{did_you_mean(parameter, taken)}"
                )
        self._declare(function, name, sys._getframe(1), given=given, **policies)

    def _declare(
        self,
        function: Callable[..., Any],
        name: str,
        caller: FrameType,
        *,
        given: Mapping[str, tuple[From, ...]] | None = None,
        executor: ExecutorName | Processes | None = None,
        buffer: Buffers | None = None,
        publish: Publish | None = None,
        ports: Sequence[str] = (),
        **policies: Any,
    ) -> None:
        where = at(self.name, name)
        if not name:
            raise PipelineError(f"pipeline {self.name!r}: {function!r} has no name; give it name=")
        if self._graph is not None:
            raise PipelineError(
                f"{where}: the pipeline is built and cannot change; declare every step first"
            )
        if name in self._declared:
            raise PipelineError(f"{where}: there is a step of this name; give one name=...")
        kind = Kind.of(function)
        step = Step(
            name=name,
            function=function,
            yields=kind.yields,
            asynchronous=kind.asynchronous,
            executor=executor or ("inline" if kind.asynchronous else "thread"),
            ports=tuple(ports),
            **policies,
        )
        _check_policies(where, step)
        live_only = {"breaker": step.breaker, "ports": step.ports, "publish": publish}
        for policy, value in live_only.items():
            if value and not self.live:
                raise PipelineError(f"{where}: {policy}= is for live pipelines (live=True)")
        if step.cache is not None:
            cached.check_declared(where, step, live=self.live)
        step = replace(step, publish=publish or ("watched" if self.live else "always"))
        step, buffers = self._buffered(where, step, buffer)
        hints = hints_of(where, function, caller)
        self._declared[name] = Declared(step, hints, given or {}, buffers, publish is not None)

    def _buffered(
        self, where: str, step: Step, buffer: Buffers | None
    ) -> tuple[Step, Mapping[str, Buffer]]:
        """The step with its buffer, and those of single parameters."""
        default = LIVE_BUFFER if self.live else DURABLE_BUFFER
        if buffer is None:
            return replace(step, buffer=default), {}
        if isinstance(buffer, Mapping):
            each = {name: _buffer(where, value) for name, value in buffer.items()}
        else:
            each, default = {}, _buffer(where, buffer)
        for value in (*each.values(), default):
            if not self.live and (value.lossy or value.adaptive):
                raise PipelineError(
                    f"{where}: a Buffer that loses messages or adapts its size is for live "
                    "pipelines: Pipeline(..., live=True)"
                )
        if each and not self.live:
            raise PipelineError(f"{where}: buffer={{...}} by parameter is for live pipelines")
        return replace(step, buffer=default), each

    def build(self) -> Graph:
        """The checked graph; the same one each time. Raises PipelineError."""
        if self._graph is None:
            self._graph = replace(self._built(), keep=self.keep)
        return self._graph

    def _built(self) -> Graph:
        found = drafts(self.name, self._declared, live=self.live)
        if not self.live:
            return durable_graph(self.name, found.steps, found.input, doc=self.doc)
        unsaid = {name for name, each in self._declared.items() if not each.says_publish}
        return live_graph(self.name, found.steps, found.input, unsaid=unsaid, doc=self.doc)

    def __repr__(self) -> str:
        state = "built" if self._graph else "open"
        return f"<Pipeline {self.name!r} {state}, steps: {', '.join(self._declared) or 'none'}>"


def _buffer(where: str, buffer: int | Buffer) -> Buffer:
    if isinstance(buffer, Buffer):
        return buffer
    if buffer < 1:
        raise PipelineError(f"{where}: buffer={buffer}: at least 1 message")
    return Buffer(buffer)


def _check_policies(where: str, step: Step) -> None:
    """What can be wrong with one step alone."""
    if step.timeout is not None and step.timeout <= 0:
        raise PipelineError(f"{where}: timeout={step.timeout}: seconds, more than 0")
    if step.concurrency is not None and step.concurrency < 1:
        raise PipelineError(f"{where}: concurrency={step.concurrency}: at least 1")
    if step.executor not in ("inline", "thread", "process") and not isinstance(
        step.executor, Processes
    ):
        raise PipelineError(
            f"{where}: executor={step.executor!r}: one of 'inline', 'thread', 'process', "
            f"or Processes(...)"
        )
    if step.asynchronous and step.executor != "inline":
        raise PipelineError(
            f"{where}: an async function runs in the event loop; "
            "make it a plain `def` to run it in a thread or a process, or drop executor="
        )


def built(pipelines: Sequence[Pipeline]) -> dict[str, Graph]:
    """Each pipeline's graph by name. Raises PipelineError where a name stands twice."""
    graphs: dict[str, Graph] = {}
    for pipeline in pipelines:
        if pipeline.name in graphs:
            raise PipelineError(f"two pipelines are named {pipeline.name!r}; rename one")
        graphs[pipeline.name] = pipeline.build()
    return graphs
