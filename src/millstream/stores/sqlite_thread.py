"""A thread that does one job after another and has its event loop told: a hand-over is one put
into a queue, an answer one call in the loop.

Belongs to `stores/sqlite.py`. Knows nothing of what a job does.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Thread:
    """Begins with the first job; ends with `end`, or with the process."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], object]] | None]
        self._jobs = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def give(self, job: Callable[[], _T], told: Callable[[_T], object]) -> None:
        """Have a job done; then `told` is called in the loop with what it returned. A job must not
        raise."""
        self._jobs.put((job, told))

    async def run(self, job: Callable[[], _T]) -> _T:
        """Have a job done that may raise, and wait for it. It is done even if nobody waits."""
        future: asyncio.Future[_T] = self._loop.create_future()
        self.give(partial(_tried, job), partial(_settle, future))
        return await future

    def end(self) -> None:
        """Once all jobs are done."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (order := self._jobs.get()) is not None:
            job, told = order
            outcome = job()
            with suppress(RuntimeError):  # the loop is closed: there is nobody to tell
                self._loop.call_soon_threadsafe(told, outcome)
            del order, job, told, outcome  # not held while waiting for the next


def _tried(job: Callable[[], _T]) -> tuple[_T | None, BaseException | None]:
    try:
        return job(), None
    except BaseException as error:
        return None, error


def _settle(future: asyncio.Future[Any], outcome: tuple[Any, BaseException | None]) -> None:
    result, error = outcome
    if future.done():  # who waited was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
