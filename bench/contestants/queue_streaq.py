"""streaq over Redis streams; the submitter hears of a result by publish and subscribe."""

# pyright: reportMissingImports=false
import os
import time
from contextlib import AsyncExitStack

from streaq import Worker

worker = Worker(redis_url=os.environ["BENCH_QUEUE"], concurrency=10)
stack = AsyncExitStack()


@worker.task()
async def nothing() -> int:
    return time.time_ns()


async def connect() -> None:
    """Before the first run."""
    await stack.enter_async_context(worker)


async def run() -> int:
    """One run: when its step began."""
    task = await nothing.enqueue()  # type: ignore[attr-defined]
    return (await task.result(timeout=30)).result


async def close() -> None:
    """After the last one."""
    await stack.aclose()
