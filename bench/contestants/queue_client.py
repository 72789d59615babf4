"""The submitting side of question 7, with the address of Valkey in BENCH_QUEUE.

python -m bench.contestants.queue_client taskiq|streaq|saq RUNS AT_A_TIME
"""

import asyncio
import importlib
import sys
import time

import uvloop

from bench.contestants.shortruns import drive

WARM = 50


async def main() -> None:
    queue = importlib.import_module(f"bench.contestants.queue_{sys.argv[1]}")
    runs, at_a_time = int(sys.argv[2]), int(sys.argv[3])
    await queue.connect()
    async with asyncio.timeout(60):
        for _ in range(WARM):  # the worker may not be there yet
            assert abs(await queue.run() - time.time_ns()) < 60e9
    print("warm", flush=True)
    sys.stdin.readline()
    await drive(queue.run, runs, at_a_time)
    await queue.close()


if __name__ == "__main__":
    uvloop.run(main())
