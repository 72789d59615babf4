"""The contestants of question 8: how a stream that carries nothing is opened, how idle runs are
made, and what a stopped reader reads."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.client import Asked, get, post, websocket
from bench.contestants import fans, http, nginx, pushpin
from bench.server import Broken, Server

MANY = 60_000
"""Events of a stream that nobody will read to its end: 11 MB, more than any socket takes."""

LOGGED = 20_000
"""Events of a log that stopped readers read: 4 MB."""

NEVER = 1 / 36_000
"""A stream's rate, a second, whose first event nobody will see."""

NO_RUNS = "has no runs apart from their streams"
ONE_CHANNEL = "has one channel for all"


@dataclass(frozen=True)
class Kept:
    """`asked(server, kind)` says how one is opened: "idle stream", "running run" or "stopped
    reader"; `unfit` says by kind why it cannot be asked that."""

    name: str
    command: Callable[[int, Path], list[str]]
    asked: Callable[[Server, str], Asked]
    unfit: tuple[tuple[str, str], ...]
    kind: str = "peer"
    missing: str | None = None
    shares: tuple[tuple[str, float], ...] = ()
    """Which part of a level it is given, by kind, where it cannot take all."""

    idle: Callable[[Server], object] = lambda server: fans.start(server, count=1, gate="never")
    """Starts a run that waits for ever."""

    def share(self, kind: str) -> float:
        """Which part of a level it is given."""
        return dict(self.shares).get(kind, 1.0)

    def why(self, kind: str) -> str | None:
        """Why this cannot be asked, or None."""
        return dict(self.unfit).get(kind)

    def idle_runs(self, server: Server, number: int) -> None:
        """Start runs that wait for ever, and leave them alone."""
        for _ in range(number):
            self.idle(server)


def _millstream(wire: str) -> Callable[[Server, str], Asked]:
    def asked(server: Server, kind: str) -> Asked:
        if kind == "running run":
            body = {"count": 100_000, "rate": 1.0}
            if wire == "websocket":
                return websocket("/socket", {"type": "start", "pipeline": "ticks", "input": body})
            return post("/pipelines/ticks/runs", body, "text/event-stream", "sse")
        if kind == "stopped reader":
            run = fans.start(server, count=LOGGED)
            wait_for_end(server, run)
        else:
            run = fans.start(server, count=1, gate="never")
        if wire == "websocket":
            return websocket("/socket", {"type": "subscribe", "run": run, "after": 0})
        return get(f"/runs/{run}/events")

    return asked


def wait_for_end(server: Server, run: str) -> None:
    """Until a run of Millstream's has ended. Raises Broken where it did not complete."""
    status, _, body = fans.call(
        server.port,
        "GET",
        f"/runs/{run}/events?after={10**9}",
        headers={"accept": "text/event-stream"},
    )
    if status not in (200, 204):
        raise Broken(f"a run could not be followed: {status} {body[:300]!r}")
    status, _, body = fans.call(server.port, "GET", f"/runs/{run}")
    if b'"state":"completed"' not in body.replace(b'": "', b'":"'):
        raise Broken(f"a run did not complete: {body[:300]!r}")


def _peer(contestant: http.Contestant) -> Callable[[Server, str], Asked]:
    rates = {"idle stream": NEVER, "running run": 1.0, "stopped reader": 0.0}
    return lambda server, kind: contestant.ask(MANY, rates[kind])


def _stream(contestant: http.Contestant) -> Kept:
    c = contestant
    kept = Kept(c.name, c.command, _peer(c), (("idle run", NO_RUNS),), c.kind, c.missing)
    if c.name != http.GRADIO:
        return kept
    # It forgets the oldest of more than 2,000 streams, and keeps all that is not read.
    fewer = (("idle stream", 0.3), ("stopped reader", 0.06))
    return replace(kept, unfit=(), idle=_join, shares=fewer)


def _join(server: Server) -> None:
    """A run in Gradio's queue that nobody follows."""
    body = json.dumps({"data": [1, NEVER]}).encode()
    sent = {"content-type": "application/json"}
    status, _, said = fans.call(server.port, "POST", http.GRADIO_CALL, body, sent)
    if status != 200:
        raise Broken(f"a run did not start: {status} {said[:300]!r}")


def _nchan(server: Server, kind: str) -> Asked:
    if kind == "stopped reader":
        run = fans.Run(LOGGED, 0.0, "log")
        fans.publisher(["--port", str(server.port), "--path", "/pub"], run).end()
    return get("/sub")


def kept() -> list[Kept]:
    """All of them, in the order of the table."""
    one = (("idle run", NO_RUNS), ("running run", ONE_CHANNEL))
    ours = [
        Kept(f"Millstream {label}, {store}", http.millstream(store), _millstream(wire), (), "ours")
        for store in ("memory", "SQLite")
        for wire, label in (("sse", "SSE"), ("websocket", "WebSocket"))
    ]
    streams = [_stream(c) for c in http.contestants() if c.kind != "ours" and not c.ready]
    held = [
        Kept(
            "nginx with nchan",
            nginx.with_nchan,
            _nchan,
            one,
            missing=nginx.no_nchan(),
            shares=(("stopped reader", 0.3),),
        ),
        Kept(
            "Pushpin",
            pushpin.command,
            lambda server, kind: get("/stream"),
            (*one, ("stopped reader", "keeps no messages to read")),
            missing=pushpin.absent(),
        ),
    ]
    peers = [each for each in streams if each.kind == "peer"]
    limits = [each for each in streams if each.kind == "limit"]
    return [*ours, *peers, *held, *limits]
