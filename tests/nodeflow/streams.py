"""Streams by hand, on the virtual clock."""

import asyncio

from millstream.testing.clock import virtual_now
from millstream_apps.nodeflow.streaming import (
    StreamEngine,
    StreamMessage,
)

ID = "a:output->b:input"


def engine(handler=None, config=None):
    made = StreamEngine(now=virtual_now)
    made.set_backpressure_handler(handler)
    made.create_connection("a", "b", config=config)
    return made


async def filled(made, count, kinds=("data-flow",)):
    """So many messages written; which were taken in."""
    connection = made.get_connection(ID)
    return [
        await connection.writer.write(
            StreamMessage(data=n, metadata={"type": kinds[n % len(kinds)]})
        )
        for n in range(count)
    ]


async def settled(turns=20):
    for _ in range(turns):
        await asyncio.sleep(0)


def conserved(made):
    found = made.get_connection(ID).statistics()
    assert found.sent == found.delivered + found.dropped + found.waiting
    return found
