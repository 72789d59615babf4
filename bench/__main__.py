"""`python -m bench`: ask the questions, print a table for each, keep the results.

--only 1,5 asks just those; --quick is the short form (under 2 minutes, nothing is kept).
"""

import argparse
import os
import sys
from collections.abc import Callable

from rich.console import Console

from bench import appends, streams
from bench.contest import Options, Table
from bench.machine import LOAD_CORE, describe
from bench.programs import built
from bench.report import show, write, write_page

QUESTIONS: dict[str, Callable[[Options], Table]] = {
    "1": streams.ask,
    "5": appends.ask,
}
QUICK = ("1",)


def main() -> int:
    words = argparse.ArgumentParser(prog="bench", description=__doc__)
    words.add_argument("--only", default="", help="questions, as 1,5")
    words.add_argument("--quick", action="store_true", help="the short form")
    words.add_argument("--tiny", action="store_true", help="so short that it shows nothing")
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    chosen = [each for each in given.only.split(",") if each] or list(
        QUICK if given.quick else QUESTIONS
    )
    unknown = [each for each in chosen if each not in QUESTIONS]
    if unknown:
        words.error(f"there is no question {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    built("load/load.c")
    os.sched_setaffinity(0, {LOAD_CORE})  # nor do we work on the server's core
    console = Console(width=None if sys.stdout.isatty() else 150)
    options = Options(rounds=given.rounds, quick=given.quick or given.tiny, tiny=given.tiny)
    for each in chosen:
        machine = describe()
        table = QUESTIONS[each](options)
        show(table, console)
        if not options.quick:
            console.print(f"kept in {write(table, machine).name}")
        disturbed, measured = table.disturbed()
        if disturbed * 10 > measured:
            console.print(
                f"[red]{disturbed} of {measured} measurements were disturbed by other work on the "
                "server's core: not published; measure again when the machine is quiet[/red]"
            )
        elif not options.quick:
            write_page(table, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
