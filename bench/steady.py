"""Question 2: 1,000 streams at a steady rate. How old are events when they arrive, what does it
cost, and up to which rate does that hold?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import Load, Window
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.http import Contestant, contestants
from bench.search import held
from bench.server import Server, serving
from bench.windows import figures, watched

SPREAD, LATE, SETTLE, SLACK = 1.2, 0.8, 0.3, 0.3
"""Seconds: over which the requests are spread; how late the last stream may begin; from then until
the window opens; and behind it."""

HELD_MS = 10.0
"""A rate is held while the 99th percentile is below this and 99 % arrive."""

GRID = (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 80, 100, 125, 150, 200)
"""Events a second and stream that are tried for the highest rate."""


@dataclass(frozen=True)
class Level:
    """So many streams of so many events a second, measured for `seconds`."""

    streams: int
    rate: float
    seconds: float

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.streams:,} streams x {self.rate:g} events/s"

    @property
    def count(self) -> int:
        """Events a stream."""
        return max(2, round(self.rate * (SPREAD + LATE + SETTLE + self.seconds + SLACK)))


FULL = (Level(1000, 20, 2.0), Level(1000, 50, 2.0))
MIDDLE = (Level(1000, 20, 1.5),)
QUICK = (Level(200, 20, 1.0),)
TINY = (Level(5, 20, 0.3),)

COLUMNS = (
    Column("latency_p50_ms", "latency p50 ms", 2),
    Column("latency_p99_ms", "p99 ms", 2),
    Column("cpu_share", "cores", 2),
    Column("events_per_cpu_second", "events/CPU s"),
    Column("delivered_share", "arrived", 2),
    Column("load_share", "load client busy", 2),
    Column("others_share", "others on the core", 2),
)
HIGHEST = (
    Column("held", "highest rate held, events/s"),
    Column("latency_p50_ms", "latency p50 ms", 2),
    Column("latency_p99_ms", "p99 ms", 2),
    Column("cpu_share", "cores", 2),
    Column("load_share", "load client busy", 2),
    Column("others_share", "others on the core", 2),
)
SEARCHED = (
    "Millstream SSE, memory",
    "Millstream SSE, SQLite",
    "FastAPI + sse-starlette",
    "node http",
)
"""Whose highest rate is looked for; the limits', too."""

SPARED = ("Millstream NDJSON, memory", "Millstream WebSocket, memory")
"""Who is only asked how fast it is, to keep this question short."""


def ask(options: Options) -> Table:
    """Measure it at the given rates."""
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=FULL)
    wanted = [c for c in options.chosen(contestants()) if c.name not in SPARED]

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        with serving(contestant.command, folder) as server:
            warm(contestant, server)
            for level in levels:
                yield level.name, measure(contestant, server, level)

    return Table(
        "2-steady",
        "steady load",
        COLUMNS,
        contest(options.rounds, "question 2", wanted, [each.name for each in levels], play),
        compare="cpu_share",
        better="less",
    )


def ask_highest(options: Options) -> Table:
    """Look for the highest rate that each holds."""
    streams, seconds = options.pick(
        tiny=(5, 0.2), quick=(200, 0.5), middle=(1000, 1.0), full=(1000, 1.0)
    )
    grid = GRID[:2] if options.tiny else GRID
    level = f"{streams:,} streams, p99 below {HELD_MS:g} ms"
    wanted = [c for c in options.chosen(contestants()) if c.name in SEARCHED or c.kind == "limit"]

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        with serving(contestant.command, folder) as server:
            warm(contestant, server)

            def at(rate: float) -> Figures:
                found = measure(contestant, server, Level(streams, rate, seconds))
                return {**found, "held": rate * streams}

            yield level, held(server, grid, at, holds)

    rows = contest(options.rounds, "question 2, highest rate", wanted, [level], play)
    return Table("2-highest", "steady load", HIGHEST, rows, compare="held")


def holds(found: Figures) -> bool:
    """Whether a rate was held."""
    return found["latency_p99_ms"] < HELD_MS and found["delivered_share"] > 0.99


def warm(contestant: Contestant, server: Server) -> None:
    """Unmeasured."""
    asked = contestant.ask(40, 40.0)
    with Load(asked, server.port, server.folder, connections=20, events=40, timeout=60) as load:
        load.finish()


def measure(contestant: Contestant, server: Server, level: Level) -> Figures:
    """One measured window; all orders and counts were checked when this returns."""
    with Load(
        contestant.ask(level.count, level.rate),
        server.port,
        server.folder,
        connections=level.streams,
        events=level.count,
        timeout=180,
        stamps=True,
        spread=SPREAD,
        gate=True,
        window=Window(SETTLE, level.seconds),
    ) as load:
        load.wait("ready")
        seen = watched(load, server)
        told = load.finish()
    return figures(seen, told, level.streams * level.rate * level.seconds)
