"""What the process uses while a test runs: processor time and memory, as the system counts them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import psutil
from msgspec import Struct

EVERY = 0.25
"""Seconds between two looks at the memory."""

MIB = 2**20


class Usage(Struct, frozen=True, rename="camel"):
    """`cpu` in per cent of one core, over the whole test; memory in bytes that the process held:
    at the beginning, at most, at the end."""

    cpu: float = 0.0
    memory_before: int = 0
    memory_peak: int = 0
    memory_after: int = 0

    @property
    def growth(self) -> int:
        """Bytes by which it was larger than at the beginning, at most."""
        return self.memory_peak - self.memory_before


class UsageMeter:
    """Use it as `async with`; `usage` is what it comes to."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._process = clock, psutil.Process()
        self._task: asyncio.Task[None] | None = None
        self._before = self._peak = self._after = 0
        self._began = self._busy = 0.0
        self._ended: tuple[float, float] | None = None

    async def __aenter__(self) -> Self:
        self._before = self._peak = self._after = self._held()
        self._began, self._busy = self._clock(), self._spent()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._look()
        self._ended = self._clock(), self._spent()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self._look()

    def _look(self) -> None:
        self._after = self._held()
        self._peak = max(self._peak, self._after)

    def _held(self) -> int:
        return self._process.memory_info().rss

    def _spent(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    @property
    def usage(self) -> Usage:
        """Until now, or until it ended."""
        moment, spent = self._ended or (self._clock(), self._spent())
        passed = moment - self._began
        cpu = 100 * (spent - self._busy) / passed if passed > 0 else 0.0
        return Usage(cpu, self._before, self._peak, self._after)
