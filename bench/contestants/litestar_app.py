"""Litestar's ServerSentEvent."""

# pyright: reportMissingImports=false
from collections.abc import AsyncIterator

from litestar import Litestar, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from bench.contestants.envelope import events


async def messages(count: int, rate: float) -> AsyncIterator[ServerSentEventMessage]:
    async for seq, kind, line in events(count, rate):
        yield ServerSentEventMessage(data=line.decode(), event=kind, id=str(seq))


@get("/stream")
async def get_stream(count: int, rate: float = 0.0) -> ServerSentEvent:
    return ServerSentEvent(messages(count, rate))


app = Litestar([get_stream])
