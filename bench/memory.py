"""Question 8: memory. What an open stream that carries nothing costs, an idle run, a running run
with its reader, and a reader that takes nothing any more.

Figures are slopes: what N more of them add to the server's processes (PSS: shared pages once) and
to the kernel's buffers of its sockets, divided by N.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.client import Load
from bench.contest import Column, Figures, Options, Table, contest
from bench.contestants.kept import Kept, kept
from bench.server import Broken, Server, kernel_bytes, serving

STOPPED_AFTER = 64 * 1024
"""Bytes behind which a stopped reader takes nothing any more."""

COLUMNS = (
    Column("held_kb", "kB each"),
    Column("process_kb", "in the process, kB", 1),
    Column("kernel_kb", "in socket buffers, kB", 1),
    Column("base_mib", "server without, MiB", 0),
)


@dataclass(frozen=True)
class Level:
    """What is opened: first `few`, then up to `many`; the slope is between the two."""

    kind: str
    few: int
    many: int

    def of(self, share: float) -> "Level":
        """Fewer of them."""
        return Level(self.kind, max(1, round(self.few * share)), max(3, round(self.many * share)))

    @property
    def name(self) -> str:
        """As in the table."""
        said = {
            "idle stream": "an open stream that carries nothing",
            "idle run": "a run that waits, with nobody watching",
            "running run": "a run of 1 event/s, with its reader",
            "stopped reader": "a reader that takes nothing any more",
        }
        return f"{said[self.kind]} ({self.many:,})"


FULL = (
    Level("idle stream", 1000, 5000),
    Level("idle run", 200, 1000),
    Level("running run", 200, 1000),
    Level("stopped reader", 10, 50),
)
MIDDLE = FULL
QUICK = (Level("idle stream", 100, 500), Level("stopped reader", 5, 20))
TINY = tuple(Level(each.kind, 5, 20) for each in FULL)


def ask(options: Options) -> Table:
    """Measure it. Each level gets a server of its own."""
    levels = options.pick(tiny=TINY, quick=QUICK, middle=MIDDLE, full=FULL)
    wanted = options.chosen(kept())
    kinds = {level.name: level.kind for level in levels}

    def play(contestant: Kept, folder: Path) -> Iterator[tuple[str, Figures]]:
        for number, level in enumerate(levels):
            if contestant.why(level.kind):
                continue
            with serving(contestant.command, folder / str(number)) as server:
                given = level.of(contestant.share(level.kind))
                yield level.name, measure(contestant, server, given)

    rows = contest(
        options.rounds,
        "question 8",
        wanted,
        kinds,
        play,
        lacks=lambda contestant, level: contestant.missing or contestant.why(kinds[level]),
    )
    return Table(
        "8-memory",
        "memory",
        COLUMNS,
        rows,
        compare="held_kb",
        better="less",
        timed=False,
    )


def measure(contestant: Kept, server: Server, level: Level) -> Figures:
    """The slope between few and many of them."""
    with ExitStack() as stack:
        opened = _opener(contestant, server, level, stack)
        if level.kind != "stopped reader":  # where it left off, a server might go on for long
            opened(0, max(5, level.few // 4), "warm")
        base, _ = settled(server)
        opened(0, level.few, "few")
        few, few_kernel = settled(server)
        opened(level.few, level.many - level.few, "many")
        many, many_kernel = settled(server)
    more = level.many - level.few
    process, kernel = (many - few) / more, (many_kernel - few_kernel) / more
    return {
        "held_kb": (process + kernel) / 1000,
        "process_kb": process / 1000,
        "kernel_kb": kernel / 1000,
        "base_mib": base / 2**20,
    }


def _opener(
    contestant: Kept, server: Server, level: Level, stack: ExitStack
) -> Callable[[int, int, str], None]:
    """Opens so many more of them. What is opened as "warm" is closed at once."""
    if level.kind == "idle run":
        return lambda first, number, _: contestant.idle_runs(server, number)
    asked = contestant.asked(server, level.kind)
    stop_after = STOPPED_AFTER if level.kind == "stopped reader" else 0

    def opened(first: int, number: int, name: str) -> None:
        folder = server.folder / name
        folder.mkdir()
        load = Load(
            asked,
            server.port,
            folder,
            connections=number,
            hold=True,
            stop_after=stop_after,
            timeout=120,
        )
        if name != "warm":
            stack.callback(load.close)
        try:
            load.wait("holding")
        finally:
            if name == "warm":
                load.close()

    return opened


def settled(server: Server) -> tuple[int, int]:
    """Bytes of the server's processes (PSS), and of the kernel for its sockets, when neither
    changes any more. Raises Broken when they still do after 60 s."""
    last = server.pss(), kernel_bytes(server.port)
    for _ in range(120):
        time.sleep(0.5)
        found = server.pss(), kernel_bytes(server.port)
        if all(abs(b - a) < max(a // 200, 65536) for a, b in zip(last, found, strict=True)):
            return found
        last = found
    raise Broken("the server's memory did not settle within 60 s")
