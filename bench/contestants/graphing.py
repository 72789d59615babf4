"""What the Python programs of question 6 share: the nodes, the messages, and what is checked.

Messages are numbers 0, 1, 2 … as fast as they are taken; at a rate, each is the time at which it
was made (ns), so that what comes out says how long it took. Each node adds; nothing is filtered,
so that counts and order can be checked at the end.

    python -m bench.contestants.graph_NAME line|diamond|async COUNT RATE
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any

NODES = 10
TICK = 0.001
"""Seconds between two moments at which a steady source makes what is due."""


def node(x: int) -> int:
    return x + 1


async def slow_node(x: int) -> int:
    """An async node that does not wait."""
    return x + 1


def branch(number: int) -> Callable[[int], int]:
    """One of the diamond's four."""

    def add(x: int) -> int:
        return x + number

    return add


BRANCHES = tuple(branch(number) for number in (1, 2, 3, 4))


def join(a: int, b: int, c: int, d: int) -> int:
    return a + b + c + d


@dataclass
class Flow:
    """One measured flow: the messages that go in, and what came out."""

    shape: str
    count: int
    rate: float = 0.0
    out: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    took: list[int] = field(default_factory=list)
    began: float = 0.0
    cpu: float = 0.0

    def begin(self) -> None:
        """The first message is about to be made."""
        self.began, self.cpu = time.perf_counter(), time.process_time()

    def numbers(self) -> Iterator[int]:
        """As fast as they are taken."""
        self.begin()
        yield from range(self.count)

    def due(self, sent: int) -> list[int]:
        """At a rate: what is to be made now, as stamps."""
        if not sent:
            self.begin()
        wanted = min(self.count, int((time.perf_counter() - self.began) * self.rate) + 1)
        stamps = [time.perf_counter_ns() for _ in range(wanted - sent)]
        self.made += stamps
        return stamps

    def ticks(self) -> Iterator[list[int]]:
        """At a rate: a list of messages a tick, for what has no event loop."""
        sent = 0
        while sent < self.count:
            stamps = self.due(sent)
            sent += len(stamps)
            yield stamps
            time.sleep(TICK)

    async def paced(self) -> AsyncIterator[int]:
        """At a rate, in an event loop."""
        sent = 0
        while sent < self.count:
            stamps = self.due(sent)
            sent += len(stamps)
            for stamp in stamps:
                yield stamp
            await asyncio.sleep(TICK)

    def sink(self) -> Callable[[int], Any]:
        """What takes each message that comes out."""
        return self._timed if self.rate else self.out.append

    def _timed(self, out: int) -> None:
        self.took.append(time.perf_counter_ns() - self.original(out))
        self.out.append(out)

    def original(self, out: int) -> int:
        """The message that an output was made of."""
        return (out - sum((1, 2, 3, 4))) // 4 if self.shape == "diamond" else out - NODES

    def figures(self) -> dict[str, float]:
        """What it took. Ends the program where anything is missing or out of order."""
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        wanted = self.made if self.rate else list(range(self.count))
        if len(wanted) != self.count or [self.original(out) for out in self.out] != wanted:
            sys.exit(f"{len(self.out)} of {self.count} came out, or out of order")
        told = {"messages": self.count, "seconds": seconds, "cpu_seconds": cpu}
        ordered = sorted(self.took)
        for percent in (50, 95, 99) if ordered else ():
            told[f"latency_p{percent}_ms"] = ordered[len(ordered) * percent // 100] / 1e6
        return told


Drive = Callable[[Flow], None] | Callable[[Flow], Awaitable[None]]


def main(drive: Drive) -> None:
    """Warm up, measure what the command line asks for, print it."""
    shape, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    _drive(drive, Flow(shape, min(2_000, count)))
    flow = Flow(shape, count, rate)
    _drive(drive, flow)
    print(json.dumps(flow.figures()))


def _drive(drive: Drive, flow: Flow) -> None:
    if not iscoroutinefunction(drive):
        drive(flow)
        return
    import uvloop

    uvloop.run(drive(flow))
