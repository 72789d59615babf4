"""Question 1: many streams, each its own run, small events as fast as possible."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.client import Load
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.http import Contestant, contestants
from bench.machine import SERVER_CORE
from bench.noise import Watch
from bench.server import Server, serving


class Level(NamedTuple):
    """So many connections, each of whose streams brings so many events (times a contestant's
    scale; where the streams are `short`, the same for all)."""

    connections: int
    events: int
    short: bool = False

    @property
    def name(self) -> str:
        """As the tables say it."""
        kind = "short stream" if self.short else "stream"
        return f"{self.connections:,} {kind}{'s' if self.connections > 1 else ''}"


FULL = (Level(1, 30_000), Level(100, 1_000), Level(1_000, 500), Level(1_000, 200, short=True))
MIDDLE = (Level(1, 20_000), Level(100, 500), Level(1_000, 50, short=True))
QUICK = (Level(1, 20_000), Level(100, 400))
TINY = (Level(1, 50), Level(2, 20), Level(3, 20, short=True))

COLUMNS = (
    Column("events_per_second", "events/s"),
    Column("events_per_cpu_second", "events/CPU s"),
    Column("first_event_p50_ms", "first event p50 ms", 1),
    Column("first_event_p99_ms", "p99 ms", 1),
    Column("latency_p50_ms", "latency p50 ms", 1),
    Column("latency_p99_ms", "p99 ms", 1),
    Column("load_share", "load client busy", 2),
    Column("others_share", "others on the core", 2),
)
QUICK_NAMES = ("Millstream SSE, memory", "Millstream SSE, SQLite", "FastAPI + sse-starlette")


def ask(options: Options) -> Table:
    """Measure it."""
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=FULL)
    wanted = [
        c
        for c in options.chosen(contestants())
        if options.among or not options.quick or _in_quick(c)
    ]

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        with serving(contestant.command, folder) as server:
            _ask(contestant, server, 4, 500)  # warm
            for level in levels:
                alike = options.tiny or level.short
                count = level.events if alike else round(level.events * contestant.scale)
                if contestant.ready:
                    _ask(contestant, server, 1, count)
                yield level.name, measure(contestant, server, level.connections, count)

    return Table(
        "1-streams",
        "many streams, small events, as fast as possible",
        COLUMNS,
        contest(options.rounds, "question 1", wanted, [level.name for level in levels], play),
        compare="events_per_cpu_second",
    )


def _in_quick(contestant: Contestant) -> bool:
    return contestant.name in QUICK_NAMES or contestant.kind == "limit"


def _ask(contestant: Contestant, server: Server, connections: int, count: int) -> None:
    """Unmeasured."""
    asked = contestant.ask(count, 0)
    folder = server.folder
    Load(asked, server.port, folder, connections=connections, events=count, timeout=60).finish()


def measure(
    contestant: Contestant, server: Server, connections: int, count: int, rate: float = 0.0
) -> Figures:
    """One measured run; its order and counts were checked when this returns."""
    watch = Watch(SERVER_CORE, server.cpu_seconds)
    told = Load(
        contestant.ask(count, rate),
        server.port,
        server.folder,
        connections=connections,
        events=count,
        timeout=180,
        stamps=not contestant.ready or rate > 0,
    ).finish()
    others = watch.others()
    cpu = max(watch.own(), 1e-6)
    events, seconds = told["events"], told["seconds"]
    kept = ("first_event_p50_ms", "first_event_p99_ms", "latency_max_ms", "bytes", "messages")
    figures = {name: told[name] for name in kept}
    if told["latency_count"]:
        figures |= {name: told[name] for name in ("latency_p50_ms", "latency_p99_ms")}
    return figures | {
        "events": events,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events_per_second": events / seconds,
        "events_per_cpu_second": events / cpu,
        "cpu_share": cpu / seconds,
        "others_share": others,
        "load_share": told["load_cpu_seconds"] / seconds,
        "rss_mib": server.rss() / 2**20,
    }
