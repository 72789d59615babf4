"""Random pipelines as data, and how they become real ones.

What a step does is a function of a seed, the step's name, its arguments and the attempt: how many
values it gives, how often it fails, how long it takes. So the real run and the reference
interpreter can be compared without either knowing the other.
"""

import asyncio
import hashlib
import inspect
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from millstream.annotations import Each, Stream
from millstream.context import Context
from millstream.core.graph import Arrow, Graph, Reading, Step, joined, scope_of
from millstream.errors import PipelineError
from millstream.pipeline import Pipeline
from millstream.policy import Retry

Key = str
"""A step's arguments, in short."""


def draw(*parts: Any) -> random.Random:
    """Chance that depends on nothing but these."""
    return random.Random(hashlib.sha256(repr(parts).encode()).digest())


COMMON = "common/"
"""Marks calls whose arguments other items may have too (None, empty lists, and what comes of such).
Steps do not fail or waver on them, so that what they give does not depend on which item it was."""


def key_of(shape: "Shape", arguments: dict[str, Any]) -> Key:
    """The key of a call."""
    apart = not shape.inner or any(tells_apart(arguments[name]) for name in shape.inner)
    return ("" if apart else COMMON) + short(arguments)


def short(value: Any) -> str:
    """A value's name: equal values have equal ones."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Read:
    """One parameter: of which source, and how."""

    source: str
    reading: Reading


@dataclass(frozen=True)
class Shape:
    """One step, as drawn."""

    name: str
    reads: tuple[Read, ...]
    gives: str  # "value", "list" or "yields"
    asynchronous: bool = True
    attempts: int = 1
    fallback: bool = False
    optional: bool = False
    internal: bool = False
    concurrency: int | None = None
    timeout: float | None = None
    """Seconds. A step that waits for room downstream may run past it too."""
    unstable: bool = False
    stops_after: int | None = None
    buffer: int = 64
    inner: tuple[str, ...] = ()
    """The parameters that differ from item to item, where there are items."""

    @property
    def stream(self) -> str | None:
        """The source of its Stream parameter."""
        return next((r.source for r in self.reads if r.reading is Reading.STREAM), None)


@dataclass
class Plan:
    """A pipeline, as drawn, with its input and the seed of all it does."""

    seed: int
    shapes: tuple[Shape, ...]
    input: list[str]
    slow: float = 1.0
    failing: float = 0.25


@dataclass
class Book:
    """What the steps did, told by themselves."""

    keys: dict[tuple[str, int | None, int, bool], Key] = field(default_factory=dict)
    calls: list[tuple[str, int | None, int, bool]] = field(default_factory=list)


# --- what a step does -----------------------------------------------------------------------------


def tells_apart(value: Any) -> bool:
    """Whether a value could only have come of one item."""
    if isinstance(value, str):
        return COMMON not in value
    return isinstance(value, list) and any(map(tells_apart, value))


def failures(plan: Plan, shape: Shape, key: Key) -> int:
    """How many attempts fail before one succeeds (99: all)."""
    rng = draw(plan.seed, shape.name, key, "fail")
    if key.startswith(COMMON) or rng.random() > plan.failing:
        return 0
    if shape.unstable:
        return rng.randint(0, shape.attempts - 1)
    return rng.choice([1, 1, 2, 99])


def fallback_fails(plan: Plan, shape: Shape, key: Key) -> bool:
    """Whether the fallback fails as well."""
    return not key.startswith(COMMON) and draw(plan.seed, shape.name, key, "fb").random() < 0.2


def value(plan: Plan, shape: Shape, key: Key, attempt: int, fallback: bool) -> Any:
    """What it gives: a string, or a list of them."""
    salt = "fallback" if fallback else ""
    mark = COMMON if key.startswith(COMMON) else ""
    if shape.gives == "value":
        return f"{mark}{shape.name}:{short([shape.name, key, salt])}"
    unstable = shape.unstable and not key.startswith(COMMON)
    rng = draw(plan.seed, shape.name, key, "count", attempt if unstable else 0, salt)
    count = rng.choice([0, 1, 2, 3, 5])
    salt = f"{salt}{attempt if unstable else 0}"
    found = []
    for index in range(count):
        moved = unstable and draw(plan.seed, key, index, "moved").random() < 0.5
        name = short([key, index, salt if moved or fallback else ""])
        found.append(f"{mark}{shape.name}.{index}:{name}")
    return found


def breaks_at(plan: Plan, shape: Shape, key: Key, attempt: int, count: int) -> int:
    """After how many values a failing attempt of a yielding step breaks."""
    salt = attempt if shape.unstable else 0
    return draw(plan.seed, shape.name, key, "breaks", salt).randint(0, count)


def pause(plan: Plan, shape: Shape, key: Any, attempt: int, at: Any) -> float | None:
    """Seconds to sleep at some point; None: not even a breath."""
    if shape.timeout and str(key).startswith(COMMON):
        return None
    rng = draw(plan.seed, shape.name, key, attempt, at, "pause")
    return rng.choice([None, None, 0.0, 0.001, 0.02, 0.3, 1.0 * plan.slow, 2.5 * plan.slow])


# --- real functions -------------------------------------------------------------------------------


class Trouble(Exception):
    """What failing steps raise."""


class Acting:
    """Makes the functions of one plan; `book` says afterwards what they did."""

    def __init__(self, plan: Plan, book: Book) -> None:
        self.plan, self.book = plan, book

    def function(self, shape: Shape, *, fallback: bool = False) -> Callable[..., Any]:
        """The step's function (or its fallback's), with the signature that the shape asks."""
        make = {
            (True, True): self._async_yielding,
            (True, False): self._async_plain,
            (False, True): self._sync_yielding,
            (False, False): self._sync_plain,
        }[shape.asynchronous, shape.gives == "yields"]
        made = make(shape, fallback)
        made.__name__ = shape.name + ("_fallback" if fallback else "")
        hints = {f"{r.source}": _annotation(self.plan, r) for r in shape.reads}
        hints["ctx"] = Context
        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint)
            for name, hint in hints.items()
        ]
        made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        made.__annotations__ = {**hints, "return": _returned(shape)}
        return made

    def _enter(self, shape: Shape, ctx: Context, fallback: bool) -> None:
        self.book.calls.append((shape.name, ctx.item, ctx.attempt, fallback))
        if draw(self.plan.seed, shape.name, ctx.attempt, "progress").random() < 0.5:
            ctx.progress(0.5, "half way")

    def _note(
        self, shape: Shape, ctx: Context, fallback: bool, arguments: dict[str, Any]
    ) -> tuple[Key, bool]:
        key = key_of(shape, arguments)
        self.book.keys[shape.name, ctx.item, ctx.attempt, fallback] = key
        if fallback:
            return key, fallback_fails(self.plan, shape, key)
        return key, ctx.attempt <= failures(self.plan, shape, key)

    async def _rest(self, shape: Shape, key: Any, attempt: int, at: Any) -> None:
        seconds = pause(self.plan, shape, key, attempt, at)
        if seconds is not None:
            await asyncio.sleep(seconds)

    async def _read(self, shape: Shape, arguments: dict[str, Any]) -> dict[str, Any]:
        if shape.stream is None:
            return arguments
        taken: list[Any] = []
        count = 0
        if shape.stops_after != 0:
            async for each in arguments[shape.stream]:
                taken.append(each)
                count += 1
                if count == shape.stops_after:
                    break
                await self._rest(shape, "reading", 1, count)
        return {**arguments, shape.stream: taken if shape.stops_after else sorted(taken, key=repr)}

    def _async_plain(self, shape: Shape, fallback: bool) -> Callable[..., Any]:
        async def run(*, ctx: Context, **arguments: Any) -> Any:
            self._enter(shape, ctx, fallback)
            key, fails = self._note(shape, ctx, fallback, await self._read(shape, arguments))
            await self._rest(shape, key, ctx.attempt, "call")
            if fails:
                raise Trouble(shape.name)
            return value(self.plan, shape, key, ctx.attempt, fallback)

        return run

    def _sync_plain(self, shape: Shape, fallback: bool) -> Callable[..., Any]:
        def run(*, ctx: Context, **arguments: Any) -> Any:
            self._enter(shape, ctx, fallback)
            key, fails = self._note(shape, ctx, fallback, arguments)
            if fails:
                raise Trouble(shape.name)
            return value(self.plan, shape, key, ctx.attempt, fallback)

        return run

    def _async_yielding(self, shape: Shape, fallback: bool) -> Callable[..., Any]:
        async def run(*, ctx: Context, **arguments: Any) -> AsyncIterator[Any]:
            self._enter(shape, ctx, fallback)
            key, fails = self._note(shape, ctx, fallback, await self._read(shape, arguments))
            values = value(self.plan, shape, key, ctx.attempt, fallback)
            stop = breaks_at(self.plan, shape, key, ctx.attempt, len(values)) if fails else -1
            for index, each in enumerate(values):
                if index == stop:
                    break
                await self._rest(shape, key, ctx.attempt, index)
                yield each
            if fails:
                raise Trouble(shape.name)

        return run

    def _sync_yielding(self, shape: Shape, fallback: bool) -> Callable[..., Any]:
        def run(*, ctx: Context, **arguments: Any) -> Iterator[Any]:
            self._enter(shape, ctx, fallback)
            key, fails = self._note(shape, ctx, fallback, arguments)
            values = value(self.plan, shape, key, ctx.attempt, fallback)
            stop = breaks_at(self.plan, shape, key, ctx.attempt, len(values)) if fails else None
            yield from values[:stop]
            if fails:
                raise Trouble(shape.name)

        return run


def _annotation(plan: Plan, read: Read) -> Any:
    source = next((s for s in plan.shapes if s.name == read.source), None)
    match read.reading:
        case Reading.EACH:
            return Each[Any]
        case Reading.STREAM:
            return Stream[Any]
        case Reading.ALL:
            inner = str if source is None or source.gives == "value" else list[str]
            return list[inner | None]  # type: ignore[valid-type]
        case _:
            return list[str] if source is None else Any


def _returned(shape: Shape) -> Any:
    if shape.gives == "yields":
        return AsyncIterator[str] if shape.asynchronous else Iterator[str]
    return str if shape.gives == "value" else list[str]


def build(plan: Plan, book: Book) -> Graph:
    """The real pipeline."""
    acting = Acting(plan, book)
    pipeline = Pipeline("drawn")
    for shape in plan.shapes:
        retry = Retry(attempts=shape.attempts, base=0.05, budget=10, reserve=1000)
        pipeline.step(
            name=shape.name,
            executor="inline",
            retry=retry if shape.attempts > 1 else None,
            fallback=acting.function(shape, fallback=True) if shape.fallback else None,
            optional=shape.optional,
            internal=shape.internal,
            concurrency=shape.concurrency,
            timeout=shape.timeout,
            buffer=shape.buffer,
        )(acting.function(shape))
    return pipeline.build()


# --- drawing them ---------------------------------------------------------------------------------


class _Drawing:
    def __init__(self, rng: random.Random, unstable: bool) -> None:
        self.rng, self.unstable = rng, unstable
        self.shapes: dict[str, Shape] = {}
        self.scopes: dict[str, tuple[str, ...]] = {"x": ()}

    def readings(self, source: str) -> list[Reading]:
        """How this source may be read."""
        if source == "x":
            return [Reading.EACH, Reading.EACH, Reading.VALUE]
        shape, mapped = self.shapes[source], bool(self.scopes[source])
        found = [Reading.VALUE]
        numbered = not (shape.internal and (mapped or shape.gives == "yields"))
        if shape.gives != "value" and len(self.scopes[source]) < 3 and numbered:
            found += [Reading.EACH, Reading.EACH]
        if mapped:
            found.append(Reading.ALL)
        if shape.gives == "yields":
            found += [Reading.STREAM, Reading.STREAM]
        elif mapped:
            found.append(Reading.STREAM)
        return found

    def delivered(self, read: Read) -> tuple[str, ...]:
        arrow = Arrow(read.source, "", read.source, read.reading)
        shape = self.shapes.get(read.source)
        yields = shape is not None and shape.gives == "yields"
        return scope_of(arrow, self.scopes[read.source], source_yields=yields)

    def reads(self) -> tuple[Read, ...]:
        """Parameters that go together."""
        names = [*self.scopes]
        first = self.rng.choice(names[-4:])
        found = [Read(first, self.rng.choice(self.readings(first)))]
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            name = self.rng.choice(names)
            more = Read(name, self.rng.choice(self.readings(name)))
            if name not in [r.source for r in found] and self._go_together([*found, more]):
                found.append(more)
        return tuple(found)

    def _go_together(self, reads: list[Read]) -> bool:
        delivered = {r.source: self.delivered(r) for r in reads}
        try:
            scope = joined("drawn", Step("new", print), delivered)
        except PipelineError:
            return False
        streams = [r for r in reads if r.reading is Reading.STREAM]
        return len(streams) < 2 and all(self.delivered(r) == scope for r in streams)

    def scope(self, reads: tuple[Read, ...]) -> tuple[str, ...]:
        return joined("drawn", Step("new", print), {r.source: self.delivered(r) for r in reads})

    def add(self, name: str) -> None:
        rng, reads = self.rng, self.reads()
        scope = self.scope(reads)
        stream = next((r for r in reads if r.reading is Reading.STREAM), None)
        gives = rng.choice(["value", "value", "value", "list", "yields", "yields"])
        attempts = rng.choice([1, 1, 2, 3])
        unstable = self.unstable and gives == "yields" and attempts > 1 and rng.random() < 0.7
        # (what an internal generator had yielded before it failed for good is gone after a crash)
        internal = not unstable and gives != "yields" and rng.random() < 0.15
        fallback = not unstable and rng.random() < 0.15
        # (which values stand after a timeout for good is for the log to say, if they are the same)
        limited = not (stream or unstable or fallback or internal) and rng.random() < 0.15
        # (whether it has read enough when its stream fails is a race, which the log must decide)
        early = stream is not None and self._ordered(stream) and not internal
        early = early and rng.random() < 0.4
        self.shapes[name] = Shape(
            name=name,
            reads=reads,
            gives=gives,
            asynchronous=stream is not None or rng.random() < 0.6,
            attempts=attempts,
            fallback=fallback,
            timeout=rng.choice([0.2, 1.0, 2.4]) if limited else None,
            optional=rng.random() < (0.3 if scope else 0.6),
            internal=internal,
            concurrency=None if stream and scope else rng.choice([None, 1, 2, 5]),
            unstable=unstable,
            stops_after=rng.choice([1, 2]) if early else None,
            buffer=rng.choice([1, 2, 64]),
            inner=tuple(r.source for r in reads if self.delivered(r) == scope) if scope else (),
        )
        self.scopes[name] = scope

    def _ordered(self, read: Read) -> bool:
        return self.shapes[read.source].gives == "yields"


def plan(seed: int, *, unstable: bool = False, steps: int = 8) -> Plan:
    """A pipeline of up to `steps` steps. `unstable`: some yield other values when tried again."""
    rng = random.Random(seed)
    drawing = _Drawing(rng, unstable)
    for number in range(rng.randint(2, steps)):
        drawing.add(f"s{number}")
    size = rng.choice([0, 1, 2, 3, 4])
    return Plan(
        seed=seed,
        shapes=tuple(drawing.shapes.values()),
        input=[f"x{index}" for index in range(size)],
        slow=rng.choice([0.1, 1.0, 1.0]),
        failing=rng.choice([0.0, 0.15, 0.3]),
    )
