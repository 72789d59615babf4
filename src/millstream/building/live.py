"""Building a live graph: how each parameter reads, who numbers the messages, what fits what.

Gets the steps of a live pipeline with their arrows, in order; gives the Graph, or says what is
wrong, with the step, the parameter and the fix. Pure; runs nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Optional, Union, get_args, get_origin

from millstream import values
from millstream.annotations import In, Nothing, Out, Stream, is_batch, is_each
from millstream.building.places import at
from millstream.core.graph import Arrow, Graph, Reading, Step
from millstream.errors import PipelineError, did_you_mean


def live_graph(
    name: str, steps: Sequence[Step], input: str | None, *, unsaid: Collection[str], doc: str
) -> Graph:
    """The graph of a live pipeline. `steps` stand after those they read; `unsaid` names those
    that do not say whether they are published. Raises PipelineError."""
    building = _Building(name, input)
    for step in steps:
        building.place(step)
    return building.graph(doc, unsaid)


class _Building:
    def __init__(self, name: str, input: str | None) -> None:
        self.name, self.input = name, input
        self._where = partial(at, name)
        self.input_type: Any = Any
        self.steps: dict[str, Step] = {}
        self.origins: dict[str, str | None] = {input: None} if input else {}

    def graph(self, doc: str, unsaid: Collection[str]) -> Graph:
        """What has come of it. Unless it says otherwise, a step is published while somebody
        watches where nobody reads it, and never where somebody does."""
        read = {arrow.source for step in self.steps.values() for arrow in step.arrows}
        steps = {
            name: replace(step, publish="never")
            if step.internal or (name in unsaid and name in read)
            else step
            for name, step in self.steps.items()
        }
        return Graph(
            name=self.name,
            steps=steps,
            scopes=dict.fromkeys(self.origins, ()),
            input=self.input,
            input_type=self.input_type if self.input else None,
            doc=doc,
            live=True,
            origins=self.origins,
        )

    def place(self, draft: Step) -> None:
        """Decide one step's readings, and by whose numbers its messages go."""
        arrows = tuple(self._read(draft, arrow) for arrow in draft.arrows)
        returns, sieves = _without_nothing(draft.returns)
        step = replace(draft, arrows=arrows, returns=_inside_out(returns), sieves=sieves)
        self._check_twice(step)
        self._check_ports(step, returns)
        self._check_buffers(step)
        self._check_form(step)
        self.origins[step.name] = self._origin(step)
        self.steps[step.name] = step

    # --- readings ---------------------------------------------------------------------------

    def _read(self, step: Step, arrow: Arrow) -> Arrow:
        if arrow.source == self.input:
            return self._read_input(arrow)
        source = self.steps[arrow.source]
        self._check_port(arrow, source)
        reading, inner = _said(arrow.annotation)
        where = self._where(step.name, arrow.parameter)
        if self.origins[source.name] is None:
            if reading is not Reading.VALUE:
                raise PipelineError(
                    f"{where} is {reading.value}, but {source.name!r} gives one value that serves "
                    f"all messages; annotate it {values.describe(source.returns)}"
                )
        elif reading is Reading.VALUE and inner is Any:
            reading = Reading.EACH
        elif reading is Reading.VALUE:
            self._check_value(arrow, source)
        if _final(source) and self.origins[source.name] is not None:
            raise PipelineError(
                f"{where} reads {source.name!r}, which has a value only when its Stream has "
                f"ended; let {source.name!r} yield, or take from where it takes"
            )
        return self._checked(arrow, source, reading, inner)

    def _checked(self, arrow: Arrow, source: Step, reading: Reading, inner: Any) -> Arrow:
        """The arrow, with its types compared; an `In` gets a tag."""
        tag = None
        if (get_origin(inner) or inner) is In:
            tag = arrow.tag or arrow.source
            inner = (get_args(inner) or (Any,))[0]
        offered = source.returns
        if source.optional and not source.yields and offered is not Any:
            offered = Optional[offered]  # noqa: UP045 - it may be any typing construct
        if not values.fits(offered, inner):
            said, given = values.describe(inner), values.describe(offered)
            raise PipelineError(
                f"{self._where(arrow.target, arrow.parameter)} asks for {said}, but "
                f"{arrow.source!r} gives {given}; annotate it {_spelled(reading, given)}"
            )
        return replace(arrow, reading=reading, annotation=inner, tag=tag)

    def _read_input(self, arrow: Arrow) -> Arrow:
        reading, inner = _said(arrow.annotation)
        where = self._where(arrow.target, arrow.parameter)
        if reading is not Reading.VALUE:
            raise PipelineError(
                f"{where} is {reading.value}, but it is the input of a live pipeline: one value "
                "that serves all messages; annotate its type, and let a source yield"
            )
        if self.input_type is Any:
            self.input_type = inner
        elif not (values.fits(inner, self.input_type) or values.fits(self.input_type, inner)):
            raise PipelineError(
                f"{where} reads the input as {values.describe(inner)}, but another step as "
                f"{values.describe(self.input_type)}; agree on one type"
            )
        return replace(arrow, annotation=inner)

    def _check_value(self, arrow: Arrow, source: Step) -> None:
        """A plain annotation: once per message of a function step, not of what yields."""
        where = self._where(arrow.target, arrow.parameter)
        wanted = values.strip(arrow.annotation)
        one = values.describe(source.returns)
        if (get_origin(wanted) or wanted) is list and not values.fits(source.returns, wanted):
            raise PipelineError(
                f"{where} asks for all values of {source.name!r} as a list, but a live flow has "
                f"no end; annotate it Stream[{one}] to window it, or Batch[{one}]"
            )
        if source.yields:
            raise PipelineError(
                f"{where}: {source.name!r} gives many values; annotate it Each[{one}] for one call "
                f"per value, or Stream[{one}] for one call with all of them as they come"
            )

    def _check_twice(self, step: Step) -> None:
        """An arrow's id tells it from all others."""
        known: set[str] = set()
        for arrow in step.arrows:
            if arrow.id in known:
                raise PipelineError(
                    f"{self._where(step.name, arrow.parameter)} reads {arrow.source!r} twice by "
                    f"the same arrow ({arrow.id}); drop one, or give each a tag of its own"
                )
            known.add(arrow.id)

    # --- ports ------------------------------------------------------------------------------

    def _check_port(self, arrow: Arrow, source: Step) -> None:
        where = self._where(arrow.target, arrow.parameter)
        known = source.ports or ("out",)
        if arrow.port not in known:
            fix = f"From({source.name!r}, port={known[0]!r})"
            raise PipelineError(
                f"{where} reads port {arrow.port!r} of {source.name!r}, which has "
                f"{', '.join(map(repr, known))}{did_you_mean(arrow.port, known)}; say {fix}"
            )

    def _check_ports(self, step: Step, returns: Any) -> None:
        kind = get_origin(returns) or returns
        if kind is Out and not step.ports:
            raise PipelineError(
                f"{self._where(step.name)} gives an Out, but declares no ports; "
                'name them: ports=("above", "below")'
            )
        if step.ports and kind not in (Out, Any):
            raise PipelineError(
                f"{self._where(step.name)} declares ports but gives {values.describe(returns)}; "
                f"let it give Out({step.ports[0]!r}, value)"
            )
        if len(set(step.ports)) < len(step.ports):
            raise PipelineError(
                f"{self._where(step.name)}: ports={step.ports}: a name stands twice"
            )

    def _check_buffers(self, step: Step) -> None:
        taken = {arrow.parameter for arrow in step.arrows}
        for arrow in step.arrows:
            lossy = (arrow.buffer or step.buffer).lossy
            if lossy and arrow.source == self.input:
                raise PipelineError(
                    f"{self._where(step.name, arrow.parameter)} is the input, which waits in no "
                    "buffer; name the parameter that is to lose messages"
                )
        if step.buffer.lossy and not taken:
            raise PipelineError(f"{self._where(step.name)} reads nothing: drop buffer=")

    # --- what kind of step it is ------------------------------------------------------------

    def _check_form(self, step: Step) -> None:
        """What cannot go together in one step."""
        flowing = [a for a in step.arrows if self.origins[a.source] is not None]
        whole = [a for a in flowing if a.reading in (Reading.STREAM, Reading.BATCH)]
        merged = [a for a in flowing if sum(b.parameter == a.parameter for b in flowing) > 1]
        if whole and any(a.reading is not whole[0].reading for a in flowing):
            raise PipelineError(
                f"{self._where(step.name, whole[0].parameter)} is {whole[0].reading.value}, and "
                "another parameter is read per message; read them in steps of their own"
            )
        if whole and whole[0].reading is Reading.BATCH and len({a.parameter for a in whole}) > 1:
            raise PipelineError(
                f"{self._where(step.name)} reads two parameters as Batch; merge them into one "
                "with several From(...)"
            )
        if merged and not whole and len({a.parameter for a in flowing}) > 1:
            raise PipelineError(
                f"{self._where(step.name, merged[0].parameter)} merges several steps, so its "
                "messages match no other parameter's; merge in a step of its own"
            )
        if (streams := whole and whole[0].reading is Reading.STREAM) or (
            step.yields and not flowing
        ):
            self._check_long(step, "reads a Stream" if streams else "is a source", bool(streams))

    def _check_long(self, step: Step, what: str, streams: bool) -> None:
        """A source or a transformer: one long call."""
        where = self._where(step.name)
        if step.concurrency is not None:
            raise PipelineError(f"{where} {what}: it is called once, so drop concurrency=")
        if step.executor not in ("inline", "thread"):
            raise PipelineError(f"{where} {what}: it runs inline or in a thread, not in a process")
        if streams and step.executor == "inline" and not step.asynchronous:
            raise PipelineError(
                f"{where} reads a Stream in a plain `def`, which would hold up the event loop: "
                'make it `async def`, or executor="thread"'
            )
        if step.fallback is not None or step.breaker is not None or step.timeout is not None:
            raise PipelineError(
                f"{where} {what}: fallback=, breaker= and timeout= are for steps that are called "
                "per message; use retry= to begin it anew"
            )

    def _origin(self, step: Step) -> str | None:
        """Whose numbers its messages bear. Raises PipelineError where they would not match."""
        flowing = [a for a in step.arrows if self.origins[a.source] is not None]
        if step.yields or any(a.reading in (Reading.STREAM, Reading.BATCH) for a in flowing):
            return step.name
        if len({a.parameter for a in flowing}) < len(flowing):
            return step.name
        origins = {self.origins[a.source]: a for a in flowing}
        if len(origins) > 1:
            (one, first), (other, second) = list(origins.items())[:2]
            raise PipelineError(
                f"{self._where(step.name, second.parameter)} has the messages of {other!r}, but "
                f"{first.parameter!r} those of {one!r}, and neither knows the other's numbers; "
                "read both as Stream[...], or merge them with Annotated[..., From(...), From(...)]"
            )
        return next(iter(origins), None)


