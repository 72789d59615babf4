"""Question 5: durable appends. Each contestant is a program that writes, checks what the disk has,
and prints its figures."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contest import Column, Figures, Options, Table, contest
from bench.machine import SERVER_CORE, peers_python, python
from bench.noise import Watch
from bench.server import Broken, children_seconds, environment, on_server_core

COLUMNS = (
    Column("events_per_second", "events/s"),
    Column("events_per_cpu_second", "events/CPU s"),
    Column("latency_p50_ms", "append p50 ms", 2),
    Column("latency_p99_ms", "p99 ms", 2),
    Column("others_share", "others on the core", 2),
)


@dataclass(frozen=True)
class Level:
    """`window`: how many events a run may be ahead of what is durable; 1 waits for each."""

    name: str
    runs: int
    events: int
    window: int


AHEAD = (Level("1 run", 1, 60_000, 256), Level("100 runs", 100, 1_500, 256))
AHEAD += (Level("1,000 runs", 1000, 150, 256),)
EACH = (Level("1 run, each append awaited", 1, 1_000, 1),)
EACH += (Level("100 runs, each append awaited", 100, 200, 1),)
EACH += (Level("1,000 runs, each append awaited", 1000, 30, 1),)
MIDDLE = (Level("100 runs", 100, 600, 256), Level("100 runs, each append awaited", 100, 50, 1))
QUICK = (Level("1 run", 1, 5_000, 256), Level("100 runs, each append awaited", 100, 20, 1))
TINY = (Level("2 runs", 2, 20, 256), Level("2 runs, each append awaited", 2, 5, 1))


@dataclass(frozen=True)
class Contestant:
    """`share`: which part of a level's events it is given, where it is very much slower."""

    name: str
    module: str
    kind: str = "peer"
    share: float = 1.0
    missing: str | None = None
    peers: bool = False

    def lacks(self, level: Level) -> str | None:
        """Why it is not asked at this level, if it is not."""
        if self.share < 1 and (level.runs > 100 or level.window > 1):
            return "too slow for this; see the levels where each append is awaited"
        return self.missing


def contestants() -> list[Contestant]:
    """In the order of the table."""
    absent = None if peers_python() else "the peers' environment is not installed"
    return [
        Contestant("Millstream's journal, SQLite", "append_millstream", "ours"),
        Contestant("sqlite3 by hand, group commit", "append_sqlite"),
        Contestant(
            "DBOS write_stream, SQLite", "append_dbos", share=0.01, missing=absent, peers=True
        ),
        Contestant("limit: a file, fdatasync, group commit", "append_file", "limit"),
    ]


def ask(options: Options) -> Table:
    """Measure it."""
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=(*AHEAD, *EACH))
    by_name = {level.name: level for level in levels}

    def play(contestant: Contestant, folder: Path) -> Iterator[tuple[str, Figures]]:
        for number, level in enumerate(levels):
            if contestant.lacks(level) is None:
                inside = folder / str(number)
                inside.mkdir()
                yield level.name, measure(contestant, level, inside)

    rows = contest(
        options.rounds,
        "question 5",
        options.chosen(contestants()),
        by_name,
        play,
        lacks=lambda contestant, level: contestant.lacks(by_name[level]),
    )
    return Table(
        "5-appends",
        "durable appends",
        COLUMNS,
        rows,
        compare="events_per_second",
    )


def measure(contestant: Contestant, level: Level, folder: Path) -> Figures:
    """One measured run; what the disk has was checked when this returns."""
    events = max(2, round(level.events * contestant.share))
    interpreter = str(peers_python()) if contestant.peers else python()
    words = [interpreter, "-m", f"bench.contestants.{contestant.module}"]
    words += [str(level.runs), str(events), str(level.window), str(folder)]
    watch = Watch(SERVER_CORE, children_seconds)
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            preexec_fn=on_server_core,
        )
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{level.name}: not done in 180 s") from error
    if done.returncode:
        raise Broken(f"{level.name}: {done.stderr.strip()[-600:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return {**json.loads(lines[-1]), "others_share": watch.others()}
