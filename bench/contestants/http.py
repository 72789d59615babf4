"""The contestants that stream over HTTP: how each is started, and how a stream is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import node
from bench.client import Asked, Then, get, post, websocket
from bench.machine import gradio_python, peers_python, python
from bench.programs import built

NO_PEERS = "the peers' environment is not installed (make bench does)"
NO_GRADIO = "Gradio's environment is not installed (make bench does)"
GRADIO, GRADIO_CALL = "Gradio's queue", "/gradio_api/call/stream"


@dataclass(frozen=True)
class Contestant:
    """`command` starts it on a port, with an empty folder to work in; `ask` asks for a stream of
    `count` events at `rate` a second (0: as fast as possible). `scale`: how many times the events
    of the slowest it is given, so that each is measured for a while. `ready`: it makes its answer
    ready at the first request for it. `missing` says why it cannot be measured."""

    name: str
    command: Callable[[int, Path], list[str]]
    ask: Callable[[int, float], Asked]
    kind: str = "peer"
    scale: float = 1.0
    ready: bool = False
    missing: str | None = None


def millstream(store: str) -> Callable[[int, Path], list[str]]:
    """`millstream serve` over a store: "memory" or "SQLite"."""

    def command(port: int, folder: Path) -> list[str]:
        url = "memory://" if store == "memory" else f"sqlite:///{folder / 'runs.db'}"
        target = "bench.contestants.millstream_app:app"
        serve = [python(), "-m", "millstream", "serve", target, "--port", str(port)]
        return [*serve, "--store", url, "--blobs", str(folder), "--log-level", "warning"]

    return command


def _asks(wire: str) -> Callable[[int, float], Asked]:
    def ask(count: int, rate: float) -> Asked:
        body = {"count": count, "rate": rate}
        if wire == "websocket":
            return websocket("/socket", {"type": "start", "pipeline": "ticks", "input": body})
        accept = "text/event-stream" if wire == "sse" else "application/x-ndjson"
        return post("/pipelines/ticks/runs", body, accept, wire)

    return ask


def uvicorn(
    module: str, interpreter: Callable[[], Path | None] = peers_python
) -> Callable[[int, Path], list[str]]:
    """A peer's application on uvicorn with uvloop and httptools."""

    def command(port: int, folder: Path) -> list[str]:
        words = [str(interpreter()), "-m", "uvicorn", f"bench.contestants.{module}:app"]
        words += ["--port", str(port), "--loop", "uvloop", "--http", "httptools"]
        words += ["--ws", "websockets-sansio"]
        return [*words, "--no-access-log", "--log-level", "warning", "--backlog", "4096"]

    return command


def _socket(count: int, rate: float) -> Asked:
    return websocket(f"/ws?count={count}&rate={rate:g}")


def _get(count: int, rate: float) -> Asked:
    return get(f"/stream?count={count}&rate={rate:g}")


def _gradio(count: int, rate: float) -> Asked:
    """Its simple interface: one request joins the queue, another one follows what comes of it. At
    the end it tells the last value once more, as "complete"."""
    joined = post(GRADIO_CALL, {"data": [count, rate]}, "application/json", "sse")
    followed = get(GRADIO_CALL + "/{id}")
    return replace(joined, then=Then("event_id", followed.request), only="generating")


def contestants() -> list[Contestant]:
    """All of them, in the order of the table."""
    absent = None if peers_python() else NO_PEERS
    ours = [
        Contestant(f"Millstream {label}, {store}", millstream(store), _asks(wire), "ours", scale=2)
        for store in ("memory", "SQLite")
        for wire, label in (("sse", "SSE"), ("ndjson", "NDJSON"), ("websocket", "WebSocket"))
    ]
    peers = [
        Contestant("FastAPI + sse-starlette", uvicorn("sse_starlette_app"), _get, missing=absent),
        Contestant(
            "FastAPI's own SSE", uvicorn("fastapi_sse_app"), _get, scale=0.3, missing=absent
        ),
        Contestant("Litestar", uvicorn("litestar_app"), _get, missing=absent),
        Contestant(
            "Starlette, blocks by hand", uvicorn("starlette_app"), _get, scale=2, missing=absent
        ),
        Contestant(
            GRADIO,
            uvicorn("gradio_app", gradio_python),
            _gradio,
            scale=0.05,
            missing=None if gradio_python() else NO_GRADIO,
        ),
        Contestant(
            "node http",
            lambda port, _: node.command("node_server.js", str(port)),
            _get,
            scale=3,
            missing=node.no_node(),
        ),
        Contestant(
            "FastAPI's WebSocket", uvicorn("fastapi_ws_app"), _socket, scale=1.5, missing=absent
        ),
        Contestant(
            "node, ws (WebSocket)",
            lambda port, _: node.command("node_ws.js", str(port)),
            _socket,
            scale=3,
            missing=node.no_packages(),
        ),
    ]
    return [*ours, *peers, *_limits()]


def _limits() -> list[Contestant]:
    return [
        Contestant(
            "limit: bare uvloop protocol",
            lambda port, _: [python(), "-m", "bench.contestants.uvloop_server", str(port)],
            _get,
            "limit",
            scale=6,
        ),
        Contestant(
            "limit: C, ready bytes",
            lambda port, _: [str(built("contestants/ready.c")), str(port)],
            _get,
            "limit",
            scale=20,
            ready=True,
        ),
    ]
