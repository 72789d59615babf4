"""streamz: nodes that hand on what they are given, synchronously."""

# pyright: reportMissingImports=false
from streamz import Stream, zip

from bench.contestants.graphing import BRANCHES, NODES, Flow, join, main, node


async def drive(flow: Flow) -> None:
    source = Stream()
    if flow.shape == "diamond":
        out = zip(*[source.map(function) for function in BRANCHES]).starmap(join)
    else:
        out = source
        for _ in range(NODES):
            out = out.map(node)
    out.sink(flow.sink())
    if flow.rate:
        async for x in flow.paced():
            source.emit(x)
    else:
        for x in flow.numbers():
            source.emit(x)


if __name__ == "__main__":
    main(drive)