def _said(annotation: Any) -> tuple[Reading, Any]:
    """The reading that an annotation names, and the type of one message."""
    inner = values.strip(annotation)
    if is_each(annotation):
        return Reading.EACH, inner
    if is_batch(annotation):
        return Reading.BATCH, (get_args(inner) or (Any,))[0]
    if (get_origin(inner) or inner) is Stream:
        return Reading.STREAM, (get_args(inner) or (Any,))[0]
    return Reading.VALUE, inner


def _without_nothing(hint: Any) -> tuple[Any, bool]:
    """A return type without `| Nothing`, and whether that was in it."""
    members = values.union_members(hint)
    if Nothing not in members:
        return hint, False
    left = tuple(member for member in members if member is not Nothing)
    return (Union[left] if left else type(None)), True  # noqa: UP007 - members are data here


def _inside_out(returns: Any) -> Any:
    """The type of the values that go out of ports."""
    if (get_origin(returns) or returns) is not Out:
        return returns
    return (get_args(returns) or (Any,))[0]


def _final(source: Step) -> bool:
    """Whether it gives one value, at the end of its Stream."""
    return not source.yields and any(a.reading is Reading.STREAM for a in source.arrows)


def _spelled(reading: Reading, said: str) -> str:
    wrapped = {Reading.EACH: "Each", Reading.STREAM: "Stream", Reading.BATCH: "Batch"}
    return f"{wrapped[reading]}[{said}]" if reading in wrapped else said
