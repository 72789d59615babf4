"""Random live graphs as data, how they become real ones, and what a naive interpreter makes of
them. A value is a name that says how it came about, so both can be compared to the letter.

What a node does with a value (fail, filter, which port, how long it takes) is drawn from the seed,
the node's name and the value: neither side needs to know the other.
"""

import asyncio
import hashlib
import inspect
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from millstream.annotations import NOTHING, Batch, Each, From, In, Nothing, Out, Stream
from millstream.core.graph import Graph
from millstream.pipeline import Pipeline
from millstream.policy import Buffer

LOSSY = ("drop_oldest", "drop_newest", "drop_lowest", "latest")
PORTS = ("left", "right")


@dataclass(frozen=True)
class Node:
    """One step. `reads` are (node, port); `origin` is whose numbers its messages bear."""

    name: str
    kind: str
    reads: tuple[tuple[str, str], ...]
    origin: str
    asynchronous: bool = False
    concurrency: int | None = None
    buffer: Buffer | None = None
    count: int = 0
    optional: bool = False


@dataclass(frozen=True)
class LivePlan:
    """`slow`: how long things take, as a factor (0: nothing ever waits)."""

    seed: int
    nodes: tuple[Node, ...]
    slow: float
    failing: float

    @property
    def lossless(self) -> bool:
        return not any(node.buffer and node.buffer.lossy for node in self.nodes)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


@dataclass
class LiveBook:
    """What came to each node that nobody reads, in order."""

    got: dict[str, list[Any]] = field(default_factory=dict)


def chance(plan: LivePlan, *what: Any) -> float:
    """From 0 to 1, the same for the same."""
    said = repr((plan.seed, *what)).encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=6).digest()) / 2**48


def fails(plan: LivePlan, node: Node, value: Any) -> bool:
    return chance(plan, node.name, value, "fails") < plan.failing


def passes(plan: LivePlan, node: Node, value: Any) -> bool:
    return chance(plan, node.name, value, "passes") < 0.6


def port(plan: LivePlan, node: Node, value: Any) -> str:
    return PORTS[chance(plan, node.name, value, "port") < 0.5]


def several(plan: LivePlan, node: Node, value: Any) -> list[str]:
    return [f"{node.name}.{n}({value})" for n in range(int(chance(plan, value, "n") * 4))]


def made(node: Node, values: tuple[Any, ...]) -> str:
    """A short name of what a node makes of these."""
    said = hashlib.blake2b(repr(values).encode(), digest_size=4).hexdigest()
    return f"{node.name}({said})"


# --- real functions -------------------------------------------------------------------------------


class Trouble(Exception):
    """What failing nodes raise."""


class _Acting:
    def __init__(self, plan: LivePlan, book: LiveBook) -> None:
        self.plan, self.book = plan, book

    async def rest(self, node: Node, value: Any) -> None:
        drawn = chance(self.plan, node.name, value, "rest")
        if self.plan.slow and drawn < 0.5:
            await asyncio.sleep(0 if drawn < 0.2 else self.plan.slow * drawn)

    def decide(self, node: Node, values: tuple[Any, ...]) -> Any:
        if fails(self.plan, node, values):
            raise Trouble(node.name)
        value = made(node, values)
        if node.kind == "sieve" and not passes(self.plan, node, values):
            return NOTHING
        if node.kind == "switch":
            return Out(port(self.plan, node, values), value)
        if node.kind == "sink":
            self.book.got.setdefault(node.name, []).append(values)
        return value

    def source(self, node: Node) -> Callable[..., Any]:
        def numbers() -> Iterator[str]:
            for n in range(node.count):
                yield f"{node.name}.{n}"

        async def ticks() -> AsyncIterator[str]:
            for n in range(node.count):
                await self.rest(node, n)
                yield f"{node.name}.{n}"

        return ticks if node.asynchronous else numbers

    def function(self, node: Node) -> Callable[..., Any]:
        returns: Any = {"sieve": str | Nothing, "switch": Out[str]}.get(node.kind, str)
        names = [f"p{at}" for at in range(len(node.reads))]

        async def later(**values: Any) -> Any:
            row = tuple(values[name] for name in names)
            await self.rest(node, row)
            return self.decide(node, row)

        def now(**values: Any) -> Any:
            return self.decide(node, tuple(values[name] for name in names))

        chosen: Callable[..., Any] = later if node.asynchronous else now
        return _signed(chosen, dict.fromkeys(names, Each[Any]), returns)

    def transformer(self, node: Node) -> Callable[..., Any]:
        async def pairs(p0: Stream[Any]) -> AsyncIterator[str]:
            held: list[str] = []
            async for value in p0:
                await self.rest(node, value)
                held.append(value)
                if len(held) == 2:
                    yield made(node, tuple(held))
                    held = []

        return pairs

    def expand(self, node: Node) -> Callable[..., Any]:
        def many(p0: Each[Any]) -> Iterator[str]:
            yield from several(self.plan, node, p0)

        return many

    def merge(self, node: Node) -> Callable[..., Any]:
        def note(p0: Each[In[Any]]) -> None:
            self.book.got.setdefault(node.name, []).append((p0.port, p0.value))

        return note

    def batch(self, node: Node) -> Callable[..., Any]:
        async def note(p0: Batch[Any]) -> int:
            self.book.got.setdefault(node.name, []).append(list(p0))
            await self.rest(node, p0[0])
            return len(p0)

        return note


