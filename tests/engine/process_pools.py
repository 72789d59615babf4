"""Pools of processes, and calls to them, for the tests of the process pool."""

import asyncio
import os
from pathlib import Path

import pytest
import steps_for_executors as steps
from executors import call, within
from steps_for_executors import Ear

from millstream.engine.processes import ProcessPool, StartMethod
from millstream.errors import StepError
from millstream.policy import Processes

HERE = Path(__file__).parent


def make(workers: int, warm=None, context: StartMethod = "forkserver", **options) -> ProcessPool:
    """Most tests use the start method that is quick; those it may matter to, both."""
    policy = Processes(workers=workers, warm=warm)
    return ProcessPool(policy, lambda: 100.0, context=context, **options)


async def failure(awaitable) -> StepError:
    with pytest.raises(StepError) as caught:
        await within(awaitable)
    return caught.value


def start(pool: ProcessPool, *args, ear: Ear | None = None, **kwargs) -> asyncio.Task:
    return asyncio.create_task(pool.run(call(*args, **kwargs), ear or Ear()))


async def hanging(pool: ProcessPool, function=steps.hang) -> tuple[asyncio.Task, Ear, int]:
    """A call that hangs, once it does; and its process."""
    ear = Ear()
    task = start(pool, function, "context", ear=ear)
    await ear.something()
    return task, ear, ear.heard[0][1]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
