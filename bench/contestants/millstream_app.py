"""Millstream: a pipeline of one step that yields. Serve it with `millstream serve`."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import BaseModel

from millstream import Millstream, Pipeline


class Ask(BaseModel):
    count: int
    rate: float = 0.0
    gate: str = ""
    """A file in the server's folder: the first event waits until it is there."""


ticks = Pipeline("ticks")


@ticks.step
async def tick(ask: Ask) -> AsyncIterator[int]:
    while ask.gate and not Path(ask.gate).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.02)
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
