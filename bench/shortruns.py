"""Question 7: short runs of one step that does nothing, ten at a time.

Two groups. From a client: Millstream over HTTP, on ten connections that stay open, and the task
queues from a submitting process to their worker. In process: Millstream embedded, and DBOS.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import Load, post
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.http import NO_PEERS
from bench.machine import SERVER_CORE, peers_python, python
from bench.noise import Watch
from bench.server import (
    Broken,
    Server,
    cpu_seconds,
    environment,
    free_port,
    on_load_core,
    on_server_core,
    tree,
)

AT_A_TIME = 10
TIMEOUT = 240.0
"""Seconds after which a program is ended that has not told its figures."""

CLIENT, EMBEDDED = "from a client, 10 at a time", "in process, 10 at a time"

COLUMNS = (
    Column("runs_per_second", "runs/s"),
    Column("runs_per_cpu_second", "runs/CPU s"),
    Column("first_p50_ms", "first event p50 ms", 2),
    Column("first_p99_ms", "p99 ms", 2),
    Column("done_p50_ms", "outcome p50 ms", 2),
    Column("done_p99_ms", "p99 ms", 2),
    Column("client_share", "client busy", 2),
    Column("others_share", "others on the core", 2),
)


@dataclass(frozen=True)
class Contestant:
    """`measure(folder, runs)` does it all. `share`: which part of the runs it is given."""

    name: str
    level: str
    measure: Callable[[Path, int], Figures]
    kind: str = "peer"
    share: float = 1.0
    missing: str | None = None


def contestants() -> list[Contestant]:
    """In the order of the tables."""
    absent = None if peers_python() else NO_PEERS
    urls = {"memory": lambda _: "memory://", "SQLite": lambda f: f"sqlite:///{f / 'runs.db'}"}
    over_http = [
        Contestant(f"Millstream over HTTP, {store}", CLIENT, _over_http(url), "ours")
        for store, url in urls.items()
    ]
    queues = [
        Contestant(f"{name}, Valkey", CLIENT, _queue(name.lower()), share=0.25, missing=absent)
        for name in ("taskiq", "streaq", "SAQ")
    ]
    embedded = [
        Contestant(f"Millstream embedded, {store}", EMBEDDED, _embedded(url), "ours")
        for store, url in urls.items()
    ]
    dbos = Contestant("DBOS, SQLite", EMBEDDED, _dbos, share=0.02, missing=absent)
    return [*over_http, *queues, *embedded, dbos]


def ask(options: Options) -> Table:
    """Measure it."""
    runs = options.pick(tiny=20, quick=500, middle=4_000, full=20_000)
    wanted = options.chosen(contestants())

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        given = max(AT_A_TIME, round(runs * contestant.share))
        yield contestant.level, contestant.measure(folder, given)

    groups = [(level, [c for c in wanted if c.level == level]) for level in (CLIENT, EMBEDDED)]
    return Table(
        "7-shortruns",
        "short runs",
        COLUMNS,
        [
            row
            for level, group in groups
            for row in contest(options.rounds, "question 7", group, [level], play)
        ],
        compare="runs_per_second",
    )


def figures(told: dict[str, Any], cpu: float, others: float) -> Figures:
    """Of one measured contest; `told` by the client, `cpu` seconds of the server's side."""
    kept = ("first_p50_ms", "first_p99_ms", "done_p50_ms", "done_p99_ms", "runs", "seconds")
    return {
        **{name: told[name] for name in kept},
        "cpu_seconds": cpu,
        "runs_per_second": told["runs"] / told["seconds"],
        "runs_per_cpu_second": told["runs"] / max(cpu, 1e-6),
        "client_share": told["client_cpu_seconds"] / told["seconds"],
        "others_share": others,
    }


# --- Millstream over HTTP -----------------------------------------------------------------------


def _over_http(url: Callable[[Path], str]) -> Callable[[Path, int], Figures]:
    def measure(folder: Path, runs: int) -> Figures:
        port = free_port()
        target = "bench.contestants.noop_app:app"
        serve = [python(), "-m", "millstream", "serve", target, "--port", str(port)]
        serve += ["--store", url(folder), "--blobs", str(folder), "--log-level", "warning"]
        with Server(serve, port, folder) as server:
            _submit(server, 200)  # warm
            watch = Watch(SERVER_CORE, server.cpu_seconds)
            told = _submit(server, runs)
            return figures(told, watch.own(), watch.others())

    return measure


