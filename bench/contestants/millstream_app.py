"""Millstream: a pipeline of one step that yields. Serve it with `millstream serve`."""

import asyncio
import time
from collections.abc import AsyncIterator

from pydantic import BaseModel

from millstream import Millstream, Pipeline


class Ask(BaseModel):
    count: int
    rate: float = 0.0


ticks = Pipeline("ticks")


@ticks.step
async def tick(ask: Ask) -> AsyncIterator[int]:
    if not ask.rate:
        for _ in range(ask.count):
            yield time.time_ns()
        return
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(ask.count):
        due += 1 / ask.rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield time.time_ns()


app = Millstream(ticks)
