"""An application on a real loopback socket in this process, and clients that read it.

Whatever is served here must leave the log clean: an error or a traceback fails the test.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import structlog
import websockets
from msgspec import Struct

from millstream import Each, Millstream, Pipeline, Settings, StepError, Upload
from millstream.blob_stores.disk import DiskBlobs
from millstream.server.protocol import Server, listen, make_server
from millstream.stores.memory import MemoryStore

PATIENCE = 20.0
"""Seconds until a test that waits for something gives up."""

SSE = {"Accept": "text/event-stream"}
NDJSON = {"Accept": "application/x-ndjson"}


class Gate:
    """Lets steps on one by one, when the test says so."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(0)

    async def passed(self) -> None:
        await self._places.acquire()

    def let(self, many: int = 1) -> None:
        for _ in range(many):
            self._places.release()


class Batch(Struct):
    """An input with files."""

    files: list[Upload]
    note: str = ""


def talk(gate: Gate) -> Pipeline:
    """Says each word of a text when the gate lets it."""
    pipeline = Pipeline("talk")

    @pipeline.step
    async def word(text: str) -> AsyncIterator[str]:
        for each in text.split():
            await gate.passed()
            yield each

    @pipeline.step
    async def length(word: Each[str]) -> int:
        return len(word)

    @pipeline.step
    async def total(length: list[int]) -> int:
        return sum(length)

    return pipeline


def quick() -> list[Pipeline]:
    """Pipelines that end by themselves, at once."""
    count, measure, broken = Pipeline("count"), Pipeline("measure"), Pipeline("broken")

    @count.step
    async def number(n: int) -> AsyncIterator[int]:
        for each in range(n):
            yield each

    @measure.step
    async def sizes(batch: Batch) -> list[int]:
        return [upload.size for upload in batch.files]

    @broken.step
    async def broke(text: str) -> str:
        raise StepError("no", code="never", retryable=False)

    return [count, measure, broken]


@dataclass
class Served:
    """What a test holds of an application that is being served."""

    app: Millstream
    gate: Gate
    port: int
    server: Server
    http: httpx.AsyncClient
    noise: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, pipeline="talk", text="one two three", **more):
        """A run that nobody follows yet; its id."""
        document = {"text": text} if pipeline != "count" else {"n": more.pop("n", 3)}
        answer = await self.http.post(
            f"/pipelines/{pipeline}/runs",
            json=document,
            headers={"Prefer": "respond-async", **more.pop("headers", {})},
            params=more,
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def log(self, run) -> list[dict]:
        """The log as the store has it."""
        return [json.loads(line) async for line in self.app.engine._lines(run)]

    def last(self, run) -> int:
        """The last position that readers here know of."""
        tail = self.app.engine.tails.get(run)
        return tail.last if tail else 0

    async def state(self, run) -> str:
        return (await self.http.get(f"/runs/{run}")).json()["state"]

    async def ended(self, run) -> list[dict]:
        """The log, when it has ended."""
        await self.app.service.outcome(run)
        return await self.log(run)

    @asynccontextmanager
    async def stream(self, path, method="GET", **more):
        """An open response."""
        async with self.http.stream(method, path, **more) as answer:
            yield answer

    def socket(self, **more):
        """A WebSocket."""
        return websockets.connect(f"ws://127.0.0.1:{self.port}/socket", **more)

    def idle(self) -> bool:
        """Whether nothing is open, followed or kept for anybody."""
        engine = self.app.engine
        return not (len(self.app.streams) or len(self.app._sockets) or engine.tails.watchers)

    async def reached(self, run, state) -> None:
        """Until the run is in a state, without following it."""
        async with asyncio.timeout(PATIENCE):
            while await self.state(run) != state:  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.02)

    async def until(self, condition) -> None:
        """Until a condition of this process holds."""
        await until(condition)


async def until(condition) -> None:
    """Until a condition of this process holds; the loop goes on meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - of any kind, so nothing can tell us
            await asyncio.sleep(0.005)


def kept(tmp_path) -> list:
    """The uploads that there are."""
    files = (tmp_path / "blobs").rglob("*")
    return [path for path in files if path.is_file() and path.name != "lock"]


def settings(**more) -> Settings:
    return Settings(**{"store": "memory://", "drain": 0.2, **more})


def make_app(tmp_path, gate=None, *, store=None, **more) -> Millstream:
    """The pipelines above over a memory store."""
    return Millstream(
        talk(gate or Gate()),
        *quick(),
        settings=settings(**more),
        store=store or MemoryStore(),
        blobs=disk(tmp_path),
    )


def disk(tmp_path) -> DiskBlobs:
    ids = iter(range(10**9))
    return DiskBlobs(tmp_path / "blobs", new_id=lambda: f"{next(ids):032x}", now=lambda: 1.0)


@asynccontextmanager
async def serving(tmp_path, *, app=None, quiet=True, **more):
    """Serve until the block ends, drain included."""
    gate = Gate()
    app = app or make_app(tmp_path, gate, **more)
    async with asyncio.timeout(3 * PATIENCE):
        with heard(quiet) as noise:
            async with _served(app, gate, noise) as served:
                yield served


@asynccontextmanager
async def _served(app, gate, noise):
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = make_server(app, app.drain)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    try:
        await server.startup([listener])  # what `serve` does, without its signals and its ticking
    except BaseException:
        listener.close()
        raise
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
            yield Served(app, gate, port, server, http, noise)
    finally:
        await server.shutdown([listener])


class _Ear(logging.Handler):
    def __init__(self, noise):
        super().__init__(logging.WARNING)
        self._noise = noise

    def emit(self, record):
        self._noise.append(self.format(record))


class heard:  # noqa: N801 - reads as a statement
    """Gathers what is logged as a warning or worse; where `quiet`, none may be an error."""

    def __init__(self, quiet=True):
        self.quiet, self.noise = quiet, []

    def __enter__(self):
        self._ear = _Ear(self.noise)
        logging.getLogger().addHandler(self._ear)
        self._capture = structlog.testing.capture_logs()
        self._entries = self._capture.__enter__()
        return self.noise

    def __exit__(self, kind, error, trace):
        logging.getLogger().removeHandler(self._ear)
        self._capture.__exit__(None, None, None)
        errors = [entry for entry in self._entries if entry["log_level"] in ("error", "critical")]
        if kind is None and self.quiet:
            assert self.noise == []
            assert errors == []


async def sse(lines):
    """Events of an open SSE response: (name, envelope, id)."""
    block = []
    async for line in lines:
        if line:
            block.append(line)
            continue
        fields = dict(each.split(": ", 1) for each in block if not each.startswith(":"))
        block = []
        if "data" in fields:
            yield fields["event"], json.loads(fields["data"]), int(fields["id"])


async def follow(served, run, **more):
    """The events of a stream, to its end."""
    async with served.stream(f"/runs/{run}/events", **more) as answer:
        return [event async for _, event, _ in sse(answer.aiter_lines())]


def positions(events):
    return [event["seq"] for event in events]


def types(events):
    return [event["type"] for event in events]
