"""Pipeline: declaring a graph of typed functions, and checking it.

A parameter's name is an arrow: named after a step, it takes that step's value; the one other
name is the pipeline's input. Everything that can be wrong with a graph is said when it is built,
with the step, the parameter and the fix.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, Optional, TypeVar, get_args, get_origin, get_type_hints, overload

from millstream import cached, live_building, values
from millstream.annotations import From, Stream, is_batch, is_each, sources_of
from millstream.context import Context
from millstream.core.graph import Arrow, Graph, Reading, Scope, Step, joined, order, scope_of
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
        self._steps: dict[str, Step] = {}
        self._hints: dict[str, Mapping[str, Any]] = {}
        self._given: dict[str, Mapping[str, tuple[From, ...]]] = {}
        self._buffers: dict[str, Mapping[str, Buffer]] = {}
        self._unsaid: set[str] = set()
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
        where = f"pipeline {self.name!r}, step {name!r}"
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
        self._declare(function, name, sys._getframe(1), **policies)
        self._given[name] = given

    def _declare(
        self,
        function: Callable[..., Any],
        name: str,
        caller: FrameType,
        *,
        executor: ExecutorName | Processes | None = None,
        buffer: Buffers | None = None,
        publish: Publish | None = None,
        ports: Sequence[str] = (),
        **policies: Any,
    ) -> None:
        where = f"pipeline {self.name!r}, step {name!r}"
        if not name:
            raise PipelineError(f"pipeline {self.name!r}: {function!r} has no name; give it name=")
        if self._graph is not None:
            raise PipelineError(
                f"{where}: the pipeline is built and cannot change; declare every step first"
            )
        if name in self._steps:
            raise PipelineError(f"{where}: there is a step of this name; give one name=...")
        kind = _Kind.of(function)
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
        if publish is None:
            self._unsaid.add(name)
        step, self._buffers[name] = self._buffered(where, step, buffer)
        self._hints[name] = _hints(where, function, caller)
        self._steps[name] = step

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
            self._graph = replace(_Builder(self).build(), keep=self.keep)
        return self._graph

    def __repr__(self) -> str:
        state = "built" if self._graph else "open"
        return f"<Pipeline {self.name!r} {state}, steps: {', '.join(self._steps) or 'none'}>"


def _buffer(where: str, buffer: int | Buffer) -> Buffer:
    if isinstance(buffer, Buffer):
        return buffer
    if buffer < 1:
        raise PipelineError(f"{where}: buffer={buffer}: at least 1 message")
    return Buffer(buffer)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: inside a decorator's wrapper, a partial, an object with `__call__`."""
    inner = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = inspect.unwrap(inner.func)
    return inner if inspect.isroutine(inner) else type(inner).__call__


class _Kind:
    """Whether a function yields and whether it is asynchronous."""

    def __init__(self, *, yields: bool, asynchronous: bool) -> None:
        self.yields, self.asynchronous = yields, asynchronous

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "_Kind":
        inner = _plain(function)
        asynchronous = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
        yields = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
        return cls(yields=yields, asynchronous=asynchronous)


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


def _hints(where: str, function: Callable[..., Any], caller: FrameType) -> Mapping[str, Any]:
    """A function's annotations, resolved. Types local to the function around it are found too."""
    plain = _plain(function)
    here = getattr(plain, "__globals__", None) is caller.f_globals
    try:
        return get_type_hints(
            plain, localns=dict(caller.f_locals) if here else None, include_extras=True
        )
    except NameError as error:
        raise PipelineError(
            f"{where}: the annotation {error.name!r} cannot be resolved; "
            "define or import that type at module level"
        ) from error
    except (AttributeError, SyntaxError, TypeError) as error:
        raise PipelineError(
            f"{where}: an annotation cannot be resolved ({error}); write the type itself, or a "
            "name that its module defines"
        ) from error


