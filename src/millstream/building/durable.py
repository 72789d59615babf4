"""Building a durable graph: how each parameter reads, how often a step is called, what fits.

The same of a durable pipeline as `live` is of a live one. Pure; runs nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Optional, get_args, get_origin

from millstream import cached, values
from millstream.annotations import Stream, is_each
from millstream.building.places import at
from millstream.core.graph import Arrow, Graph, Reading, Scope, Step, joined, scope_of
from millstream.errors import PipelineError


def durable_graph(name: str, steps: Sequence[Step], input: str | None, *, doc: str) -> Graph:
    """The graph of a durable pipeline. `steps` stand after those they read. Raises
    PipelineError.
    """
    building = _Building(name, input)
    for step in steps:
        building.place(step)
    return building.graph(doc)


class _Building:
    def __init__(self, name: str, input: str | None) -> None:
        self.name, self.input = name, input
        self._where = partial(at, name)
        self.scopes: dict[str, Scope] = {} if input is None else {input: ()}
        self.built: dict[str, Step] = {}

    def graph(self, doc: str) -> Graph:
        """What has come of it."""
        return Graph(
            name=self.name,
            steps=self.built,
            scopes=self.scopes,
            input=self.input,
            input_type=None if self.input is None else self._input_type(),
            doc=doc,
        )

    def place(self, draft: Step) -> None:
        """Decide how each parameter reads, and so how often the step is called."""
        arrows = tuple(self._read(arrow) for arrow in draft.arrows)
        step = replace(draft, arrows=arrows)
        delivered = {arrow.parameter: self._delivered(arrow) for arrow in arrows}
        scope = joined(self.name, step, delivered)
        self.scopes[step.name] = scope
        self._check_streams(step, scope)
        if step.cache is not None:
            cached.check_placed(self._where(step.name), step, self.built)
        self.built[step.name] = step

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
