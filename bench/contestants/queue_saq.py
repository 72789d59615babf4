"""SAQ over Redis lists; the submitter hears of a result by publish and subscribe."""

# pyright: reportMissingImports=false
import os
import time
from contextlib import suppress
from typing import Any

from saq import Queue

queue = Queue.from_url(os.environ["BENCH_QUEUE"])


async def nothing(_: dict[str, Any]) -> int:
    return time.time_ns()


settings = {"queue": queue, "functions": [nothing], "concurrency": 10}


async def connect() -> None:
    """Before the first run."""
    await queue.connect()


async def run() -> int:
    """One run: when its step began. What was told before one listens is missed: look again."""
    job = await queue.enqueue("nothing")
    assert job is not None
    while job.result is None:
        with suppress(TimeoutError):
            await job.refresh(until_complete=0.05)
    return job.result


async def close() -> None:
    """After the last one."""
    await queue.disconnect()
