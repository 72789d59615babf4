"""FastAPI's own Server-Sent Events (`fastapi.sse`). `raw_data` spares it its JSON encoder."""

# pyright: reportMissingImports=false
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from bench.contestants.envelope import events

app = FastAPI()


@app.get("/stream", response_class=EventSourceResponse)
async def get_stream(count: int, rate: float = 0.0) -> AsyncIterator[ServerSentEvent]:
    async for seq, kind, line in events(count, rate):
        yield ServerSentEvent(raw_data=line.decode(), event=kind, id=str(seq))
