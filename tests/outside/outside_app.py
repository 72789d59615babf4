"""What the servers of these tests serve: runs that last, and runs that gush."""

import asyncio
from collections.abc import AsyncGenerator

from msgspec import Struct

from millstream import Context, Each, Millstream, Pipeline

steady, gusher, paced = Pipeline("steady"), Pipeline("gusher"), Pipeline("paced")


class Volume(Struct):
    """So many values of so many bytes; every tenth also tells progress where that is wanted."""

    count: int
    size: int = 10
    progress: bool = False


@steady.step
async def tick(count: int) -> AsyncGenerator[str, None]:
    for each in range(count):
        await asyncio.sleep(0.01)
        yield f"tick {each} " + "·" * (each % 40)


@steady.step
async def length(tick: Each[str]) -> int:
    return len(tick)


@gusher.step
async def drop(volume: Volume) -> AsyncGenerator[str, None]:
    for each in range(volume.count):
        yield f"{each:08d}".ljust(volume.size, "x")


@paced.step
async def value(volume: Volume, context: Context) -> AsyncGenerator[int, None]:
    """About 10,000 events a second: 100 at a time, every 10 ms, nine of ten of them progress."""
    for each in range(volume.count):
        for part in range(9):
            context.progress((each + part / 9) / volume.count)
        yield each
        if each % 10 == 9:
            await asyncio.sleep(0.01)


app = Millstream(steady, gusher, paced)
