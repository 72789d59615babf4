"""A test's messages: when each is due, and what it holds. Pure: the same seed, the same load."""

import math
import random
from collections.abc import Callable, Iterator

from msgspec import Struct

from millstream_apps.nodeflow.performance.plans import PerformanceTest

STEP = 50
"""Messages for which the step pattern stays at a height."""

PERIOD = 100
"""Messages of one turn of the sine."""


class Load(Struct, gc=False):
    """One message on its way. `sent` is when, in seconds of the suite's clock."""

    sent: float
    value: float
    data: str


def due_times(plan: PerformanceTest, connection: int) -> Iterator[float]:
    """When one connection's messages are due, in seconds since the test began, in order.

    The connections take turns: together they have the plan's rate, evenly spread.
    """
    count = plan.concurrent_connections
    spacing = count / plan.message_rate
    bursts = _bursts(plan, connection)
    burst = next(bursts, math.inf)
    number = 0
    while True:
        steady = (number + connection / count) * spacing
        due = min(steady, burst)
        if due >= plan.duration:
            return
        if burst <= steady:
            burst = next(bursts, math.inf)
        else:
            number += 1
        yield due


def _bursts(plan: PerformanceTest, connection: int) -> Iterator[float]:
    """When a connection's messages in bursts are due."""
    if plan.burst is None:
        return
    size, count = plan.burst.burst_size, plan.concurrent_connections
    mine = size // count + (connection < size % count)
    turn = 1
    while (moment := turn * plan.burst.burst_interval / 1000) < plan.duration:
        yield from (moment for _ in range(mine))
        turn += 1


def values(plan: PerformanceTest, connection: int) -> Callable[[int], float]:
    """The value of a connection's n-th message."""
    match plan.data_pattern:
        case "sequential":
            return float
        case "random":
            chance = random.Random(plan.seed * 1000 + connection)
            return lambda _: chance.random()
        case "sine-wave":
            return lambda n: math.sin(2 * math.pi * n / PERIOD)
        case "step":
            return lambda n: float(n // STEP % 10)


def payload(plan: PerformanceTest, number: int) -> str:
    """So many characters, each message its own: no two share their memory."""
    return f"{number:x}".rjust(plan.message_size, "x")[: plan.message_size]
