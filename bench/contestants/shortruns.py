"""What the Python programs of question 7 share: so many runs, ten at a time, timed.

`run` makes one and returns when its step began (ns since the epoch). Prints one line of JSON."""

import asyncio
import json
import time
from array import array
from collections.abc import Awaitable, Callable


def percentiles(name: str, took: "array[float]") -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(took)
    return {
        f"{name}_p50_ms": ordered[len(ordered) // 2] * 1e3,
        f"{name}_p99_ms": ordered[len(ordered) * 99 // 100] * 1e3,
    }


async def drive(run: Callable[[], Awaitable[int]], runs: int, at_a_time: int) -> None:
    """Ten clients, each with its next run when its last one is done."""
    first, done = array("d"), array("d")
    numbers = iter(range(runs))

    async def client() -> None:
        for _ in numbers:
            began = time.time_ns()
            step = await run()
            done.append((time.time_ns() - began) / 1e9)
            first.append((step - began) / 1e9)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_a_time)))
    seconds = time.perf_counter() - began
    if len(done) != runs or min(first) < 0:
        raise SystemExit("not every run was run once, after it was asked for")
    print(
        json.dumps(
            {
                "runs": len(done),
                "seconds": seconds,
                "client_cpu_seconds": time.process_time() - cpu,
                **percentiles("first", first),
                **percentiles("done", done),
            }
        )
    )
