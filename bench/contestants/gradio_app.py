"""Gradio's queue: an async generator behind it, served as an API without components.

Each value is an object, which Gradio sends as it is in a list of one. `MOST` run at once. Its run
history and its reports to its makers are off; the statistics of past requests, which it would
compute anew with pandas at the end of every one, are put off.
"""

# pyright: reportMissingImports=false
import os
import time
import uuid
from collections.abc import AsyncIterator

from fastapi import FastAPI

from bench.contestants.envelope import iso, stamps

os.environ["GRADIO_TEMP_DIR"] = os.getcwd()
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)
import gradio

MOST = 2000
"""Streams at once. Gradio keeps messages for 2,000, and forgets the oldest stream beyond that."""

Value = dict[str, str | int]


async def values(count: int, rate: float) -> AsyncIterator[Value]:
    """The envelopes of one run, as objects: it has its own encoder."""
    run = str(uuid.uuid4())
    seq = 0
    async for stamp in stamps(count, rate):
        seq += 1
        yield {
            "run": run,
            "seq": seq,
            "type": "step.partial",
            "step": "tick",
            "time": iso(stamp // 1_000_000),
            "data": stamp,
        }
    moment = iso(time.time_ns() // 1_000_000)
    yield {"run": run, "seq": seq + 1, "type": "run.completed", "time": moment}


with gradio.Blocks() as blocks:
    gradio.api(values, api_name="stream", concurrency_limit=None)
blocks.max_threads = MOST
app = gradio.mount_gradio_app(FastAPI(), blocks.queue(), path="/", run_history=False)
