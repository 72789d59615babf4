"""Tables for the terminal, for `bench/results/*.json` and for docs/performance.md."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Drawn

from bench.contest import Column, Row, Table, as_json
from bench.machine import ROOT

RESULTS = ROOT / "bench" / "results"
FULL = "full size."
PAGE = ROOT / "docs" / "performance.md"


def show(table: Table, console: Console) -> None:
    """Print it."""
    for level in table.levels():
        drawn = Drawn(title=f"{table.title}: {level}", title_justify="left")
        drawn.add_column("")
        for head in _heads(table):
            drawn.add_column(head, justify="right")
        for row in table.rows:
            if row.level == level:
                drawn.add_row(row.name, *_cells(table, row))
        console.print(drawn)


def _heads(table: Table) -> list[str]:
    return [column.head for column in table.columns] + ["x best peer", "of the limit"]


def _cells(table: Table, row: Row) -> list[str]:
    if not row.rounds:
        return [f"({row.missing or 'not measured'})"[:60]] + [""] * (len(table.columns) + 1)
    return [_shown(row, column) for column in table.columns] + [
        _ratio(table, row, table.best_peer(row.level)),
        _ratio(table, row, _limit(table, row.level)),
    ]


def _limit(table: Table, level: str) -> Row | None:
    limits = [r for r in table.rows if r.level == level and r.kind == "limit" and r.rounds]
    return limits[-1] if limits else None


def _shown(row: Row, column: Column) -> str:
    value = row.median(column.figure)
    return "" if value is None else f"{value:,.{column.decimals}f}"


def _ratio(table: Table, row: Row, other: Row | None) -> str:
    mine = row.median(table.compare)
    theirs = other.median(table.compare) if other else None
    if mine is None or not theirs or other is row:
        return ""
    ratio = mine / theirs
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def write(table: Table, machine: dict[str, Any], size: str = "full") -> Path:
    """Keep a result. One of another size than the full one says so in its name."""
    RESULTS.mkdir(exist_ok=True)
    day = datetime.now(UTC).date().isoformat()
    path = RESULTS / f"{day}-{table.question}{'' if size == 'full' else '-' + size}.json"
    told = {**machine, "size": size, **as_json(table)}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path


def write_page(table: Table, machine: dict[str, Any], size: str = "full") -> None:
    """Put the tables of a question into docs/performance.md, between its two marks. A smaller
    measurement does not take the place of a full one."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {table.question} -->", f"<!-- /{table.question} -->"
    between = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    there = between.search(page)
    if not there or (size != "full" and FULL in there[0]):
        return
    body = f"{begin}\n{as_markdown(table, machine, size)}{end}"
    PAGE.write_text(between.sub(lambda _: body, page), encoding="utf-8")


def as_markdown(table: Table, machine: dict[str, Any], size: str = "full") -> str:
    """The tables of a question, one a level."""
    said = machine["machine"]
    load = ", ".join(f"{each:.1f}" for each in said["load_average_before"])
    lines = [
        f"{machine['date'][:10]}, {said['cores']} cores of {said['cpu']}, Linux "
        f"{said['kernel'].split('-')[0]}; load average before: {load}; medians of "
        f"{max((len(row.rounds) for row in table.rows), default=0)} rounds; "
        + (FULL if size == "full" else f"{size} size (`make bench {size.upper()}=1`)."),
        "",
    ]
    for level in table.levels():
        heads = _heads(table)
        lines += [f"| {level} | " + " | ".join(heads) + " |", "|---" + "|--:" * len(heads) + "|"]
        for row in table.rows:
            if row.level == level:
                lines.append(f"| {row.name} | " + " | ".join(_cells(table, row)) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"{note}\n" for note in table.notes)])
