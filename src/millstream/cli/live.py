"""The live display: what is at work at the bottom, one line each; what came of it scrolls above.

In the command line's room; the only file that draws with rich. What is shown is decided in
`board` and `texts`.
"""

from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as Display
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from millstream.cli.board import Board, Key, Row
from millstream.cli.texts import clean, story
from millstream.events import STEP_FAILED, STEP_RESULT, Event

COLOURS = {STEP_RESULT: "green", STEP_FAILED: "red"}
BAR = 20


class Live:
    """A view on a terminal. Use it as a context: it gives the terminal back."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, stderr=True)
        self._board = Board()
        self._spinner = Spinner("dots", style="cyan")
        self._display = Display(
            get_renderable=self._drawn,
            console=self._console,
            refresh_per_second=10,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.__exit__(None, None, None)

    def show(self, event: Event) -> None:
        """Move the board; print what stays."""
        self._board.apply(event)
        line = story(event, width=max(20, self._console.width - 24))
        if line is not None:
            # Text, not markup: data with [brackets] is data.
            self._console.print(Text(line, style=COLOURS.get(event.type, "")), soft_wrap=True)

    def say(self, text: str) -> None:
        """A remark."""
        self._console.print(Text(clean(text), style="yellow"))

    # --- drawing ----------------------------------------------------------------------------

    def _drawn(self) -> RenderableType:
        board = self._board
        room = max(1, self._console.height - 4)
        rows = list(board.rows.items())
        table = Table.grid(padding=(0, 1))
        for key, row in rows[:room]:
            table.add_row(*self._cells(key, row))
        hidden = len(rows) - room
        more = [Text(f"  … and {hidden} more", style="dim")] if hidden > 0 else []
        return Group(self._head(), table, *more)

    def _head(self) -> RenderableType:
        board = self._board
        counts = f"{sum(board.done.values())} done"
        if board.failed:
            counts += f", {sum(board.failed.values())} failed"
        head = Table.grid(padding=(0, 1))
        told = Text(f"run {board.run} {board.state}: {counts}" if board.run else "starting")
        head.add_row(self._spinner, told)
        return head

    def _cells(self, key: Key, row: Row) -> tuple[RenderableType, ...]:
        step, item = key
        label = clean(step if item is None else f"{step}[{item}]")
        bar: RenderableType = Text("")
        if row.fraction is not None:
            bar = ProgressBar(total=1.0, completed=row.fraction, width=BAR)
        return self._mark(row), Text(label), bar, Text(_said(row), style="dim", overflow="ellipsis")

    def _mark(self, row: Row) -> RenderableType:
        return Text("!", style="yellow") if row.waiting else self._spinner


def _said(row: Row) -> str:
    parts = [
        f"{row.fraction:.0%}" if row.fraction is not None else "",
        clean(row.message),
        f"({row.values} so far)" if row.values else "",
        f"attempt {row.attempt}" if row.attempt > 1 else "",
    ]
    return " ".join(part for part in parts if part)