def _signed(
    function: Callable[..., Any], hints: dict[str, Any], returns: Any
) -> Callable[..., Any]:
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in hints]
    )
    function.__annotations__ = {**hints, "return": returns}
    return function


def build(plan: LivePlan, book: LiveBook) -> Graph:
    """The real pipeline."""
    acting = _Acting(plan, book)
    makers = {
        "source": acting.source,
        "pairs": acting.transformer,
        "expand": acting.expand,
        "merge": acting.merge,
        "batch": acting.batch,
    }
    pipeline = Pipeline("live", live=True)
    for node in plan.nodes:
        reads: dict[str, Any] = {
            f"p{at}": From(source, port=port) for at, (source, port) in enumerate(node.reads)
        }
        if node.kind == "merge":
            reads = {"p0": [From(s, port=p, tag=f"{s}:{p}") for s, p in node.reads]}
        pipeline.add(
            node.name,
            makers.get(node.kind, acting.function)(node),
            arrows=reads,
            executor="inline",
            concurrency=node.concurrency,
            buffer=node.buffer,
            ports=PORTS if node.kind == "switch" else (),
            optional=node.optional,
            publish="always" if node.kind in ("sink", "pairs") else None,
        )
    return pipeline.build()


# --- what should come of it -----------------------------------------------------------------------

Numbered = list[tuple[int, Any]]


def interpret(plan: LivePlan) -> dict[tuple[str, str], Numbered]:
    """What leaves each port of each node, in order, where nothing is lost."""
    given: dict[tuple[str, str], Numbered] = {}
    for node in plan.nodes:
        inputs = [given[read] for read in node.reads]
        if node.kind == "source":
            given[node.name, "out"] = [(n + 1, f"{node.name}.{n}") for n in range(node.count)]
        elif node.kind == "pairs":
            values = [value for _, value in inputs[0]]
            pairs = [tuple(values[at : at + 2]) for at in range(0, len(values) - 1, 2)]
            given[node.name, "out"] = [(n + 1, made(node, p)) for n, p in enumerate(pairs)]
        elif node.kind == "expand":
            values = [v for _, value in inputs[0] for v in several(plan, node, value)]
            given[node.name, "out"] = list(enumerate(values, start=1))
        else:
            given |= _interpret_function(plan, node, inputs)
    return given


def matched(inputs: list[Numbered]) -> list[tuple[int, tuple[Any, ...]]]:
    """The rows of a join."""
    tables = [dict(each) for each in inputs]
    numbers = sorted(set(tables[0]).intersection(*tables[1:]))
    return [(number, tuple(table[number] for table in tables)) for number in numbers]


