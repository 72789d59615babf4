"""The contestants of question 4: how a finished log comes about, and how it is read."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.client import Asked, get
from bench.contestants import fans, http, kept, nginx
from bench.contestants.envelope import Event, encode, iso
from bench.server import Server

FILE = "log.sse"


@dataclass(frozen=True)
class Log:
    """`write(server, events)` makes the log, and says how it is read from its start. `share`: which
    part of a level's readers it is given, where it is very much slower."""

    name: str
    command: Callable[[int, Path], list[str]]
    write: Callable[[Server, int], Asked]
    kind: str = "peer"
    missing: str | None = None
    share: float = 1.0


def _run(server: Server, events: int) -> Asked:
    run = fans.start(server, count=events)
    kept.wait_for_end(server, run)
    return get(f"/runs/{run}/events")


def _publish(server: Server, events: int) -> Asked:
    run = fans.Run(events, 0.0, "log")
    fans.publisher(["--port", str(server.port), "--path", "/pub"], run).end()
    return get("/sub")


def _file(server: Server, events: int) -> Asked:
    run, moment = str(uuid.uuid4()), iso(time.time_ns() // 1_000_000)
    with (server.folder / FILE).open("wb") as file:
        for seq in range(1, events + 2):
            last = seq > events
            kind, step = ("run.completed", None) if last else ("step.partial", "tick")
            line = encode(Event(run, seq, kind, step, moment, None if last else time.time_ns()))
            file.write(b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(), line, seq))
    return get(f"/{FILE}")


def logs() -> list[Log]:
    """All of them, in the order of the table."""
    ours = [
        Log(f"Millstream SSE, {store}", http.millstream(store), _run, "ours")
        for store in ("memory", "SQLite")
    ]
    return [
        *ours,
        Log(
            "nginx with nchan, its message buffer",
            nginx.with_nchan,
            _publish,
            missing=nginx.no_nchan(),
            share=0.02,
        ),
        Log(
            "limit: a plain file through nginx",
            lambda port, folder: nginx.command(port, folder, ""),
            _file,
            "limit",
            missing=None if nginx.nginx() else nginx.NO_NGINX,
        ),
    ]
