"""aiostream: a pipe of `map`s. A stream of it cannot be split, so it has no diamond."""

# pyright: reportMissingImports=false
from aiostream import pipe, stream

from bench.contestants.graphing import NODES, Flow, main, node, slow_node


async def drive(flow: Flow) -> None:
    function = slow_node if flow.shape == "async" else node
    line = stream.iterate(flow.paced() if flow.rate else flow.numbers())
    for _ in range(NODES):  # an async function runs for one message at a time, in order
        line |= pipe.map(function, task_limit=1) if flow.shape == "async" else pipe.map(function)
    sink = flow.sink()
    async with line.stream() as out:
        async for x in out:
            sink(x)


if __name__ == "__main__":
    main(drive)
