"""The limit for Python: a protocol on uvloop that does nothing but what SSE needs.

No framework, no ASGI; a turn of the loop encodes and frames up to 64 events and writes them once.
/follow joins all who follow one run, whose events are written to each connection as they come;
/begin lets them flow.
"""

# pyright: reportMissingImports=false
import asyncio
import sys
import time
import uuid
from typing import cast
from urllib.parse import parse_qs

import uvloop

from bench.contestants.envelope import Event, encode, iso

HEADERS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
BATCH = 64
followers: set[asyncio.Transport] = set()


class Streamer(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()
        self.paused = self.waiting = False

    def data_received(self, data: bytes) -> None:
        path, _, query_string = data.split(b" ", 2)[1].partition(b"?")
        if path == b"/follow":
            self.transport.write(HEADERS)
            followers.add(self.transport)
            return
        query = parse_qs(query_string)
        self.count, self.rate = int(query[b"count"][0]), float(query.get(b"rate", [b"0"])[0])
        self.run, self.seq = str(uuid.uuid4()), 0
        self.due = self.loop.time()
        if path == b"/begin":
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            self.due += 1 / self.rate
            self.loop.call_at(self.due, self.broadcast)
            return
        self.transport.write(HEADERS)
        if self.rate:
            self.due += 1 / self.rate
            self.loop.call_at(self.due, self.pace)
        else:
            self.loop.call_soon(self.flood)

    def frame(self, kind: str, step: str | None, stamp: int | None) -> bytes:
        self.seq += 1
        moment = iso(time.time_ns() // 1_000_000)
        line = encode(Event(self.run, self.seq, kind, step, moment, stamp))
        return b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(), line, self.seq)

    def write(self, frames: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(frames), frames))

    def end(self) -> None:
        self.write(self.frame("run.completed", None, None))
        self.transport.write(b"0\r\n\r\n")

    def flood(self) -> None:
        self.waiting = False
        size = min(BATCH, self.count - self.seq)
        partial = self.frame
        self.write(b"".join([partial("step.partial", "tick", time.time_ns()) for _ in range(size)]))
        if self.seq == self.count:
            self.end()
        elif self.paused:
            self.waiting = True
        else:
            self.loop.call_soon(self.flood)

    def pace(self) -> None:
        if self.transport.is_closing():
            return
        self.write(self.frame("step.partial", "tick", time.time_ns()))
        if self.seq == self.count:
            self.end()
        else:
            self.due += 1 / self.rate
            self.loop.call_at(self.due, self.pace)

    def broadcast(self) -> None:
        frame = self.frame("step.partial", "tick", time.time_ns())
        block = b"%x\r\n%b\r\n" % (len(frame), frame)
        over = self.seq == self.count
        if over:
            last = self.frame("run.completed", None, None)
            block += b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last)
        for transport in followers:
            transport.write(block)
        if over:
            followers.clear()
            return
        self.due += 1 / self.rate
        self.loop.call_at(self.due, self.broadcast)

    def connection_lost(self, exc: Exception | None) -> None:
        followers.discard(self.transport)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.waiting:
            self.waiting = False
            self.loop.call_soon(self.flood)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Streamer, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
