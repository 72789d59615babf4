"""How soon a crawl's first line is there: from the last byte of the request to the metadata line.
Prints a table.

    python -m bench.extraction_first_byte [--many 100] [--rounds 10] [--seconds 10] [--urls 1]

Three forms: one request at a time; many that arrive in one instant, over connections that are open;
and many kept open, with new ones arriving evenly. The service is a process of its own with its
readers, the site another one, which answers each page after a while; pages are drawn, and fetched
and read anew each time. Each stream is read to its end and must tell of every page.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.extraction_throughput import drawn, started
from bench.server import cpu_seconds, free_port, tree

MODULE = "bench.extraction_first_byte"
TARGET_MS = 50
PAGES = 20
DELAY = 2.0
"""Seconds that the site takes over a page, where streams are to stay open."""


class Stream(Struct):
    """One stream as its client saw it; seconds. `last` is its last line."""

    first: float
    lasted: float
    last: dict[str, Any]


# --- the client ----------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """One request over one connection, timed where its bytes come in."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._seen = bytearray()
        self._began = self._first = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if not self._first and b"}\n" in self._seen:
            self._first = time.perf_counter()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    async def seen(self, urls: int) -> Stream:
        """Once it has ended. SystemExit where it is not what it should be."""
        await self._done
        lines = [each for each in bytes(self._seen).split(b"\r\n") if each.startswith(b"{")]
        told = [json.loads(each) for chunk in lines for each in chunk.splitlines()]
        good = bool(told) and told[0].get("event") == "metadata" and told[0]["total_urls"] == urls
        if not good or told[-1].get("successful") != urls:
            raise SystemExit(f"a stream is not what it should be: {bytes(self._seen[:2000])!r}")
        now = time.perf_counter()
        return Stream(self._first - self._began, now - self._began, told[-1])


async def opened(port: int, request: bytes) -> Client:
    """A client whose connection is there."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(request), "127.0.0.1", port)
    return client


def asking(urls: Sequence[str]) -> bytes:
    """A request for some pages."""
    options = {"cache_mode": "off", "timeout_ms": 60_000}
    body = json.dumps({"urls": urls, "options": options}).encode()
    head = "POST /crawl/stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Asker:
    """Requests to one service for the pages of one site, none of them twice in a row."""

    def __init__(self, port: int, site: int, urls: int) -> None:
        self.port, self._site, self.urls, self._next = port, site, urls, 0

    def request(self, delay: float) -> bytes:
        numbers = range(self._next, self._next + self.urls)
        self._next += self.urls
        return asking([f"http://127.0.0.1:{self._site}/{n % PAGES}/{delay}/{n}" for n in numbers])

    async def one(self, delay: float) -> Stream:
        client = await opened(self.port, self.request(delay))
        client.send()
        return await client.seen(self.urls)

    async def at_once(self, many: int) -> list[Stream]:
        """So many in one instant."""
        clients = [await opened(self.port, self.request(0.0)) for _ in range(many)]
        for client in clients:
            client.send()
        return [await client.seen(self.urls) for client in clients]

    async def evenly(self, many: int, seconds: float) -> list[Stream]:
        """So many open at a time, the next one at even distances; those are left out that came
        before so many were open."""
        begun: list[asyncio.Task[Stream]] = []
        start, apart = time.perf_counter(), DELAY / many
        for n in range(round((seconds + DELAY) / apart)):
            await asyncio.sleep(max(0.0, start + n * apart - time.perf_counter()))
            begun.append(asyncio.create_task(self.one(DELAY)))
        found = await asyncio.gather(*begun)
        return found[many:]


# --- the site and the service --------------------------------------------------------------------


async def serve(port: int) -> None:
    """The site: `/N/SECONDS/…` is page N, after so many seconds."""
    pages = [drawn(n) for n in range(PAGES)]

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
                number, _, rest = path.strip("/").partition("/")
                if not number.isdecimal():  # robots.txt
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                await asyncio.sleep(float(rest.partition("/")[0]))
                page = pages[int(number)]
                head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                writer.write(f"{head}Content-Length: {len(page)}\r\n\r\n".encode() + page)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


@contextmanager
def service(processes: int) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """The service at work: its process, its port, and the site's."""
    with tempfile.TemporaryDirectory() as name:
        folder, site, port = Path(name), free_port(), free_port()
        serving = started(["-m", MODULE, "--serve", str(site)], folder, site)
        command = ["-m", "millstream", "serve", "millstream_apps.extract:app", "--port", str(port)]
        ours = started(
            [*command, "--store", f"sqlite:///{folder}/runs.db"],
            folder,
            port,
            EXTRACT_ALLOW="127.0.0.1",
            EXTRACT_WORKERS=str(processes),
            EXTRACT_PER_HOST="1000",
            EXTRACT_DATA=str(folder / "extract"),
            STREAM_RATE_LIMIT_ENABLED="false",
        )
        try:
            yield ours, port, site
        finally:
            for process in (ours, serving):
                process.terminate()
                process.wait(60)


# --- the table -----------------------------------------------------------------------------------


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def measured(pid: int, label: str, form: Coroutine[Any, Any, list[Stream]]) -> None:
    """Let a form run, and print its line."""
    before = {each: cpu_seconds(each) for each in tree(pid)}
    streams = asyncio.run(form)
    spent = {each: cpu_seconds(each) - cpu for each, cpu in before.items()}
    first = [each.first * 1000 for each in streams]
    lasted = quantile([each.lasted * 1000 for each in streams], 0.5)
    figures = [quantile(first, 0.5), quantile(first, 0.99), max(first), lasted]
    cpu = [spent[pid] * 1000 / len(streams), sum(spent.values()) * 1000 / len(streams)]
    cells = "".join(f"{each:12.1f}" for each in (*figures, *cpu))
    print(f"{label:32}{len(streams):10}{cells}", flush=True)


async def one_by_one(asker: Asker, many: int) -> list[Stream]:
    return [await asker.one(0.0) for _ in range(many)]


async def in_rounds(asker: Asker, many: int, rounds: int) -> list[Stream]:
    return [each for _ in range(rounds) for each in await asker.at_once(many)]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--many", type=int, default=100)
    words.add_argument("--rounds", type=int, default=10)
    words.add_argument("--seconds", type=float, default=10.0)
    words.add_argument("--urls", type=int, default=1)
    words.add_argument("--processes", type=int, default=2)
    words.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve))
        return
    heads = ("requests", "p50 ms", "p99 ms", "longest", "whole p50", "CPU ms", "of the tree")
    print(" " * 32 + f"{heads[0]:>10}" + "".join(f"{head:>12}" for head in heads[1:]))
    with service(given.processes) as (process, port, site):
        asker, many = Asker(port, site, given.urls), given.many
        asyncio.run(in_rounds(asker, 10, 2))  # all is loaded
        measured(process.pid, "one at a time", one_by_one(asker, many))
        measured(process.pid, f"{many} at once", in_rounds(asker, many, given.rounds))
        measured(process.pid, f"{many} kept open, arriving evenly", kept(asker, given))
    print(f"\ntarget: p99 below {TARGET_MS} ms with {given.many} at a time")


async def kept(asker: Asker, given: argparse.Namespace) -> list[Stream]:
    return await asker.evenly(given.many, given.seconds)


if __name__ == "__main__":
    main()
