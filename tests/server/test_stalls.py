"""Readers that take nothing are cut off and can resume; those that are only slow are not."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from serving import disk, follow, serving, settings

from millstream import Millstream, Pipeline
from millstream.stores.memory import MemoryStore


def firehose() -> Pipeline:
    """Yields n values of 1 kB."""
    pipeline = Pipeline("firehose")

    @pipeline.step
    async def drop(n: int) -> AsyncGenerator[str, None]:
        for each in range(n):
            yield f"{each:06d}" + "x" * 1000

    return pipeline


@pytest.fixture
def gusher(tmp_path):
    def make(**more):
        return Millstream(
            firehose(),
            settings=settings(**more),
            store=MemoryStore(),
            blobs=disk(tmp_path),
        )

    return make


class StoppedReader:
    """A client that sends a request and reads no more than it is told to."""

    def __init__(self, port, request):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        self._port, self._request = port, request

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self._port))
        await loop.sock_sendall(self.socket, self._request)
        return self

    async def __aexit__(self, *error):
        self.socket.close()

    async def read(self, size):
        return await asyncio.get_running_loop().sock_recv(self.socket, size)


def get(path, accept="text/event-stream"):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode()


@pytest.mark.parametrize("events", [3000, 300], ids=["in the middle", "at the very end"])
async def test_a_stalled_reader_is_closed_and_can_resume(tmp_path, gusher, events):
    app = gusher(stall_timeout=0.3)
    async with serving(tmp_path, app=app) as served:
        answer = await served.http.post(
            "/pipelines/firehose/runs", json={"n": events}, headers={"Prefer": "respond-async"}
        )
        run = answer.json()["id"]
        async with StoppedReader(served.port, get(f"/runs/{run}/events")) as reader:
            await served.until(lambda: len(served.app.streams) == 1)
            await served.until(lambda: app.streams.stalled == 1 and served.idle())
            got = b""
            with suppress(ConnectionResetError):
                while chunk := await reader.read(65536):
                    got += chunk
        assert b"\r\n0\r\n" not in got, "cut off, not ended"
        log = await served.ended(run)
        cursor = got.count(b"\n\n")
        assert 0 < cursor < len(log)
        app.streams.stall_timeout = 60.0  # this one reads, at whatever speed
        rest = await follow(served, run, headers={"Last-Event-ID": str(cursor)})
        assert rest == log[cursor:]
        assert app.engine.tails.watchers == 0


async def test_a_slow_reader_is_not_stalled(tmp_path, gusher):
    """It takes less than a batch in `stall_timeout`, yet always something."""
    app = gusher(stall_timeout=0.3)
    async with serving(tmp_path, app=app) as served:
        answer = await served.http.post(
            "/pipelines/firehose/runs", json={"n": 1000}, headers={"Prefer": "respond-async"}
        )
        run = answer.json()["id"]
        await served.ended(run)
        async with StoppedReader(served.port, get(f"/runs/{run}/events")) as reader:
            got, pause = 0, 0.02
            while got < 300_000:
                got += len(await reader.read(4096))
                await asyncio.sleep(pause)
        assert app.streams.stalled == 0
