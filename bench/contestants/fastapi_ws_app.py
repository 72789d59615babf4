"""FastAPI's WebSocket: a text frame an event."""

# pyright: reportMissingImports=false
from fastapi import FastAPI, WebSocket

from bench.contestants.envelope import events

app = FastAPI()


@app.websocket("/ws")
async def stream(websocket: WebSocket, count: int, rate: float = 0.0) -> None:
    await websocket.accept()
    async for _, _, line in events(count, rate):
        await websocket.send_text(line.decode())
    await websocket.close()
