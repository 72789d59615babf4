"""Servers and a network that fails on demand, for the client's tests."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from client_apps import make_app

from millstream.server.protocol import listen, make_server

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


@asynccontextmanager
async def served(tmp_path, **settings):
    """An application on a free port, in this loop: (application, url)."""
    app = make_app(**{"store": "memory://", "blobs": tmp_path / "blobs", **settings})
    listener = listen("127.0.0.1", 0)
    ready = asyncio.Event()
    server = make_server(app, app.drain, started=ready.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await ready.wait()
    try:
        yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """`millstream serve` in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        store = f"sqlite:///{self.folder}/runs.db"
        command = [sys.executable, "-m", "millstream", "serve", "client_apps:app"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port), "--store", store],
            cwd=HERE,
            env={**os.environ, "MILLSTREAM_LEASE_TTL": "0.5"},
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if b" at http" in line:
                return
        raise AssertionError("it did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Proxy:
    """A TCP proxy to `target` that cuts each connection after as many bytes of answers as `limit`
    says for it (None: never). `abort`: with a reset, as a crash does, not with an orderly end."""

    def __init__(
        self,
        target: str = "",
        limit: Callable[[], int | None] = lambda: None,
        *,
        abort: Callable[[], bool] = lambda: True,
    ) -> None:
        self.target = target
        self._limit, self._abort = limit, abort
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self.cut_all()

    async def cut_all(self):
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._join(reader, writer)
        except asyncio.CancelledError:
            return
        finally:
            self._tasks.discard(task)

    async def _join(self, reader, writer):
        upstream, sink = await asyncio.open_connection(
            "127.0.0.1", int(self.target.rpartition(":")[2])
        )
        up = asyncio.create_task(copied(reader, sink))
        try:
            await self._answers(upstream, writer)
        finally:
            up.cancel()
            sink.close()
            with suppress(OSError):
                if self._abort():
                    writer.transport.abort()
                writer.close()

    async def _answers(self, upstream, writer):
        left = self._limit()
        with suppress(OSError):
            while chunk := await upstream.read(65536):
                if left is not None:
                    chunk = chunk[:left]
                    left -= len(chunk)
                writer.write(chunk)
                await writer.drain()
                if left == 0:
                    return


async def copied(reader, writer):
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()


async def no_sleep(_seconds):
    await asyncio.sleep(0)
