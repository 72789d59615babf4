"""From a run's first event on the screen to the exit status: what `run` and `tail` share.

In the command line's room. Ctrl-C leaves the run alone and says how to come back (law 6), or
cancels it where that was asked for; a second one leaves at once.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TextIO, TypeVar

from millstream.cli.places import DEFAULT_URL
from millstream.cli.show import View
from millstream.cli.texts import clean, failure, pretty

if TYPE_CHECKING:
    from millstream.client import Client, Following
    from millstream.events import Event

STATUS = {"completed": 0, "failed": 1, "cancelled": 3}
"""Exit statuses by how a run ended; 2 is for the command line's own mistakes, as everywhere."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T")


class Interrupted(Exception):
    """Ctrl-C, or SIGTERM. `status` is what a shell expects then."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


class Watch:
    """One run on one screen. `run` it: the exit status comes back.

    `out` gets the result, unless the view has it all (`as_json`). `back` says how to come back to
    a run (given its id and the cursor); `cancels`: Ctrl-C cancels.
    """

    def __init__(
        self,
        client: "Client",
        view: View,
        out: TextIO,
        *,
        as_json: bool,
        cancels: bool,
        back: Callable[[str, int], str],
    ) -> None:
        self._client, self._view, self._out = client, view, out
        self._as_json, self._cancels, self._back = as_json, cancels, back
        self._state = "the run goes on"

    async def run(self, stream: "Following") -> int:
        """Show it to its end."""
        try:
            with Interrupts() as interrupts, self._view:
                last = await self._shown_or_cancelled(stream, interrupts)
        except Interrupted as interrupted:
            self._say_how_to_come_back(stream)
            return interrupted.status
        return await self._concluded(stream, last)

    async def _shown_or_cancelled(
        self, stream: "Following", interrupts: "Interrupts"
    ) -> "Event | None":
        try:
            return await interrupts.guard(self._shown(stream))
        except Interrupted:
            if not self._cancels or stream.run is None:
                raise
        self._view.say("cancelling; Ctrl-C again leaves at once")
        self._state = "it may not have stopped"
        return await interrupts.guard(self._cancelled(stream.run, stream.cursor))

    async def _shown(self, stream: "Following") -> "Event | None":
        event = None
        async with stream:
            async for event in stream:
                self._view.show(event)
        return event

    async def _cancelled(self, run: str, cursor: int) -> "Event | None":
        await self._client.cancel(run, "interrupted on the command line")
        return await self._shown(self._client.follow(run, after=cursor))

    def _say_how_to_come_back(self, stream: "Following") -> None:
        if stream.run is None:
            told = "left before the server had answered"
        else:
            told = f"{self._state}; {self._back(stream.run, stream.cursor)}"
        print(f"millstream: {told}", file=sys.stderr)

    async def _concluded(self, stream: "Following", last: "Event | None") -> int:
        """Print what it has come to; the exit status."""
        assert stream.run is not None, "a stream that ended has told its run"
        if self._as_json and last is not None:
            return STATUS[last.type.removeprefix("run.")]
        document = await self._client.run(stream.run)
        if not self._as_json:
            conclude(document, self._out, self._back(stream.run, stream.cursor))
        return STATUS.get(document["state"], 1)


RESULT_LINES = 40
"""As much of a result as a terminal gets; a file or a pipe gets all of it."""


def conclude(document: dict[str, Any], out: TextIO, back: str) -> None:
    """The result on `out`; what is missing from it, or why there is none, on stderr."""
    error = document["error"] or {}
    match document["state"]:
        case "completed":
            _say_what_is_missing(document["missing"])
            _print_result(pretty(document["result"]), out, back)
        case "failed":
            print(f"millstream: the run failed: {failure(error)}", file=sys.stderr)
        case "cancelled":
            by, reason = error.get("by"), error.get("reason")
            print(f"millstream: cancelled by {clean(f'{by}: {reason}')}", file=sys.stderr)


def _print_result(text: str, out: TextIO, back: str) -> None:
    lines = text.split("\n")
    more = len(lines) - RESULT_LINES
    if not out.isatty() or more <= 0:
        print(text, file=out, flush=True)
        return
    print("\n".join(lines[:RESULT_LINES]), file=out, flush=True)
    told = f"{more} of {len(lines)} lines left out (a file or a pipe gets all)"
    print(f"millstream: {told}; {back}", file=sys.stderr)


def _say_what_is_missing(missing: list[dict[str, Any]]) -> None:
    for part in missing:
        item = "" if part.get("item") is None else f"[{part['item']}]"
        print(f"missing: {clean(part['step'])}{item}: {failure(part)}", file=sys.stderr)


def come_back(url: str) -> Callable[[str, int], str]:
    """How to come back to a run of the server at `url`."""
    where = "" if url == DEFAULT_URL else f" --url {url}"

    def told(run: str, cursor: int) -> str:
        return f"come back with: millstream tail {run} --after {cursor}{where}"

    return told


# --- Ctrl-C --------------------------------------------------------------------------------------


class Interrupts:
    """Signals that cancel what is under way. One that comes between two works cancels the next."""

    def __init__(self) -> None:
        self._task: asyncio.Future[Any] | None = None
        self._caught: int | None = None

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # Windows: Ctrl-C stays a KeyboardInterrupt
            for number in SIGNALS:
                loop.add_signal_handler(number, self._catch, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _catch(self, number: int) -> None:
        self._caught = number
        if self._task is not None:
            self._task.cancel()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`. Raises Interrupted."""
        self._task = asyncio.ensure_future(work)
        if self._caught is not None:
            self._task.cancel()
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._caught is None:
                raise
            number, self._caught = self._caught, None
            raise Interrupted(number) from None
        finally:
            self._task = None