class _Builder:
    """Turns declarations into a Graph, or says what is wrong with them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.name = pipeline.name
        self.doc = pipeline.doc
        self.declared = pipeline._steps
        self.hints = pipeline._hints
        self.live = pipeline.live
        self.given = pipeline._given
        self.buffers = pipeline._buffers
        self.unsaid = pipeline._unsaid
        self.input: str | None = None
        self.input_type: Any = None
        self.scopes: dict[str, Scope] = {}
        self.built: dict[str, Step] = {}

    def build(self) -> Graph:
        if not self.declared:
            raise PipelineError(f"pipeline {self.name!r} has no steps; declare one with @.step")
        parameters = {name: self._parameters(step) for name, step in self.declared.items()}
        self.input = self._find_input(parameters)
        if self.input is not None:
            self.scopes[self.input] = ()
        drafts = {name: self._draft(name, parameters[name]) for name in self.declared}
        if self.live:
            return live_building.live_graph(
                self.name,
                order(self.name, drafts),
                self.input,
                unsaid=self.unsaid,
                doc=self.doc,
            )
        for draft in order(self.name, drafts):
            self.built[draft.name] = self._place(draft)
        if self.input is not None:
            self.input_type = self._input_type()
        return Graph(
            name=self.name,
            steps=self.built,
            scopes=self.scopes,
            input=self.input,
            input_type=self.input_type,
            doc=self.doc,
        )

    def _where(self, step: str, parameter: str | None = None) -> str:
        at = f", parameter {parameter!r}" if parameter else ""
        return f"pipeline {self.name!r}, step {step!r}{at}"

    # --- names ------------------------------------------------------------------------------

    def _parameters(self, step: Step) -> dict[str, Any]:
        """Each parameter with its annotation (Any where there is none)."""
        hints = self.hints[step.name]
        found: dict[str, Any] = {}
        for parameter in inspect.signature(step.function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise PipelineError(
                    f"{self._where(step.name)}: takes *{parameter.name}; a step names every "
                    "parameter, since a parameter's name is an arrow"
                )
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise PipelineError(
                    f"{self._where(step.name, parameter.name)} is positional-only; "
                    "a step is called by parameter names: drop the `/`"
                )
            hint = hints.get(parameter.name, Any)
            named = self._named(step.name, parameter.name, hint)
            if parameter.default is not parameter.empty and not (
                named or self._is_arrow(parameter.name)
            ):
                continue  # an ordinary default: nobody feeds it
            found[parameter.name] = hint
        return found

    def _named(self, step: str, parameter: str, annotation: Any) -> tuple[From, ...]:
        """The steps that a parameter reads where its name does not say. Raises PipelineError."""
        named = self.given.get(step, {}).get(parameter) or sources_of(annotation)
        where = self._where(step, parameter)
        if not self.live and (named or is_batch(annotation)):
            said = "From" if named else "Batch"
            raise PipelineError(f"{where}: {said} is for live pipelines: Pipeline(..., live=True)")
        for each in named:
            if each.source not in self.declared:
                near = did_you_mean(each.source, self.declared)
                raise PipelineError(f"{where} reads {each.source!r}, which is no step{near}")
        return named

    def _is_arrow(self, parameter: str) -> bool:
        return parameter in self.declared

    def _find_input(self, parameters: Mapping[str, Mapping[str, Any]]) -> str | None:
        users: dict[str, str] = {}
        for step, names in parameters.items():
            for name, annotation in names.items():
                named = self._is_arrow(name) or self._named(step, name, annotation)
                if not named and not _is_context(annotation):
                    users.setdefault(name, step)
        if len(users) > 1:
            self._refuse_inputs(users)
        return next(iter(users), None)

    def _refuse_inputs(self, users: Mapping[str, str]) -> None:
        said = ", ".join(f"{name!r} (of step {step!r})" for name, step in users.items())
        hints = [did_you_mean(name, self.declared) for name in users]
        raise PipelineError(
            f"pipeline {self.name!r}: the parameters {said} are named after no step, and only "
            f"one name can be the pipeline's input{next(filter(None, hints), '.')} "
            "Use one name for the input (a model can hold several fields), or name a step."
        )

    def _draft(self, name: str, parameters: Mapping[str, Any]) -> Step:
        """The step with its arrows, readings not yet decided."""
        step = self.declared[name]
        contexts = [p for p, annotation in parameters.items() if _is_context(annotation)]
        if len(contexts) > 1:
            raise PipelineError(f"{self._where(name, contexts[1])}: one Context is enough")
        arrows = tuple(
            arrow
            for parameter, annotation in parameters.items()
            if parameter not in contexts
            for arrow in self._arrows(name, parameter, annotation)
        )
        if not arrows and not step.yields:
            raise PipelineError(
                f"{self._where(name)} has no inputs and does not yield, so nothing would start "
                "it: name the input or a step as a parameter, or yield to make it a source"
            )
        itself = next((arrow.parameter for arrow in arrows if arrow.source == name), None)
        if itself is not None:
            raise PipelineError(f"{self._where(name, itself)} reads the step itself")
        returns = self._returns(step)
        self._check_fallback(step)
        return replace(
            step, arrows=arrows, context=contexts[0] if contexts else None, returns=returns
        )

    def _arrows(self, name: str, parameter: str, annotation: Any) -> list[Arrow]:
        """The arrows into one parameter (several where it says so), readings not yet decided."""
        buffer = self.buffers.get(name, {}).get(parameter)
        named = self._named(name, parameter, annotation) or (From(parameter),)
        return [
            Arrow(
                source=each.source,
                target=name,
                parameter=parameter,
                reading=Reading.VALUE,
                annotation=annotation,
                port=each.port,
                tag=each.tag,
                buffer=each.buffer or buffer,
            )
            for each in named
        ]

    def _returns(self, step: Step) -> Any:
        """The type of the step's value; of one yielded value for a step that yields."""
        hint = self.hints[step.name].get("return", Any)
        if step.yields and hint is not Any:
            arguments = get_args(hint)
            hint = arguments[0] if arguments else Any
        if not step.internal and not self.live:
            self._check_decodable(step, hint)
        return hint

    def _check_decodable(self, step: Step, hint: Any) -> None:
        try:
            values.decoder(hint)
        except TypeError as error:
            raise PipelineError(
                f"{self._where(step.name)}: what it returns is published and must be readable "
                f"after a restart, but {error}; return a model, a dataclass or plain JSON "
                "types, or declare internal=True"
            ) from error

    def _check_fallback(self, step: Step) -> None:
        if step.fallback is None:
            return
        mine = set(inspect.signature(step.function).parameters)
        theirs = inspect.signature(step.fallback).parameters
        extra = [name for name, p in theirs.items() if name not in mine and p.default is p.empty]
        if extra or set(mine) - set(theirs):
            raise PipelineError(
                f"{self._where(step.name)}: the fallback {step.fallback.__name__!r} must take the "
                f"same parameters as the step ({', '.join(sorted(mine))}), "
                f"not ({', '.join(sorted(theirs))})"
            )
        if _Kind.of(step.fallback).yields and not step.yields:
            raise PipelineError(
                f"{self._where(step.name)}: the fallback {step.fallback.__name__!r} yields, but "
                "the step returns one value; let the fallback return one too"
            )

    # --- types and scopes -------------------------------------------------------------------

    def _place(self, draft: Step) -> Step:
        """Decide how each parameter reads, and so how often the step is called."""
        arrows = tuple(self._read(arrow) for arrow in draft.arrows)
        step = replace(draft, arrows=arrows)
        delivered = {arrow.parameter: self._delivered(arrow) for arrow in arrows}
        scope = joined(self.name, step, delivered)
        self.scopes[step.name] = scope
        self._check_streams(step, scope)
        if step.cache is not None:
            cached.check_placed(self._where(step.name), step, self.built)
        return step

    def _delivered(self, arrow: Arrow) -> Scope:
        source = self.built.get(arrow.source)
        return scope_of(
            arrow, self.scopes[arrow.source], source_yields=bool(source and source.yields)
        )

    def _read(self, arrow: Arrow) -> Arrow:
        annotation = arrow.annotation
        if is_each(annotation):
            inner = values.strip(annotation)
            return self._checked(replace(arrow, reading=Reading.EACH, annotation=inner))
        if get_origin(values.strip(annotation)) is Stream or values.strip(annotation) is Stream:
            inner = (get_args(values.strip(annotation)) or (Any,))[0]
            return self._checked(replace(arrow, reading=Reading.STREAM, annotation=inner))
        if self._collects(arrow):
            return self._checked(replace(arrow, reading=Reading.ALL))
        return self._checked(arrow)

    def _collects(self, arrow: Arrow) -> bool:
        """Whether `list[T]` means all items of a mapped step, rather than a list-valued step."""
        source = self.built.get(arrow.source)
        if source is None or not self.scopes[arrow.source]:
            return False
        wanted = values.strip(arrow.annotation)
        if (get_origin(wanted) or wanted) is not list:
            return False
        value = list[source.returns] if source.yields else source.returns
        own = values.element(value) if value is not Any else None
        return own is None or not values.fits(value, wanted)

    def _checked(self, arrow: Arrow) -> Arrow:
        offered = self._offered(arrow)
        if not values.fits(offered, arrow.annotation):
            self._refuse_type(arrow, offered)
        return arrow

    def _refuse_type(self, arrow: Arrow, offered: Any) -> None:
        source = self.built.get(arrow.source)
        where = self._where(arrow.target, arrow.parameter)
        allowing = _with_none(arrow)
        if source and source.optional and values.fits(offered, allowing):
            raise PipelineError(
                f"{where}: step {arrow.source!r} is optional, so its value may be None; "
                f"annotate {_spelled(arrow, allowing)}"
            )
        many = source is not None and bool(self.scopes[arrow.source])
        fix = f"annotate it {_spelled(arrow, offered)}"
        if many and arrow.reading is Reading.VALUE:
            fix += f", or list[{values.describe(offered)}] for all of them at once"
        if source and source.yields and arrow.reading is Reading.VALUE:
            fix += ", or Each[...] or Stream[...] for one value at a time"
        raise PipelineError(
            f"{where} asks for {values.describe(arrow.annotation)}, but {arrow.source!r} gives "
            f"{values.describe(offered)}; {fix}"
        )

    def _offered(self, arrow: Arrow) -> Any:
        """The type that reaches the parameter. Any for the input: its type is what is asked."""
        source = self.built.get(arrow.source)
        if source is None:
            return self._offered_input(arrow)
        if arrow.reading is Reading.EACH:
            return self._element(arrow, source)
        if arrow.reading is Reading.STREAM:
            return self._streamed(arrow, source)
        value: Any = list[source.returns] if source.yields else source.returns
        if source.optional and value is not Any:
            value = Optional[value]  # noqa: UP045 - value may be any typing construct
        return list[value] if arrow.reading is Reading.ALL else value

    def _offered_input(self, arrow: Arrow) -> Any:
        if arrow.reading is Reading.STREAM:
            raise PipelineError(
                f"{self._where(arrow.target, arrow.parameter)} is a Stream of the input, but a "
                "request's input is there from the start; annotate list[...] or Each[...]"
            )
        return Any

    def _element(self, arrow: Arrow, source: Step) -> Any:
        self._check_numbering(arrow, source)
        if source.yields:
            return source.returns
        inner = values.element(source.returns)
        if inner is None:
            raise PipelineError(
                f"{self._where(arrow.target, arrow.parameter)} is Each, but {arrow.source!r} gives "
                f"one {values.describe(source.returns)}; annotate it "
                f"{values.describe(source.returns)}, or let {arrow.source!r} yield or return a list"
            )
        return inner

    def _check_numbering(self, arrow: Arrow, source: Step) -> None:
        """An item's number must be found again after a crash: from the log, or from its order."""
        if source.internal and self.scopes[source.name]:
            raise PipelineError(
                f"{self._where(arrow.target, arrow.parameter)} maps over {source.name!r}, which is "
                "internal and itself called per item; its items could not be told apart after a "
                f"restart. Publish {source.name!r} (drop internal=True), or return the list whole"
            )

    def _streamed(self, arrow: Arrow, source: Step) -> Any:
        if source.yields:
            return source.returns
        if not self.scopes[arrow.source]:
            raise PipelineError(
                f"{self._where(arrow.target, arrow.parameter)} is a Stream, but {arrow.source!r} "
                f"gives one value, once; annotate it {values.describe(source.returns)}, "
                f"or let {arrow.source!r} yield"
            )
        return Optional[source.returns] if source.optional else source.returns  # noqa: UP045

    def _check_streams(self, step: Step, scope: Scope) -> None:
        streams = [arrow for arrow in step.arrows if arrow.reading is Reading.STREAM]
        if streams and not step.asynchronous:
            raise PipelineError(
                f"{self._where(step.name, streams[0].parameter)} is a Stream, which is read with "
                "`async for`: make the step `async def`, or annotate list[...]"
            )
        if streams and scope and step.concurrency is not None:
            raise PipelineError(
                f"{self._where(step.name)} reads a Stream per item, so as many calls are open as "
                "there are items under way: drop concurrency="
            )
        if streams and self._delivered(streams[0]) != scope:
            raise PipelineError(
                f"{self._where(step.name, streams[0].parameter)}: the step is called once per item "
                f"of {scope[-1]!r}, but this Stream comes once for all of them; read it in a step "
                "of its own, or take it as list[...]"
            )
        if len(streams) > 1:
            raise PipelineError(
                f"{self._where(step.name, streams[1].parameter)}: a step reads one Stream; "
                "merge the two in a step that yields, or take one as list[...]"
            )

    def _input_type(self) -> Any:
        """What the first reader asks for; every other reader must agree."""
        readers = [
            arrow
            for step in self.built.values()
            for arrow in step.arrows
            if arrow.source == self.input
        ]
        first = readers[0]
        kind = _whole(first)
        for other in readers[1:]:
            if not (values.fits(_whole(other), kind) or values.fits(kind, _whole(other))):
                raise PipelineError(
                    f"{self._where(other.target, other.parameter)} reads the input as "
                    f"{values.describe(_whole(other))}, but step {first.target!r} reads it as "
                    f"{values.describe(kind)}; agree on one type"
                )
            if kind is Any:
                kind = _whole(other)
        return kind


