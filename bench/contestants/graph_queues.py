"""What one writes by hand: a task a node, bounded asyncio queues between them."""

import asyncio
from collections.abc import Callable
from typing import Any

from bench.contestants.graphing import BRANCHES, NODES, Flow, join, main, node, slow_node

SIZE = 1000
Numbers = asyncio.Queue[int | None]
"""None is the end."""


async def work(function: Callable[[int], Any], inbox: Numbers, outbox: Numbers) -> None:
    while (x := await inbox.get()) is not None:
        await outbox.put(function(x))
    await outbox.put(None)


async def work_async(function: Callable[[int], Any], inbox: Numbers, outbox: Numbers) -> None:
    while (x := await inbox.get()) is not None:
        await outbox.put(await function(x))
    await outbox.put(None)


async def joined(inboxes: list[Numbers], outbox: Numbers) -> None:
    while None not in (four := [await inbox.get() for inbox in inboxes]):
        await outbox.put(join(*four))  # type: ignore[arg-type]
    await outbox.put(None)


async def feed(flow: Flow, inboxes: list[Numbers]) -> None:
    if flow.rate:
        async for x in flow.paced():
            for inbox in inboxes:
                await inbox.put(x)
    else:
        for x in flow.numbers():
            for inbox in inboxes:
                await inbox.put(x)
    for inbox in inboxes:
        await inbox.put(None)


async def drive(flow: Flow) -> None:
    sink = flow.sink()
    async with asyncio.TaskGroup() as tasks:
        if flow.shape == "diamond":
            pairs = [(function, Numbers(SIZE), Numbers(SIZE)) for function in BRANCHES]
            for function, inbox, outbox in pairs:
                tasks.create_task(work(function, inbox, outbox))
            last = Numbers(SIZE)
            tasks.create_task(joined([outbox for _, _, outbox in pairs], last))
            tasks.create_task(feed(flow, [inbox for _, inbox, _ in pairs]))
        else:
            last = first = Numbers(SIZE)
            for _ in range(NODES):
                inbox, last = last, Numbers(SIZE)
                if flow.shape == "async":
                    tasks.create_task(work_async(slow_node, inbox, last))
                else:
                    tasks.create_task(work(node, inbox, last))
            tasks.create_task(feed(flow, [first]))
        while (x := await last.get()) is not None:
            sink(x)


if __name__ == "__main__":
    main(drive)
