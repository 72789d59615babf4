"""A test's pipeline: for each connection a source of load, an arrow, and a sink. A live pipeline
like any other; the counts made here are compared with the engine's own.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

from millstream import Buffer, Each, From, Latencies, Pipeline, Stream
from millstream_apps.nodeflow.performance.load import Load, due_times, payload, values
from millstream_apps.nodeflow.performance.plans import PerformanceTest

NAME = "load"
TICK = 0.004
"""Seconds: what is due within the same tick is sent together, at its end, on all connections."""

SLACK = 0.0005
"""Seconds: half of what an event loop's timers can tell apart."""

PATIENCE = 0.1
"""Seconds: how soon a source that waits hears that the test is to stop."""

ROUND = 0.01
"""Seconds: how often a sink of a limited rate takes what it may."""


class Counted:
    """What sources and sinks of one test see. `clock` gives seconds; `stopping` ends it early."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.stopping = False
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
        """Wait until then (give or take half a millisecond, which is what timers can do), or until
        the test is to stop."""
        while not self.stopping and (wait := moment - self.clock()) > SLACK:  # noqa: ASYNC110
            await asyncio.sleep(min(max(wait, 2 * SLACK), PATIENCE))

    def note(self, connection: int, load: Load, before: float) -> None:
        """A sink has a message."""
        self.received[connection] = self.received.get(connection, 0) + 1
        self.latencies.add(self.clock() - load.sent)
        self.out_of_order += load.sent < before


def pipeline(plan: PerformanceTest, counted: Counted) -> Pipeline:
    """The test's pipeline; nothing of it is published."""
    made = Pipeline(NAME, live=True)
    buffer = Buffer(size=plan.buffer_size, on_full=plan.on_full)
    for number in range(plan.concurrent_connections):
        source, sink = f"load-{number + 1}", f"sink-{number + 1}"
        made.add(source, _source(plan, counted, number), publish="never")
        made.add(
            sink,
            _sink(plan, counted, number),
            arrows={"load": From(source)},
            executor="inline",
            buffer=buffer,
            publish="never",
        )
    return made


def _source(plan: PerformanceTest, counted: Counted, number: int) -> Callable[..., Any]:
    async def source() -> AsyncIterator[Load]:
        value, began, clock = values(plan, number), counted.begin(), counted.clock
        for count, due in enumerate(due_times(plan, number)):
            now = clock()
            if began + due - now > SLACK:
                await counted.until(began + math.ceil(due / TICK) * TICK)
                now = clock()
            if counted.stopping:
                return
            counted.sent[number] = count + 1
            counted.lateness.add(max(0.0, now - began - due))
            yield Load(now, value(count), payload(plan, count))

    return source


def _sink(plan: PerformanceTest, counted: Counted, number: int) -> Callable[..., Any]:
    if plan.sink_rate is not None:
        return _slow_sink(plan.sink_rate, counted, number)
    before = 0.0

    def sink(load: Each[Load]) -> None:
        nonlocal before
        counted.note(number, load, before)
        before = load.sent

    return sink


def _slow_sink(rate: float, counted: Counted, number: int) -> Callable[..., Any]:
    """Takes at most so many a second, a few at a time."""

    async def sink(load: Stream[Load]) -> None:
        taken, before, began = 0, 0.0, counted.clock()
        several = max(1, int(rate * ROUND))
        async for each in load:
            counted.note(number, each, before)
            before = each.sent
            taken += 1
            if taken % several == 0:
                began = max(began, counted.clock() - taken / rate - 1)
                await counted.until(began + taken / rate)

    return sink
