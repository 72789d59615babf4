"""Question 4: many readers replay a finished log from its start, all at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import Asked, Load
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.logs import Log, logs
from bench.machine import SERVER_CORE
from bench.noise import Watch
from bench.server import Server, serving

COLUMNS = (
    Column("events_per_second", "events/s"),
    Column("events_per_cpu_second", "events/CPU s"),
    Column("mib_per_second", "MiB/s"),
    Column("first_event_p50_ms", "first event p50 ms", 1),
    Column("done_p99_ms", "whole log p99 ms"),
    Column("readers", "readers"),
    Column("load_share", "load client busy", 2),
    Column("others_share", "others on the core", 2),
)


@dataclass(frozen=True)
class Level:
    """So many readers of a log of so many events."""

    readers: int
    events: int

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.readers:,} readers of {self.events:,} events"


FULL = (Level(1000, 10_000),)
MIDDLE = (Level(100, 10_000),)
QUICK = (Level(20, 5_000),)
TINY = (Level(5, 100),)


def ask(options: Options) -> Table:
    """Measure it."""
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=FULL)
    wanted = options.chosen(logs())

    def play(contestant: Log, folder: Path) -> Iterator[tuple[str, Figures]]:
        for number, level in enumerate(levels):
            with serving(contestant.command, folder / str(number)) as server:
                asked = contestant.write(server, level.events)
                replay(server, asked, 2, level.events)  # warm
                readers = max(2, round(level.readers * contestant.share))
                yield level.name, measure(server, asked, readers, level.events)

    return Table(
        "4-catchup",
        "catching up",
        COLUMNS,
        contest(options.rounds, "question 4", wanted, [each.name for each in levels], play),
        compare="events_per_cpu_second",
    )


def replay(server: Server, asked: Asked, readers: int, events: int) -> Figures:
    """All read it to its end; counts and order were checked when this returns."""
    with Load(
        asked,
        server.port,
        server.folder,
        connections=readers,
        events=events,
        until_terminal=True,
        timeout=300,
    ) as load:
        return load.finish()


def measure(server: Server, asked: Asked, readers: int, events: int) -> Figures:
    """One measured replay."""
    watch = Watch(SERVER_CORE, server.cpu_seconds)
    told = replay(server, asked, readers, events)
    others, cpu, seconds = watch.others(), max(watch.own(), 1e-6), told["seconds"]
    return {
        "readers": readers,
        "events": told["events"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events_per_second": told["events"] / seconds,
        "events_per_cpu_second": told["events"] / cpu,
        "mib_per_second": told["bytes"] / seconds / 2**20,
        "first_event_p50_ms": told["first_event_p50_ms"],
        "done_p99_ms": told["done_p99_ms"],
        "load_share": told["load_cpu_seconds"] / seconds,
        "others_share": others,
    }
