"""FastAPI with sse-starlette: what most people use today."""

# pyright: reportMissingImports=false
from collections.abc import AsyncIterator

from fastapi import FastAPI
from sse_starlette import EventSourceResponse, ServerSentEvent

from bench.contestants.envelope import events

app = FastAPI()


async def stream(count: int, rate: float) -> AsyncIterator[ServerSentEvent]:
    async for seq, kind, line in events(count, rate):
        yield ServerSentEvent(data=line.decode(), event=kind, id=str(seq))


@app.get("/stream")
async def get_stream(count: int, rate: float = 0.0) -> EventSourceResponse:
    return EventSourceResponse(stream(count, rate))
