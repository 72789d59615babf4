"""PerformanceTestSuite: runs tests, one after another, each as a live run of its own.

What is measured is measured: sources and sinks count, the engine counts, the system says what the
process used. `abort` ends the test at hand; what there is by then is its result.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from millstream import LiveRun, Millstream, MillstreamError, Options, Settings
from millstream_apps.nodeflow.performance.flow import NAME, Counted, pipeline
from millstream_apps.nodeflow.performance.load import due_times
from millstream_apps.nodeflow.performance.plans import PerformanceTest
from millstream_apps.nodeflow.performance.reporting import report
from millstream_apps.nodeflow.performance.results import (
    Milliseconds,
    PerformanceResult,
    connection_results,
    failures,
)
from millstream_apps.nodeflow.performance.usage import Usage, UsageMeter

EVERY = 0.5
"""Seconds between two words of progress."""

GRACE = 30.0
"""Seconds that what waits may take to drain, beyond the test's duration, before it is cancelled."""


class Progress(Struct, frozen=True):
    """A test under way. `elapsed` and `duration` in seconds, `p95` in ms."""

    test: PerformanceTest
    elapsed: float
    sent: int
    received: int
    dropped: int
    waiting: int
    p95: float
    usage: Usage


Told = Callable[[Progress], object]


class PerformanceTestSuite:
    """Tests, run one at a time. `clock` gives seconds, for durations."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._results: list[PerformanceResult] = []
        self._counted: Counted | None = None
        self._aborted = False

    async def run_test(
        self, test: PerformanceTest, progress: Told | None = None
    ) -> PerformanceResult:
        """Run one test. A test that fails is a result, too; it says why."""
        counted = self._counted = Counted(self._clock)
        counted.stopping = self._aborted
        settings = Settings.load({"store": "memory://", "drain": 0.0})
        app = Millstream(pipeline(test, counted), settings=settings)
        await app.open()
        try:
            result = await self._measured(test, app, counted, progress)
        finally:
            self._counted = None
            await app.aclose()
        self._results.append(result)
        return result

    async def run_test_suite(
        self, tests: Iterable[PerformanceTest], progress: Told | None = None
    ) -> Sequence[PerformanceResult]:
        """Run some; those behind an `abort` are left out."""
        done: list[PerformanceResult] = []
        for test in tests:
            if self._aborted:
                break
            done.append(await self.run_test(test, progress))
        return done

    def abort(self) -> None:
        """End the test at hand; its sources stop, what waits drains, and what there is is its
        result. Tests after it are not begun."""
        self._aborted = True
        if self._counted is not None:
            self._counted.stopping = True

    def get_results(self) -> Sequence[PerformanceResult]:
        """Of all tests so far."""
        return tuple(self._results)

    def clear_results(self) -> None:
        """Forget them, and an `abort`."""
        self._results.clear()
        self._aborted = False

    def generate_report(self) -> str:
        """The results as Markdown."""
        return report(self._results)

    # --- one test ---------------------------------------------------------------------------

    async def _measured(
        self, test: PerformanceTest, app: Millstream, counted: Counted, progress: Told | None
    ) -> PerformanceResult:
        async with UsageMeter(self._clock) as meter:
            run = await app.service.start(NAME, b"{}", Options(timeout=test.duration + GRACE))
            outcome = asyncio.create_task(app.service.outcome(run.id))
            live = await _begun(app, run.id, outcome)
            while not outcome.done():
                await asyncio.wait([outcome], timeout=EVERY)
                if progress is not None and live is not None:
                    progress(_progress(test, live, counted, meter))
            ended = self._clock()
        document = outcome.result()
        error = None
        if document.state != "completed" or document.error is not None:
            error = f"the run {document.state}: {document.error}"
        return _result(test, live, counted, meter.usage, ended, self._aborted, error)

    def __repr__(self) -> str:
        return f"<PerformanceTestSuite, {len(self._results)} results>"


async def _begun(app: Millstream, run: str, outcome: asyncio.Task[Any]) -> LiveRun | None:
    """The live run, as soon as its steps are there; None where it ended before."""
    while not outcome.done():
        try:
            live = await app.service.live(run)
            live.statistics()
            return live
        except MillstreamError:  # not yet
            await asyncio.sleep(0.001)
    return None


def _progress(
    test: PerformanceTest, live: LiveRun, counted: Counted, meter: UsageMeter
) -> Progress:
    edges = live.statistics().edges.values()
    return Progress(
        test=test,
        elapsed=counted.clock() - counted.begin(),
        sent=sum(counted.sent.values()),
        received=sum(counted.received.values()),
        dropped=sum(edge.dropped for edge in edges),
        waiting=sum(edge.waiting for edge in edges),
        p95=counted.latencies.percentiles().p95 * 1000,
        usage=meter.usage,
    )


def _result(
    test: PerformanceTest,
    live: LiveRun | None,
    counted: Counted,
    usage: Usage,
    ended: float,
    aborted: bool,
    error: str | None,
) -> PerformanceResult:
    edges = {} if live is None else live.statistics().edges
    connections = connection_results(counted.sent, counted.received, edges)
    duration = ended - counted.begin()  # before any rate
    sent, received = sum(counted.sent.values()), sum(counted.received.values())
    dropped = sum(each.dropped for each in connections)
    rate = received / duration if duration > 0 else 0.0
    result = PerformanceResult(
        test=test,
        duration=duration,
        planned=sum(1 for n in range(test.concurrent_connections) for _ in due_times(test, n)),
        sent=sent,
        received=received,
        dropped_messages=dropped,
        messages_per_second=rate,
        megabytes_per_second=rate * test.message_size / 1e6,
        loss=dropped / sent if sent else 0.0,
        latency=Milliseconds.of(counted.latencies.percentiles()),
        lateness=Milliseconds.of(counted.lateness.percentiles()),
        out_of_order=counted.out_of_order,
        stops=sum(edge.stops for edge in edges.values()),
        usage=usage,
        connections=connections,
        aborted=aborted,
        error=error,
    )
    return msgspec.structs.replace(result, failures=failures(result))
