"""Where events are shown, in the command line's room: on a terminal or in a file.

What was asked for goes to stdout: the result, or with --json the envelopes. What is for people goes
to stderr: progress, and remarks. How an event reads is told in `texts`, the live display in `live`.
"""

import sys
from collections.abc import Callable
from typing import Protocol, Self, TextIO

from millstream.cli.texts import envelope, started, story
from millstream.events import Event


class View(Protocol):
    """Something that shows a run's events as they come."""

    def show(self, event: Event) -> None:
        """One event."""
        ...

    def say(self, text: str) -> None:
        """A remark about the connection: no event."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Lines:
    """A line for each event on `stream`, as `form` puts it (None: not worth one)."""

    def __init__(self, form: Callable[[Event], str | None], stream: TextIO) -> None:
        self._form, self._stream = form, stream

    def show(self, event: Event) -> None:
        """Print it at once: somebody may be reading a pipe."""
        line = self._form(event)
        if line is not None:
            print(line, file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """On stderr, which is for people; stdout is for what was asked for."""
        print(f"millstream: {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def choose(as_json: bool, out: TextIO) -> View:
    """Envelopes on `out`; or, on stderr, a live display or plain lines: then `out` is for the
    result alone."""
    if as_json:
        return Lines(envelope, out)
    if sys.stderr.isatty():
        from millstream.cli.live import Live  # rich takes its time

        return Live()
    return Lines(lambda event: started(event) or story(event), sys.stderr)
