"""Fetching: one piece of work for all who ask for the same at once.

Each waits for as long as it likes; who leaves does not disturb the others, and when the last has
left the work is stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """The work was stopped, since all of it is (`Flights.aclose`)."""


class Flight(Generic[T]):
    """One piece of work under way. It says `begin()` when its waiters' clocks are to start: until
    then it only waits for its turn."""

    def __init__(self) -> None:
        self.waiting = 0
        self._begun = asyncio.Event()
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """From now on time counts."""
        self._begun.set()

    def start(self, work: "Callable[[Flight[T]], Awaitable[T]]") -> "asyncio.Task[T]":
        """Set off."""

        async def fly() -> T:
            return await work(self)

        self._task = asyncio.create_task(fly())
        self._task.add_done_callback(self._landed)
        return self._task

    def _landed(self, task: "asyncio.Task[T]") -> None:
        self._begun.set()
        if not task.cancelled():
            task.exception()  # every waiter has it; all may have left

    async def result(self, timeout: float) -> T:
        """What it brings. Raises TimeoutError when that takes more than `timeout` seconds from its
        beginning, or from now where it has begun; Ended; and whatever the work raises."""
        assert self._task is not None
        await self._begun.wait()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if self._task.cancelled() and waiter is not None and not waiter.cancelling():
                raise Ended from None
            raise

    def abandon(self) -> None:
        """Nobody waits any more."""
        if self._task is not None:
            self._task.cancel()


class Flights(Generic[T]):
    """Work under way by what it is for."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    async def share(
        self, key: Hashable, work: "Callable[[Flight[T]], Awaitable[T]]", *, timeout: float
    ) -> T:
        """The result of `work`, or of the same work that is under way already."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight()
            task = flight.start(work)
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._over(key, flight, done))
        flight.waiting += 1
        try:
            return await flight.result(timeout)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                self._forget(key, flight)
                flight.abandon()

    def _over(self, key: Hashable, flight: Flight[T], task: "asyncio.Task[T]") -> None:
        self._tasks.discard(task)
        self._forget(key, flight)

    def _forget(self, key: Hashable, flight: Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)

    async def aclose(self) -> None:
        """Stop all work; those who wait for it get Ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
