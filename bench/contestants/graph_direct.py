"""The limit: functions that call functions. The async line awaits one node after the other."""

from bench.contestants.graphing import BRANCHES, Flow, join, main, node, slow_node

ONE, TWO, THREE, FOUR = BRANCHES


def line(x: int) -> int:
    return node(node(node(node(node(node(node(node(node(node(x))))))))))


def diamond(x: int) -> int:
    return join(ONE(x), TWO(x), THREE(x), FOUR(x))


async def slow_line(x: int) -> int:
    for _ in range(10):
        x = await slow_node(x)
    return x


async def drive(flow: Flow) -> None:
    function, sink = diamond if flow.shape == "diamond" else line, flow.sink()
    if flow.rate:
        async for x in flow.paced():
            sink(function(x))
    elif flow.shape == "async":
        for x in flow.numbers():
            sink(await slow_line(x))
    else:
        for x in flow.numbers():
            sink(function(x))


if __name__ == "__main__":
    main(drive)
