"""A web server that does what it is told, well or badly: every answer is a script of bytes.

Real sockets on loopback, in the test's own event loop. It counts what it was asked.
"""

import asyncio
import gzip
import ssl
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that need none: reading all certificates anew takes a tenth of a second."""


@dataclass
class Asked:
    """One request: its path with the query, and its headers with lower-case names."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Exchange:
    """A request and the way to answer it."""

    asked: Asked
    writer: asyncio.StreamWriter
    release: asyncio.Event

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(
        self,
        body: bytes | str = b"",
        *,
        status: int = 200,
        type: str | None = "text/html; charset=utf-8",
        headers: dict[str, str] | None = None,
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(data)}"]
        if type is not None:
            lines.append(f"Content-Type: {type}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + data)

    async def redirect(self, location: str, status: int = 302) -> None:
        await self.reply(status=status, headers={"Location": location})

    async def hang(self) -> None:
        """Until the site closes, or the client has left."""
        await self.release.wait()


Answer = Callable[[Exchange], Awaitable[None]]


@dataclass
class Site:
    """`pages` says what is answered at a path (with or without its query); elsewhere it is 404."""

    pages: dict[str, Answer | str | bytes] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def __aenter__(self) -> Self:
        self._release = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self.tls, backlog=512
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self._release.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"{'https' if self.tls else 'http'}://{self.place}{path}"

    def count(self, path: str) -> int:
        return sum(each.path == path for each in self.asked)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        asked = Asked(method, path, {name.lower(): value for name, value in pairs})
        if length := int(asked.headers.get("content-length", "0")):
            await reader.readexactly(length)
        self.asked.append(asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            exchange = Exchange(asked, writer, self._release)
            answer = self.pages.get(path, self.pages.get(path.partition("?")[0]))
            if answer is None:
                await exchange.reply("not here", status=404)
            elif isinstance(answer, str | bytes):
                await exchange.reply(answer)
            else:
                await answer(exchange)
        finally:
            self.at_once -= 1
        return not writer.is_closing()


def page(title: str, *links: str, body: str = "") -> str:
    """A small page with links."""
    anchors = "".join(f'<a href="{link}">{link}</a>' for link in links)
    head = f"<!doctype html><html><head><title>{title}</title></head>"
    return f"{head}<body>{body}{anchors}</body></html>"


def packed(data: bytes, how: str) -> bytes:
    """Bytes packed as a Content-Encoding says."""
    match how:
        case "gzip":
            return gzip.compress(data, mtime=0)
        case "deflate":
            return zlib.compress(data)
        case "br":
            import brotli

            return brotli.compress(data, quality=4)
    raise ValueError(how)


def bomb(size: int) -> bytes:
    """Gzip of so many zero bytes, made without holding them."""
    pack = zlib.compressobj(6, zlib.DEFLATED, 31)
    block = bytes(2**20)
    parts = [pack.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, pack.flush()])
