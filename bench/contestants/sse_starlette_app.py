"""FastAPI with sse-starlette: what most people use today. One run for many is a queue a client."""

# pyright: reportMissingImports=false
import asyncio
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


Line = tuple[int, str, bytes]
queues: set["asyncio.Queue[Line]"] = set()
publishing: set["asyncio.Task[None]"] = set()


async def followed() -> AsyncIterator[ServerSentEvent]:
    queue: asyncio.Queue[Line] = asyncio.Queue()
    queues.add(queue)
    try:
        kind = ""
        while kind != "run.completed":
            seq, kind, line = await queue.get()
            yield ServerSentEvent(data=line.decode(), event=kind, id=str(seq))
    finally:
        queues.discard(queue)


@app.get("/follow")
async def follow() -> EventSourceResponse:
    return EventSourceResponse(followed())


async def publish(count: int, rate: float) -> None:
    async for line in events(count, rate):
        for queue in queues:
            queue.put_nowait(line)


@app.get("/begin", status_code=204)
async def begin(count: int, rate: float) -> None:
    task = asyncio.create_task(publish(count, rate))
    publishing.add(task)
    task.add_done_callback(publishing.discard)
