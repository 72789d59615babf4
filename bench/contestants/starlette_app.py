"""Starlette's StreamingResponse with hand-made SSE blocks: no library in between."""

# pyright: reportMissingImports=false
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from bench.contestants.envelope import events


async def blocks(count: int, rate: float) -> AsyncIterator[bytes]:
    async for seq, kind, line in events(count, rate):
        yield b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(), line, seq)


async def stream(request: Request) -> StreamingResponse:
    count, rate = int(request.query_params["count"]), float(request.query_params.get("rate", 0))
    return StreamingResponse(blocks(count, rate), media_type="text/event-stream")


app = Starlette(routes=[Route("/stream", stream)])
