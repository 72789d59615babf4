"""A test's pipeline: for each connection a source of load, an arrow, and a sink. A live pipeline
like any other; the counts made here are compared with the engine's own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from millstream import Buffer, From, Latencies, Pipeline, Stream
from millstream_apps.nodeflow.performance.load import Load, due_times, payload, values
from millstream_apps.nodeflow.performance.plans import PerformanceTest

NAME = "load"
TICK = 0.002
"""Seconds: messages due within the same tick are sent together."""

ROUND = 0.01
"""Seconds: how often a sink of a limited rate takes what it may."""


class Counted:
    """What sources and sinks of one test see. `clock` gives seconds; set `stopping` to end early."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.stopping = asyncio.Event()
        self.sent: dict[int, int] = {}
        self.received: dict[int, int] = {}
        self.latencies = Latencies()
        """From send to receipt."""
        self.lateness = Latencies()
        """From when a message was due to when it was sent: a test that cannot keep its rate, or a
        full buffer that stops its source, shows here."""
        self.out_of_order = 0
        self.began: float | None = None

    def begin(self) -> float:
        """When the first source began."""
        if self.began is None:
            self.began = self.clock()
        return self.began

    async def until(self, moment: float) -> None:
        """Wait until then, or until the test is to stop."""
        wait = moment - self.clock()
        if wait > 0:
            timer = asyncio.get_running_loop().call_later(wait, _wake, waiter := _future())
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)