def _whole(arrow: Arrow) -> Any:
    """The input's type by one of its readers: a reader of Each says what one element is."""
    return list[arrow.annotation] if arrow.reading is Reading.EACH else arrow.annotation


def _with_none(arrow: Arrow) -> Any:
    """What the parameter asks for, where the upstream's value may be None too."""
    if arrow.reading is not Reading.ALL:
        return Optional[arrow.annotation]  # noqa: UP045 - it may be any typing construct
    inner = (get_args(values.strip(arrow.annotation)) or (Any,))[0]
    return list[Optional[inner]]  # noqa: UP045


def _spelled(arrow: Arrow, annotation: Any) -> str:
    """An annotation of this parameter as a person would write it."""
    said = values.describe(annotation)
    wrapped = {Reading.EACH: f"Each[{said}]", Reading.STREAM: f"Stream[{said}]"}
    return wrapped.get(arrow.reading, said)


def _is_context(annotation: Any) -> bool:
    return any(
        isinstance(member, type) and issubclass(member, Context)
        for member in values.union_members(annotation)
    )


def built(pipelines: Sequence[Pipeline]) -> dict[str, Graph]:
    """Each pipeline's graph by name. Raises PipelineError where a name stands twice."""
    graphs: dict[str, Graph] = {}
    for pipeline in pipelines:
        if pipeline.name in graphs:
            raise PipelineError(f"two pipelines are named {pipeline.name!r}; rename one")
        graphs[pipeline.name] = pipeline.build()
    return graphs