def _interpret_function(
    plan: LivePlan, node: Node, inputs: list[Numbered]
) -> dict[tuple[str, str], Numbered]:
    ports = PORTS if node.kind == "switch" else ("out",)
    given: dict[tuple[str, str], Numbered] = {(node.name, each): [] for each in ports}
    if node.kind in ("merge", "batch"):
        return given
    for number, row in matched(inputs):
        if fails(plan, node, row):
            if node.optional:
                given[node.name, "out"].append((number, None))
            continue
        if node.kind == "sieve" and not passes(plan, node, row):
            continue
        leaves = port(plan, node, row) if node.kind == "switch" else "out"
        given[node.name, leaves].append((number, made(node, row)))
    return given


# --- drawing them ---------------------------------------------------------------------------------


class _Drawing:
    def __init__(self, rng: random.Random, lossy: bool) -> None:
        self.rng, self.lossy = rng, lossy
        self.nodes: list[Node] = []

    def ports(self, origin: str | None = None) -> list[tuple[str, str]]:
        return [
            (node.name, port)
            for node in self.nodes
            if node.kind not in ("sink", "merge", "batch")
            and (origin is None or node.origin == origin)
            for port in (PORTS if node.kind == "switch" else ("out",))
        ]

    def buffer(self) -> Buffer | None:
        rng = self.rng
        if rng.random() < 0.55:
            return None
        if self.lossy and rng.random() < 0.6:
            return Buffer(size=rng.choice([1, 2, 5, 20]), on_full=rng.choice(LOSSY))
        return Buffer(size=rng.choice([1, 2, 5, 100]), adaptive=rng.random() < 0.2)

    def source(self) -> None:
        name = f"s{len(self.nodes)}"
        count = self.rng.choice([0, 1, 7, 60, 300])
        asynchronous = self.rng.random() < 0.5
        self.nodes.append(Node(name, "source", (), name, asynchronous, count=count))

    def node(self, kind: str | None = None) -> None:
        rng, name = self.rng, f"n{len(self.nodes)}"
        kind = kind or rng.choice(["map"] * 4 + ["sieve"] * 2 + ["switch", "pairs", "expand"])
        first = rng.choice(self.ports())
        reads = [first]
        if kind in ("map", "sieve", "sink"):
            others = self.ports(self.origin(first))
            reads += rng.sample(others, min(len(others), rng.choice([0, 0, 0, 1, 2])))
        if kind == "merge":
            reads = rng.sample(self.ports(), min(len(self.ports()), rng.choice([1, 2, 3])))
        own = kind in ("pairs", "expand", "merge", "batch")
        called = kind in ("map", "sieve", "switch", "sink")
        asynchronous = kind == "pairs" or (called and kind != "sink" and rng.random() < 0.35)
        self.nodes.append(
            Node(
                name=name,
                kind=kind,
                reads=tuple(dict.fromkeys(reads)) if kind == "merge" else tuple(reads),
                origin=name if own else self.origin(first),
                asynchronous=asynchronous,
                concurrency=rng.choice([None, None, 1, 3]) if asynchronous and called else None,
                buffer=self.buffer(),
                optional=kind in ("map", "sieve") and rng.random() < 0.2,
            )
        )

    def origin(self, read: tuple[str, str]) -> str:
        return next(node.origin for node in self.nodes if node.name == read[0])


def live_plan(seed: int, *, lossy: bool) -> LivePlan:
    """A graph of up to 3 sources and 14 nodes; everything that nobody reads gets a sink."""
    rng = random.Random(seed)
    drawing = _Drawing(rng, lossy)
    for _ in range(rng.choice([1, 1, 2, 3])):
        drawing.source()
    for _ in range(rng.randint(1, 9)):
        drawing.node()
    for kind in rng.sample(["sink", "sink", "sink", "merge", "batch"], rng.randint(2, 5)):
        drawing.node(kind)
    return LivePlan(
        seed=seed,
        nodes=tuple(drawing.nodes),
        slow=rng.choice([0.0, 0.01, 1.0]),
        failing=rng.choice([0.0, 0.05, 0.3]),
    )
