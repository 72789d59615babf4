"""A virtual clock: an event loop whose time jumps to the next timer when nothing else is left.

An hour of timeouts passes in milliseconds, in the same order each time. While work is under way
in a thread of `run_in_executor`, time stands still and the loop waits for it.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What `now` says when the loop's time is 0: any fixed moment."""


class Deadlock(RuntimeError):
    """Every task waits, no timer is set and no thread works: nothing can ever happen again."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls; where that finds nothing and the loop would sleep, time jumps instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.working:
            return super().select(timeout if timeout is None else max(timeout, 0.05))
        if timeout is None:
            raise Deadlock("every task waits for another one")
        self.loop.jump()
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, beginning at 0. `now` is its wall clock."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self._virtual = 0.0
        self.working = 0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def now(self) -> float:
        """Virtual seconds since the epoch."""
        return EPOCH + self._virtual

    def jump(self) -> None:
        """To the next timer that has not been cancelled."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        timers = [timer for timer in scheduled if not timer.cancelled()]
        if timers:
            self._virtual = max(self._virtual, heapq.nsmallest(1, timers)[0].when())

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """As ever; time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self.working += 1
        future.add_done_callback(self._worked)
        return future

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """As ever; its threads are at work until they have ended."""
        self.working += 1
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self.working -= 1

    def _worked(self, _: object) -> None:
        self.working -= 1


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a virtual clock. Raises Deadlock where it cannot end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_now() -> float:
    """The running virtual loop's wall clock."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("virtual_now() needs a running VirtualLoop")
    return loop.now()
