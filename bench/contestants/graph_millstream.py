"""Millstream: a live pipeline in an engine over the memory store, run in process."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from bench.contestants.graphing import NODES, Flow, join, main
from millstream import Each, From, Millstream, Options, Pipeline, Settings


def node(x: Each[int]) -> int:
    return x + 1


async def slow_node(x: Each[int]) -> int:
    return x + 1


def branch(number: int) -> Callable[..., int]:
    """One of the diamond's four."""

    def add(x: Each[int]) -> int:
        return x + number

    return add


def source(flow: Flow) -> Callable[[], Any]:
    """Yields as fast as it is taken, or at a rate."""

    def numbers() -> Iterator[int]:
        yield from flow.numbers()

    async def paced() -> AsyncIterator[int]:
        async for x in flow.paced():
            yield x

    return paced if flow.rate else numbers


def pipeline(flow: Flow) -> Pipeline:
    """The graph of a shape; its last step takes what comes out, and publishes nothing."""
    made = Pipeline("graph", live=True)
    made.add("source", source(flow), executor="inline", publish="never")

    def add(name: str, function: Callable[..., Any], **reads: str) -> None:
        arrows = {parameter: From(step) for parameter, step in reads.items()}
        made.add(name, function, arrows=arrows, executor="inline", publish="never")

    sink = flow.sink()

    def take(x: Each[int]) -> None:
        sink(x)

    if flow.shape == "diamond":
        for at in range(4):
            add(f"branch-{at}", branch(at + 1), x="source")
        add("join", join, a="branch-0", b="branch-1", c="branch-2", d="branch-3")
        add("sink", take, x="join")
        return made
    last = "source"
    for at in range(NODES):
        add(f"node-{at}", slow_node if flow.shape == "async" else node, x=last)
        last = f"node-{at}"
    add("sink", take, x=last)
    return made


async def drive(flow: Flow) -> None:
    app = Millstream(pipeline(flow), settings=Settings.load(store="memory://", blobs="."))
    await app.open()
    service = app.service
    document = service.document_from_json("graph", b"{}")
    run = await service.start("graph", document, Options())
    outcome = await service.outcome(run.id)
    assert outcome.state == "completed", outcome
    await app.aclose()


if __name__ == "__main__":
    main(drive)
