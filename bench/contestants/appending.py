"""What the programs of question 5 share: N writers, a window, latencies, one line of JSON.

A writer appends `events` events. With `window` 1 it waits for each to be durable; otherwise it is
at most that many ahead. `Group` is group commit as one writes it by hand: whatever gathered while
a commit was under way is the next commit, in a thread of its own.
"""

import asyncio
import json
import sys
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.contestants.envelope import Event, encode, iso


class Asked:
    """The words of the command line: runs, events a run, window, folder."""

    def __init__(self) -> None:
        self.runs, self.events, self.window = (int(word) for word in sys.argv[1:4])
        self.folder = Path(sys.argv[4])


def envelope(run: str, seq: int) -> bytes:
    stamp = time.time_ns()
    return encode(Event(run, seq, "step.partial", "tick", iso(stamp // 1_000_000), stamp))


class Latencies:
    """How long each append took until it was durable, in seconds."""

    def __init__(self) -> None:
        self.took = array("d")

    def report(self) -> dict[str, float]:
        ordered = sorted(self.took)
        return {
            "latency_p50_ms": ordered[len(ordered) // 2] * 1e3,
            "latency_p99_ms": ordered[len(ordered) * 99 // 100] * 1e3,
        }


Row = tuple[str, int, bytes]


class Group:
    """Group commit by hand over `commit`, which keeps rows and returns when they are durable."""

    def __init__(self, commit: Callable[[Sequence[Row]], None]) -> None:
        self._commit, self._thread = commit, ThreadPoolExecutor(1)
        self._rows: list[Row] = []
        self._done: list[tuple[float, asyncio.Future[None]]] = []
        self._busy = False
        self.commits = 0
        self.latencies = Latencies()

    def append(self, row: Row) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._rows.append(row)
        self._done.append((time.perf_counter(), future))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return future

    def _next(self) -> None:
        rows, self._rows = self._rows, []
        done, self._done = self._done, []
        self.commits += 1
        loop = asyncio.get_running_loop()
        task = loop.run_in_executor(self._thread, self._commit, rows)
        task.add_done_callback(lambda task: self._committed(task, done))

    def _committed(
        self, task: asyncio.Future[None], done: list[tuple[float, asyncio.Future[None]]]
    ) -> None:
        task.result()
        if self._rows:
            self._next()
        else:
            self._busy = False
        moment = time.perf_counter()
        for began, future in done:
            self.latencies.took.append(moment - began)
            future.set_result(None)

    async def write(self, run: str, events: int, window: int) -> None:
        """One run's events."""
        ahead: list[asyncio.Future[None]] = []
        for seq in range(1, events + 1):
            ahead.append(self.append((run, seq, envelope(run, seq))))
            if len(ahead) >= window:
                await ahead[-1]
                ahead.clear()
        if ahead:
            await ahead[-1]


async def timed(asked: Asked, write: Callable[[int], Awaitable[None]]) -> dict[str, float]:
    """All runs at once. `write` writes one run."""
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(write(number) for number in range(asked.runs)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    events = asked.runs * asked.events
    return {
        "events": events,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events_per_second": events / seconds,
        "events_per_cpu_second": events / cpu,
    }


def tell(figures: dict[str, float], found: dict[str, list[int]], asked: Asked) -> None:
    """Check what the disk has (positions by run), and print the figures."""
    wanted = list(range(1, asked.events + 1))
    if len(found) != asked.runs or any(positions != wanted for positions in found.values()):
        sys.exit("what was written is not what is on the disk")
    print(json.dumps(figures))
