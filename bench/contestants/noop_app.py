"""Millstream: a pipeline of one step that does nothing. Serve it with `millstream serve`; or make
the runs in process: `python -m bench.contestants.noop_app STORE RUNS AT_A_TIME`."""

import asyncio
import sys
import time

from bench.contestants.shortruns import drive
from millstream import Millstream, Options, Pipeline, Settings

noop = Pipeline("noop")


@noop.step(executor="inline")
def nothing(number: int) -> int:
    return time.time_ns()


app = Millstream(noop)


async def main() -> None:
    embedded = Millstream(noop, settings=Settings.load(store=sys.argv[1], blobs="."))
    await embedded.open()
    service = embedded.service

    async def run() -> int:
        """One run: when its step's result became visible, which is when it was durable."""
        made = await service.start("noop", b'{"number":1}', Options())
        seen = 0
        last = ""
        async for event in service.events(made.id):
            seen = seen or time.time_ns()
            last = event.type
        assert last == "run.completed"
        return seen

    for _ in range(200):
        await run()
    print("warm", flush=True)
    sys.stdin.readline()
    await drive(run, int(sys.argv[2]), int(sys.argv[3]))
    await embedded.aclose()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
