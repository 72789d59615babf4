"""Calls to executors, for their tests; nothing here waits for ever."""

import asyncio

import pytest

from millstream.context import Facts
from millstream.engine.executor import Call, Inline

FACTS = Facts(run="r", pipeline="p", step="s", item=3, attempt=2, deadline=110.0)
GUARD = 30  # seconds; far more than anything here takes


def call(function, context=None, **arguments) -> Call:
    return Call(function, arguments, FACTS, context)


def now() -> float:
    return 100.0


def inline(**options) -> Inline:
    return Inline(now, **options)


async def async_add(a, b):
    await asyncio.sleep(0)
    return a + b


async def async_count(n):
    for i in range(n):
        yield i


async def within(awaitable, seconds: float = GUARD):
    return await asyncio.wait_for(awaitable, seconds)


async def cancel(task: asyncio.Task) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
