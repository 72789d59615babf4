"""taskiq over Redis streams (its broker that acknowledges), results in Redis."""

# pyright: reportMissingImports=false
import os
import time

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["BENCH_QUEUE"]
broker = RedisStreamBroker(URL).with_result_backend(
    RedisAsyncResultBackend(URL, result_ex_time=600)
)


@broker.task
async def nothing() -> int:
    return time.time_ns()


async def connect() -> None:
    """Before the first run."""
    await broker.startup()


async def run() -> int:
    """One run: when its step began. taskiq asks for a result until it is there."""
    task = await nothing.kiq()  # type: ignore[attr-defined]
    return (await task.wait_result(check_interval=0.001, timeout=30)).return_value


async def close() -> None:
    """After the last one."""
    await broker.shutdown()
