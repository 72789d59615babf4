"""Question 3: one run, many followers. What does it cost, how old are events when they arrive, and
up to which rate does that hold?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import Load, Window
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.fans import Fan, Run, fans
from bench.search import held
from bench.server import Server, serving
from bench.windows import figures, watched

SETTLE, SLACK = 0.5, 0.3
"""Seconds from the first event to the window, and behind it."""

HELD_MS = 50.0
"""A rate is held while the 99th percentile is below this and 99 % arrive."""

GRID = (25, 50, 75, 100, 125, 150, 175, 200, 250, 300, 400, 500, 750, 1000, 1500)
"""Events a second that are tried for the highest rate."""


@dataclass(frozen=True)
class Level:
    """So many followers of one run, measured for `seconds`."""

    followers: int
    rate: float
    seconds: float

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.followers:,} followers x {self.rate:g} events/s"

    @property
    def count(self) -> int:
        """Events of the run."""
        return max(2, round(self.rate * (SETTLE + self.seconds + SLACK)))


FULL = (Level(1000, 100, 4.0), Level(5000, 100, 2.0))
MIDDLE = (Level(1000, 100, 2.0),)
QUICK = (Level(200, 50, 1.0),)
TINY = (Level(5, 50, 0.3),)

COLUMNS = (
    Column("latency_p50_ms", "latency p50 ms", 1),
    Column("latency_p99_ms", "p99 ms", 1),
    Column("cpu_share", "cores", 2),
    Column("events_per_cpu_second", "deliveries/CPU s"),
    Column("delivered_share", "arrived in time", 2),
    Column("load_share", "load client busy", 2),
    Column("others_share", "others on the core", 2),
)
HIGHEST = (
    Column("held", "highest rate held, events/s"),
    Column("events_per_second", "deliveries/s"),
    Column("events_per_cpu_second", "deliveries/CPU s"),
    Column("latency_p50_ms", "latency p50 ms", 1),
    Column("latency_p99_ms", "p99 ms", 1),
    Column("cpu_share", "cores", 2),
    Column("load_share", "load client busy", 2),
    Column("others_share", "others on the core", 2),
)


def ask(options: Options) -> Table:
    """Measure it at the given rates."""
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=FULL)
    wanted = options.chosen(fans())
    followers = {level.name: level.followers for level in levels}

    def play(fan: Fan, folder: Path) -> Iterator[tuple[str, Figures]]:
        with serving(fan.command, folder) as server:
            measure(fan, server, Level(20, 50, 0.2), "warm")
            for level in (each for each in levels if not fan.why(each.followers)):
                yield level.name, measure(fan, server, level, level.name)

    rows = contest(
        options.rounds,
        "question 3",
        wanted,
        followers,
        play,
        lacks=lambda fan, level: fan.missing or fan.why(followers[level]),
    )
    return Table(
        "3-fanout",
        "one run, many followers",
        COLUMNS,
        rows,
        compare="events_per_cpu_second",
    )


def ask_highest(options: Options) -> Table:
    """Look for the highest rate that each holds."""
    followers, seconds = options.pick(
        tiny=(5, 0.2), quick=(200, 0.5), middle=(1000, 1.0), full=(1000, 2.0)
    )
    grid = GRID[:2] if options.tiny else GRID
    level = f"{followers:,} followers, p99 below {HELD_MS:g} ms"
    wanted = [c for c in options.chosen(fans()) if c.most is None]

    def play(fan: Fan, folder: Path) -> Iterator[tuple[str, Figures]]:
        with serving(fan.command, folder) as server:
            measure(fan, server, Level(20, 50, 0.2), "warm")

            def at(rate: float) -> Figures:
                found = measure(fan, server, Level(followers, rate, seconds), f"at-{rate}")
                return {**found, "held": rate}

            yield level, held(server, grid, at, holds)

    rows = contest(options.rounds, "question 3, highest rate", wanted, [level], play)
    return Table("3-highest", "one run, many followers", HIGHEST, rows, compare="held")


def holds(found: Figures) -> bool:
    """Whether a rate was held."""
    return found["latency_p99_ms"] < HELD_MS and found["delivered_share"] > 0.99


def measure(fan: Fan, server: Server, level: Level, name: str) -> Figures:
    """One run, followed by all; all orders and counts were checked when this returns."""
    run = Run(level.count, level.rate, "go-" + "".join(c for c in name if c.isalnum()))
    asked = fan.prepare(server, run)
    with Load(
        asked,
        server.port,
        server.folder,
        connections=level.followers,
        events=level.count,
        timeout=90,
        stamps=True,
        spread=fan.spread * level.followers / 1000,
        gate=True,
        until_terminal=True,
        window=Window(SETTLE, level.seconds),
    ) as load:
        load.wait("ready")
        publisher = fan.begin(server, run)
        try:
            seen = watched(load, server)
            told = load.finish()
            publisher.end()
        finally:
            publisher.kill()
    return figures(seen, told, level.followers * level.rate * level.seconds)