def _submit(server: Server, runs: int) -> dict[str, Any]:
    """So many POSTs, each answered by a stream of the run's events; every one was checked."""
    asked = post("/pipelines/noop/runs", {"number": 1}, "text/event-stream", "sse")
    with Load(
        asked,
        server.port,
        server.folder,
        connections=AT_A_TIME,
        repeat=runs,
        events=1,
        event="step.result",
        timeout=180,
    ) as load:
        told = load.finish()
    if told["answered"] != runs or told["done_count"] != runs:
        raise Broken(f"{told['answered']} of {runs} runs were answered")
    return {
        "runs": runs,
        "seconds": told["seconds"],
        "client_cpu_seconds": told["load_cpu_seconds"],
        **{f"first_{p}_ms": told[f"first_message_{p}_ms"] for p in ("p50", "p99")},
        **{f"done_{p}_ms": told[f"done_{p}_ms"] for p in ("p50", "p99")},
    }


# --- queues, and what runs in process -----------------------------------------------------------


def _queue(kind: str) -> Callable[[Path, int], Figures]:
    def measure(folder: Path, runs: int) -> Figures:
        port = free_port()
        peers = str(peers_python())
        command = [peers, "-m", "bench.contestants.queue_server", kind, str(port), str(folder)]
        words = [peers, "-m", "bench.contestants.queue_client", kind, str(runs), str(AT_A_TIME)]
        address = {"BENCH_QUEUE": f"redis://127.0.0.1:{port}"}
        with Server(command, port, folder) as server, Program(words, folder, address) as program:
            program.warm()
            watch = Watch(SERVER_CORE, server.cpu_seconds)
            return figures(program.go(), watch.own(), watch.others())

    return measure


def _embedded(url: Callable[[Path], str]) -> Callable[[Path, int], Figures]:
    def measure(folder: Path, runs: int) -> Figures:
        words = [python(), "-m", "bench.contestants.noop_app", url(folder)]
        return _alone([*words, str(runs), str(AT_A_TIME)], folder)

    return measure


def _dbos(folder: Path, runs: int) -> Figures:
    words = [str(peers_python()), "-m", "bench.contestants.noop_dbos", str(folder)]
    return _alone([*words, str(runs), str(AT_A_TIME)], folder)


def _alone(words: list[str], folder: Path) -> Figures:
    with Program(words, folder, on_core=on_server_core) as program:
        program.warm()
        watch = Watch(SERVER_CORE, program.cpu_seconds)
        return figures(program.go(), watch.own(), watch.others())


class Program:
    """A program that says "warm", waits for a line, works, and prints its figures as JSON."""

    def __init__(
        self,
        words: list[str],
        folder: Path,
        more: dict[str, str] | None = None,
        on_core: Callable[[], None] = on_load_core,
    ) -> None:
        self._errors = (folder / "program.err").open("w+b")
        self._process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment(more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            preexec_fn=on_core,
        )
        self._limit = threading.Timer(TIMEOUT, self._process.kill)
        self._limit.start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        below = tree(self._process.pid)[1:]
        if self._process.poll() is None:
            self._process.kill()
        for pid in below:
            if os.path.exists(f"/proc/{pid}"):
                os.kill(pid, 9)
        self._process.communicate()
        self._errors.close()

    def cpu_seconds(self) -> float:
        """User and system time of it and all below it."""
        return sum(cpu_seconds(pid) for pid in tree(self._process.pid))

    def warm(self) -> None:
        """Until it is."""
        self._expect("warm")

    def go(self) -> dict[str, Any]:
        """Let it work; its figures. It is still there when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return json.loads(self._expect("{"))

    def _expect(self, beginning: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.decode().startswith(beginning):
                return line.decode()
        self._errors.seek(0)
        raise Broken(self._errors.read().decode("utf-8", "replace").strip()[-600:])
