"""Question 6: graphs. Small messages through ten nodes in a line, a diamond, and ten async nodes;
then how long a message takes through the line at a steady rate.

Each contestant is a program on the server's core that checks count and order of what came out,
and prints its figures.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import node
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.http import NO_PEERS
from bench.machine import SERVER_CORE, peers_python, python
from bench.noise import Watch
from bench.server import Broken, children_seconds, environment, on_server_core

LINE, DIAMOND, ASYNC = "line", "diamond", "async"
SHAPES = {
    LINE: "a line of 10 nodes",
    DIAMOND: "a diamond, 1-4-1",
    ASYNC: "a line of 10 async nodes",
}
RATES = (1_000, 10_000)

COLUMNS = (
    Column("messages_per_second", "messages/s"),
    Column("messages_per_cpu_second", "messages/CPU s"),
    Column("others_share", "others on the core", 2),
)
LATENCY = (
    Column("latency_p50_ms", "latency p50 ms", 3),
    Column("latency_p95_ms", "p95 ms", 3),
    Column("latency_p99_ms", "p99 ms", 3),
    Column("cpu_share", "cores", 2),
    Column("others_share", "others on the core", 2),
)


@dataclass(frozen=True)
class Contestant:
    """`program` is the module or the file behind "graph_". `lacks` says by shape why it has none;
    `share`: which part of the messages it is given, where it is very much slower."""

    name: str
    program: str
    kind: str = "peer"
    share: float = 1.0
    missing: str | None = None
    lacks: tuple[tuple[str, str], ...] = ()

    def command(self) -> list[str]:
        """What runs it, without shape, count and rate."""
        if self.program.endswith(".mjs"):
            return node.command(self.program)
        ours = self.program in ("graph_millstream", "graph_direct", "graph_queues")
        interpreter = python() if ours else str(peers_python())
        return [interpreter, "-m", f"bench.contestants.{self.program}"]


def contestants() -> list[Contestant]:
    """In the order of the table."""
    absent = None if peers_python() else NO_PEERS
    sync = ((ASYNC, "its nodes are plain functions"),)
    split = ((DIAMOND, "its streams cannot be split"),)
    return [
        Contestant("Millstream, live pipeline", "graph_millstream", "ours"),
        Contestant("Bytewax", "graph_bytewax", missing=absent, lacks=sync),
        Contestant("RxPY", "graph_rxpy", share=0.5, missing=absent, lacks=sync),
        Contestant("aiostream", "graph_aiostream", share=0.2, missing=absent, lacks=split),
        Contestant("streamz", "graph_streamz", share=0.1, missing=absent, lacks=sync),
        Contestant("asyncio queues by hand", "graph_queues", share=0.4),
        Contestant("node's Web Streams", "graph_webstreams.mjs", share=0.2, missing=node.no_node()),
        Contestant("RxJS", "graph_rxjs.mjs", missing=node.no_packages()),
        Contestant("limit: functions that call functions", "graph_direct", "limit"),
    ]


def ask(options: Options) -> Table:
    """As fast as possible."""
    count = options.pick(tiny=100, quick=40_000, middle=100_000, full=200_000)
    wanted = options.chosen(contestants())
    shapes = {level: shape for shape, level in SHAPES.items()}

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        for level, shape in shapes.items():
            if shape not in dict(contestant.lacks):
                given = max(20, round(count * contestant.share))
                yield level, measure(contestant, shape, given, 0, folder)

    rows = contest(
        options.rounds,
        "question 6",
        wanted,
        shapes,
        play,
        lacks=lambda c, level: c.missing or dict(c.lacks).get(shapes[level]),
    )
    return Table(
        "6-graphs",
        "graphs",
        COLUMNS,
        rows,
        compare="messages_per_second",
    )


def ask_latency(options: Options) -> Table:
    """At a steady rate."""
    seconds = options.pick(tiny=0.02, quick=0.5, middle=1.0, full=3.0)
    wanted = options.chosen(contestants())
    levels = {f"a line of 10 nodes at {rate:,} messages/s": rate for rate in RATES}

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        for level, rate in levels.items():
            yield level, measure(contestant, LINE, round(rate * seconds), rate, folder)

    return Table(
        "6-latency",
        "graphs at a steady rate",
        LATENCY,
        contest(options.rounds, "question 6, latency", wanted, levels, play),
        compare="latency_p95_ms",
        better="less",
    )


def measure(contestant: Contestant, shape: str, count: int, rate: float, folder: Path) -> Figures:
    """One measured flow; counts and order were checked when this returns."""
    watch = Watch(SERVER_CORE, children_seconds)
    try:
        done = subprocess.run(
            [*contestant.command(), shape, str(count), str(rate)],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            preexec_fn=on_server_core,
        )
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{SHAPES[shape]}: not done in 120 s") from error
    if done.returncode:
        raise Broken(f"{SHAPES[shape]}: {done.stderr.strip()[-600:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    messages, seconds, cpu = told["messages"], told["seconds"], told["cpu_seconds"]
    return {
        **told,
        "messages_per_second": messages / seconds,
        "messages_per_cpu_second": messages / max(cpu, 1e-6),
        "cpu_share": cpu / seconds,
        "others_share": watch.others(),
    }
