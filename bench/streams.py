"""Question 1: many streams, each its own run, small events as fast as possible."""

from collections.abc import Iterator
from pathlib import Path

from bench.client import Load
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.http import Contestant, contestants
from bench.machine import SERVER_CORE
from bench.noise import Watch
from bench.server import Server, serving

EVENTS = {1: 30_000, 100: 1_000, 1000: 200}
"""Connections, and how many events each of their streams brings (times a contestant's scale)."""

SAME_FOR_ALL = 1000
"""From so many connections on nobody's count is scaled: streams are short, and who got more events
would spread the cost of beginning a stream over more of them."""

MIDDLE = {1: 20_000, 100: 500, 1000: 50}
QUICK = {1: 20_000, 100: 400}
TINY = {1: 50, 3: 20}

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
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=EVENTS)
    wanted = [
        c
        for c in options.chosen(contestants())
        if options.among or not options.quick or _in_quick(c)
    ]

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        with serving(contestant.command, folder) as server:
            _ask(contestant, server, 4, 500)  # warm
            for connections, events in levels.items():
                alike = options.tiny or connections >= SAME_FOR_ALL
                count = events if alike else round(events * contestant.scale)
                if contestant.ready:
                    _ask(contestant, server, 1, count)
                yield _level(connections), measure(contestant, server, connections, count)

    return Table(
        "1-streams",
        "many streams, small events, as fast as possible",
        COLUMNS,
        contest(options.rounds, "question 1", wanted, map(_level, levels), play),
        compare="events_per_cpu_second",
    )


def _in_quick(contestant: Contestant) -> bool:
    return contestant.name in QUICK_NAMES or contestant.kind == "limit"


def _level(connections: int) -> str:
    return f"{connections:,} stream{'s' if connections > 1 else ''}"


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
