"""The events that every Python contestant sends: Millstream's envelope, about 150 bytes as JSON.

Peers get the fastest encoder there is and a clock string that is made once a millisecond, so that
what is compared is the streaming and not somebody's choice of a JSON library.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import lru_cache

import msgspec


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    run: str
    seq: int
    type: str
    step: str | None = None
    time: str = ""
    data: int | dict[str, int] | None = None


encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=64)
def iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


async def stamps(count: int, rate: float) -> AsyncIterator[int]:
    """`count` values, each the time it was made at (ns since the epoch): as fast as they are
    taken, or `rate` a second."""
    if not rate:
        for _ in range(count):
            yield time.time_ns()
        return
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(count):
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield time.time_ns()


async def events(count: int, rate: float) -> AsyncIterator[tuple[int, str, bytes]]:
    """Position, type and JSON of each event of one run; the last one is `run.completed`."""
    run = str(uuid.uuid4())
    seq = 0
    async for stamp in stamps(count, rate):
        seq += 1
        moment = iso(stamp // 1_000_000)
        yield (
            seq,
            "step.partial",
            encode(Event(run, seq, "step.partial", "tick", moment, stamp)),
        )
    moment = iso(time.time_ns() // 1_000_000)
    yield seq + 1, "run.completed", encode(Event(run, seq + 1, "run.completed", time=moment))
