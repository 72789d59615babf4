"""Readers that stop, and readers that are slow, on a real server: what they cost, what they get."""

import asyncio
import base64
import json
import os
import re
import socket

import httptools
import httpx
import pytest
import websockets
from programs import PATIENCE, server, start_run

KB, MB = 1024, 1024 * 1024
ALLOWED = 256 * KB
"""What one reader that takes nothing may hold in the server's process."""


def _socket(port: int) -> socket.socket:
    """Connected, with the smallest receive buffer that the kernel gives."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    return reader


def stopped_sse(port: int, run: str) -> socket.socket:
    """Asks for the events over SSE, and reads none."""
    reader = _socket(port)
    reader.sendall(f"GET /runs/{run}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader


def stopped_socket(port: int, run: str) -> socket.socket:
    """Subscribes over a WebSocket, and reads nothing but the handshake."""
    reader = _socket(port)
    key = base64.b64encode(os.urandom(16)).decode()
    reader.sendall(
        f"GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert reader.recv(12) == b"HTTP/1.1 101"
    frame = json.dumps({"type": "subscribe", "run": run}).encode()
    mask = b"\0\0\0\0"
    reader.sendall(bytes([0x81, 0x80 | len(frame)]) + mask + frame)
    return reader


async def finished(http: httpx.AsyncClient, running) -> int:
    """Wait until nothing is worked on; the most memory that the server took meanwhile."""
    most = 0
    while (await http.get("/status")).json()["runs_active"]:
        most = max(most, running.rss())
        await asyncio.sleep(0.02)
    return max(most, running.rss())


async def nobody_left(http: httpx.AsyncClient) -> None:
    """Wait until the server follows no log for anybody."""
    async with asyncio.timeout(PATIENCE):
        while (await http.get("/status")).json()["readers"]:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("stopped", [stopped_sse, stopped_socket])
@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(10_000, 10_000, id="100 MB in events of 10 kB"),
        pytest.param(200_000, 1_000, id="200 MB in events of 1 kB", marks=pytest.mark.long),
    ],
)
async def test_a_reader_that_stops_costs_little(tmp_path, stopped, count, size):
    """They pass twice, once with few readers that take nothing, once with many: the difference
    is what such readers hold. (The first pass also pays for what all of them share.)"""
    few, many = 10, 50
    async with (
        server(tmp_path, MILLSTREAM_DURABILITY="process") as running,
        httpx.AsyncClient(base_url=running.url, timeout=PATIENCE) as http,
    ):
        sizes = []
        for readers in (few, many):
            run = await start_run(running.url, "gusher", {"count": count, "size": size})
            held = [stopped(running.port, run) for _ in range(readers)]
            sizes.append(await finished(http, running))
            assert (await http.get("/status")).json()["readers"] == readers
            for reader in held:
                reader.close()
            newest = (await http.get("/runs")).json()["runs"][0]
            assert (newest["id"], newest["state"]) == (run, "completed"), "it went on to its end"
            assert newest["seq"] > count
            await nobody_left(http)
    each = (sizes[1] - sizes[0]) / (many - few)
    print(f"a stopped reader holds {each / KB:.0f} kB")
    assert each < ALLOWED


# --- slow, not stopped ---------------------------------------------------------------------------


class Body:
    """The body of a response, from its bytes on the wire."""

    def __init__(self):
        self.text = b""
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data):
        self._parser.feed_data(data)

    def on_body(self, body):
        self.text += body

    def on_message_complete(self):
        self.complete = True


async def sse_events(running, run):
    """Over SSE, from a small buffer, a little at a time."""
    reader, writer = await asyncio.open_connection(sock=stopped_sse(running.port, run), limit=1024)
    body = Body()
    try:
        while not body.complete:
            body.feed(await reader.read(512))
            *blocks, body.text = body.text.split(b"\n\n")
            for block in blocks:
                yield json.loads(block.split(b"\ndata: ")[1].split(b"\n")[0])
    finally:
        writer.transport.abort()


async def socket_events(running, run):
    """Over a WebSocket that keeps one frame at a time."""
    url = f"ws://127.0.0.1:{running.port}/socket"
    async with websockets.connect(url, sock=_socket(running.port), max_queue=1) as connection:
        await connection.send(json.dumps({"type": "subscribe", "run": run}))
        await connection.recv()
        while True:
            event = json.loads(await connection.recv())
            yield event
            if event["type"] == "run.completed":
                return


async def _written(http) -> int:
    """How many events the server has kept so far."""
    found = re.search(r"millstream_events_total ([\d.e+]+)", (await http.get("/metrics")).text)
    return int(float(found[1])) if found else 0


@pytest.mark.parametrize("events", [sse_events, socket_events])
async def test_a_slow_reader_misses_no_result(tmp_path, events):
    """It reads one event while a hundred are written, as 100/s of 10,000/s; then the rest."""
    values = 3000
    async with (
        server(tmp_path, MILLSTREAM_DURABILITY="process") as running,
        httpx.AsyncClient(base_url=running.url, timeout=PATIENCE) as http,
        asyncio.timeout(PATIENCE),
    ):
        run = await start_run(running.url, "paced", {"count": values})
        told, while_running, written = [], 0, 0
        async for event in events(running, run):
            told.append(event)
            while written < len(told) * 100 and written < values * 10:
                written = await _written(http)
                while_running = len(told)
                await asyncio.sleep(0.005)
    print(f"{while_running} events read of {written} written meanwhile; {len(told)} in all")
    assert while_running < written / 50, "it was slow"
    accounted(told, values)


def accounted(told, values):
    """Every value in order, once; each position either told or named as merged; the end last."""
    partials = [event["data"] for event in told if event["type"] == "step.partial"]
    assert partials == list(range(values))
    position = 0
    for event in told:
        first = event["data"]["from"] if event["type"] == "log.merged" else event["seq"]
        assert first == position + 1, event
        position = event["data"]["to"] if event["type"] == "log.merged" else event["seq"]
    assert told[-1]["type"] == "run.completed"
    assert position == told[-1]["seq"] >= values * 10
    assert any(event["type"] == "log.merged" for event in told)


async def test_a_thousand_readers_come_and_go(tmp_path):
    """Nothing is kept of them: the second half costs no more memory than the first did."""
    async with (
        server(tmp_path) as running,
        httpx.AsyncClient(base_url=running.url, timeout=PATIENCE) as http,
    ):
        run = await start_run(running.url, "steady", {"count": 100_000})
        sizes = []
        for _ in range(2):
            for _ in range(10):
                readers = await asyncio.gather(
                    *(asyncio.to_thread(stopped_sse, running.port, run) for _ in range(50))
                )
                for reader in readers:
                    reader.recv(64)
                    reader.close()
            await nobody_left(http)
            sizes.append(running.rss())
        assert sizes[1] - sizes[0] < 8 * MB
        await http.delete(f"/runs/{run}")
