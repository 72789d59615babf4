"""`python -m bench`: ask the questions, print a table for each, keep the results.

--only 1,2-highest asks just those; --quick is the short form (under 2 minutes, nothing is kept);
--middle takes a minute or two a question (put into the page until there is a full one).
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench import appends, catchup, fanout, graphs, memory, node, shortruns, steady, streams
from bench.contest import SIZES, Options, Table
from bench.machine import LOAD_CORE, describe
from bench.programs import built
from bench.report import show, write, write_page

QUESTIONS: dict[str, Callable[[Options], Table]] = {
    "1-streams": streams.ask,
    "2-steady": steady.ask,
    "2-highest": steady.ask_highest,
    "3-fanout": fanout.ask,
    "3-highest": fanout.ask_highest,
    "4-catchup": catchup.ask,
    "5-appends": appends.ask,
    "6-graphs": graphs.ask,
    "6-latency": graphs.ask_latency,
    "7-shortruns": shortruns.ask,
    "8-memory": memory.ask,
}
QUICK = "1,6"


def main() -> int:
    words = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--only", default="", help="questions, as 1,5 or 2-highest")
    sizes = words.add_mutually_exclusive_group()
    for name in SIZES[:-1]:
        sizes.add_argument(f"--{name}", action="store_const", const=name, dest="size")
    words.add_argument("--rounds", type=int)
    words.add_argument(
        "--among", action="append", default=[], help="a part of contestants' names: only these"
    )
    given = words.parse_args()
    size = given.size or "full"
    rounds = given.rounds or (1 if size in ("tiny", "quick") else 3)
    options = Options(rounds, size, tuple(given.among))
    try:
        asked = chosen(given.only or (QUICK if options.quick else ""))
    except LookupError as error:
        words.error(str(error))
    built("load/load.c")
    if not options.tiny and (trouble := node.install()):
        print(f"node's packages: {trouble}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what we started is ended
    os.sched_setaffinity(0, {LOAD_CORE})  # nor do we work on the server's core
    console = Console(width=None if sys.stdout.isatty() else 170)
    for ask in asked:
        machine = describe()
        tell(ask(options), machine, options, console)
    return 0


def chosen(only: str) -> list[Callable[[Options], Table]]:
    """The questions that are named, as `1` or `2-highest`; all where none is. Raises LookupError
    for a name that is none's.
    """
    names = [each.strip() for each in only.split(",") if each.strip()]
    for name in names:
        if not any(_is_named(question, name) for question in QUESTIONS):
            raise LookupError(f"there is no question {name}; there are {', '.join(QUESTIONS)}")
    return [ask for question, ask in QUESTIONS.items()
            if not names or any(_is_named(question, name) for name in names)]  # fmt: skip


def _is_named(question: str, name: str) -> bool:
    return question == name or question.startswith(f"{name}-")


def tell(table: Table, machine: dict[str, Any], options: Options, console: Console) -> None:
    """Show a table, keep it, and publish it where nothing disturbed it."""
    show(table, console)
    if not options.quick and not options.among:
        console.print(f"kept in {write(table, machine, options.size).name}")
    disturbed, measured = table.disturbed()
    if disturbed * 10 > measured:
        console.print(
            f"[red]{disturbed} of {measured} measurements were disturbed by other work on the "
            "server's core: not published; measure again when the machine is quiet[/red]"
        )
    elif options.size in ("full", "middle") and not options.among:
        write_page(table, machine, options.size)


if __name__ == "__main__":
    sys.exit(main())
