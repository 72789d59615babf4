"""The contestants of question 3: one run, many followers. How each is started, how its run is
followed, and how its events begin."""

import http.client
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.client import Asked, get
from bench.contestants import http as streams
from bench.contestants import nginx, pushpin
from bench.machine import peers_python, python
from bench.programs import built
from bench.server import Broken, Server, on_load_core


class Publisher:
    """Events on their way: `end` says what went wrong, and stops it."""

    def __init__(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self._process = process

    def end(self, timeout: float = 60.0) -> None:
        """Until all are out. Raises Broken."""
        if self._process is None:
            return
        try:
            out, err = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise Broken("the publisher did not end") from error
        finally:
            self.kill()
        if self._process.returncode:
            raise Broken(f"the publisher failed: {out.decode()} {err.decode()}")

    def kill(self) -> None:
        """Stop it now."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Run:
    """One run of `count` events at `rate` a second, not begun yet."""

    count: int
    rate: float
    name: str


@dataclass(frozen=True)
class Fan:
    """`prepare` makes the run and says how to follow it; `begin` lets its events flow."""

    name: str
    command: Callable[[int, Path], list[str]]
    prepare: Callable[[Server, Run], Asked]
    begin: Callable[[Server, Run], Publisher]
    kind: str = "peer"
    missing: str | None = None
    spread: float = 1.0
    """Seconds over which 1,000 followers come."""
    most: int | None = None
    """The most followers that it is asked for, where they cannot come fast enough for more."""

    short: str = ""
    """Why it is asked for no more."""

    def why(self, followers: int) -> str | None:
        """Why it is not asked for so many, or None."""
        return None if self.most is None or followers <= self.most else self.short


# --- Millstream: a run that waits at a gate, a file in the server's folder ----------------------


def start(server: Server, **asked: object) -> str:
    """Start a run of Millstream's and leave it alone; its id."""
    status, headers, body = call(
        server.port,
        "POST",
        "/pipelines/ticks/runs",
        json.dumps(asked).encode(),
        {"content-type": "application/json", "prefer": "respond-async"},
    )
    if status != 202:
        raise Broken(f"a run did not start: {status} {body[:300]!r}")
    return headers["location"].rpartition("/")[2]


def _prepare(server: Server, run: Run) -> Asked:
    started = start(server, count=run.count, rate=run.rate, gate=run.name)
    return get(f"/runs/{started}/events")


def _open_gate(server: Server, run: Run) -> Publisher:
    (server.folder / run.name).touch()
    return Publisher()


# --- peers that are told over HTTP to begin, and those that are published to --------------------


def _follow(server: Server, run: Run) -> Asked:
    return get("/follow")


def _begin(server: Server, run: Run) -> Publisher:
    query = urlencode({"count": run.count, "rate": run.rate})
    status, _, body = call(server.port, "GET", f"/begin?{query}")
    if status not in (200, 204):
        raise Broken(f"/begin: {status} {body[:300]!r}")
    return Publisher()


def publisher(words: list[str], run: Run) -> Publisher:
    """The C publisher on the load's core."""
    command = [str(built("load/publish.c")), "--count", str(run.count), "--rate", str(run.rate)]
    process = subprocess.Popen(
        [*command, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=on_load_core,
    )
    return Publisher(process)


def _clear_and_follow(server: Server, run: Run) -> Asked:
    call(server.port, "DELETE", "/pub")  # what the last run has left; 404 where there was none
    return get("/sub")


def _publish_nchan(server: Server, run: Run) -> Publisher:
    return publisher(["--port", str(server.port), "--path", "/pub"], run)


def _hold(server: Server, run: Run) -> Asked:
    if not pushpin.settled(server.port):
        raise Broken("it let nobody in within 20 s")
    return get("/stream")


def _publish_pushpin(server: Server, run: Run) -> Publisher:
    port = pushpin.control_port(server.port)
    words = ["--port", str(port), "--path", "/publish/", "--form", "grip", "--ahead", "1"]
    return publisher(words, run)


def call(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request: status, headers in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read()
    finally:
        connection.close()


def fans() -> list[Fan]:
    """All of them, in the order of the table."""
    absent = None if peers_python() else streams.NO_PEERS
    ours = [
        Fan(f"Millstream SSE, {store}", streams.millstream(store), _prepare, _open_gate, "ours")
        for store in ("memory", "SQLite")
    ]
    return [
        *ours,
        Fan(
            "nginx with nchan",
            nginx.with_nchan,
            _clear_and_follow,
            _publish_nchan,
            missing=nginx.no_nchan(),
        ),
        Fan(
            "Pushpin",
            pushpin.command,
            _hold,
            _publish_pushpin,
            missing=pushpin.absent(),
            spread=10.0,
            most=1000,
            short="takes 10 s to let 1,000 followers in",
        ),
        Fan(
            "FastAPI + sse-starlette, a queue per client",
            streams.uvicorn("sse_starlette_app"),
            _follow,
            _begin,
            missing=absent,
            most=1000,
            short="a fifth of 1,000 followers' events is what it can send",
        ),
        Fan(
            "limit: bare uvloop protocol",
            lambda port, _: [python(), "-m", "bench.contestants.uvloop_server", str(port)],
            _follow,
            _begin,
            "limit",
        ),
    ]
