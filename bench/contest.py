"""What a question is made of: contestants, rounds in which they alternate, medians."""

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console

from bench.noise import LIMIT
from bench.server import Broken

console = Console(stderr=True)
Figures = dict[str, float]


SIZES = ("tiny", "quick", "middle", "full")
Choice = TypeVar("Choice")


class Contestant(Protocol):
    """What every question's contestants have."""

    @property
    def name(self) -> str:
        """As in the table."""
        ...

    @property
    def kind(self) -> str:
        """ "ours", "peer" or "limit"."""
        ...

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured at all."""
        ...


Named = TypeVar("Named", bound=Contestant)


@dataclass(frozen=True)
class Options:
    """How much to measure. `size`: "tiny" shows nothing but that it runs (for the test), "quick"
    is the short form, "middle" takes a minute a question, and "full" is what is published."""

    rounds: int = 3
    size: str = "full"
    among: tuple[str, ...] = ()
    """Parts of names: only these contestants. Empty: all."""

    @property
    def quick(self) -> bool:
        """Whether this is too short to be kept."""
        return self.size in ("tiny", "quick")

    def chosen(self, contestants: Sequence[Named]) -> list[Named]:
        """Those that are asked."""
        return [c for c in contestants if not self.among or any(p in c.name for p in self.among)]

    @property
    def tiny(self) -> bool:
        """Whether nothing is learned but that it runs."""
        return self.size == "tiny"

    def pick(self, *, tiny: Choice, full: Choice, quick: Choice, middle: Choice) -> Choice:
        """What fits the size."""
        return {"tiny": tiny, "quick": quick, "middle": middle, "full": full}[self.size]


@dataclass
class Row:
    """One contestant at one level: each round's figures."""

    name: str
    level: str
    kind: str = "peer"
    """"ours", "peer" or "limit"."""
    rounds: list[Figures] = field(default_factory=list)
    missing: str | None = None

    def median(self, figure: str) -> float | None:
        """The median over the rounds; None where it was not measured."""
        values = [each[figure] for each in self.rounds if each.get(figure) is not None]
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Column:
    """One column of a table: which figure, under what head, how many decimals."""

    figure: str
    head: str
    decimals: int = 0


@dataclass
class Table:
    """One question's outcome. `compare` is the figure whose ratios are shown; `better` says
    whether more is better; `timed`, whether other work on the machine changes the figures."""

    question: str
    title: str
    columns: Sequence[Column]
    rows: list[Row]
    compare: str
    better: str = "more"
    notes: list[str] = field(default_factory=list)
    timed: bool = True

    def best_peer(self, level: str) -> Row | None:
        """The best peer at a level, by the figure that is compared."""
        found = [r for r in self.rows if r.level == level and r.kind == "peer"]
        measured = [r for r in found if r.median(self.compare) is not None]
        choose = max if self.better == "more" else min
        return choose(measured, key=lambda r: r.median(self.compare) or 0, default=None)

    def disturbed(self) -> tuple[int, int]:
        """How many measurements others disturbed, and of how many."""
        if not self.timed:
            return 0, sum(len(r.rounds) for r in self.rows)
        shares = [each["others_share"] for r in self.rows for each in r.rounds]
        return sum(share > LIMIT for share in shares), len(shares)

    def levels(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(row.level for row in self.rows))


def contest(
    rounds: int,
    said: str,
    entered: Sequence[Named],
    levels: Iterable[str],
    play: Callable[[Named, Path], Iterable[tuple[str, Figures]]],
    *,
    lacks: Callable[[Named, str], str | None] = lambda contestant, level: contestant.missing,
) -> list[Row]:
    """Every contestant once a round, in an order that turns from round to round. `play` is given
    an empty folder, and tells level and figures as they come; `lacks` says why there will be none.
    What goes wrong with one is told, and the others go on."""
    rows = {
        (c.name, level): Row(c.name, level, c.kind, missing=lacks(c, level))
        for level in levels
        for c in entered
    }
    present = [c for c in entered if c.missing is None]
    for number in range(rounds):
        for contestant in present if number % 2 == 0 else present[::-1]:
            name = contestant.name
            console.print(f"[dim]{said}: round {number + 1}/{rounds}: {name}[/dim]")
            folder = Path(tempfile.mkdtemp(prefix="millstream-bench-"))
            try:
                for level, figures in play(contestant, folder):
                    rows[name, level].rounds.append(figures)
            except Broken as error:
                console.print(f"{name}: {error}", style="red", markup=False)
                for row in rows.values():
                    if row.name == name and not row.rounds:
                        row.missing = row.missing or str(error)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    for row in rows.values():
        if row.rounds:  # what broke in one round, another one may have measured
            row.missing = None
    return list(rows.values())


def as_json(table: Table) -> dict[str, Any]:
    """Everything, medians and each round."""
    return {
        "question": table.question,
        "title": table.title,
        "compare": table.compare,
        "better": table.better,
        "columns": [
            {"figure": c.figure, "head": c.head, "decimals": c.decimals} for c in table.columns
        ],
        "notes": table.notes,
        "disturbed": table.disturbed(),
        "rows": [
            {
                "name": row.name,
                "level": row.level,
                "kind": row.kind,
                "missing": row.missing,
                "median": {f: row.median(f) for f in _figures(row.rounds)},
                "rounds": row.rounds,
            }
            for row in table.rows
        ],
    }


def _figures(rounds: Iterable[Figures]) -> list[str]:
    return list(dict.fromkeys(name for each in rounds for name in each))
