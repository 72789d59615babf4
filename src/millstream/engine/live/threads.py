"""A long call in a thread of its own: a plain generator as a source or a transformer.

Values gather while the loop is busy and come home in blocks: one wake-up for many. A thread whose
values are not taken waits. (Steps that end soon use the pool of `engine.threads`; a source that
never ends would keep one of its threads for ever.)
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from types import GeneratorType
from typing import Any, Final

from millstream.context import Cancelled
from millstream.engine.channel import Signal
from millstream.engine.live.outlets import Hand

HELD: Final = 256
"""Values on their way home before the thread waits."""


class ThreadCall:
    """One call. `run` it in the loop; it ends when the generator does, or raises what it raised."""

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any], name: str) -> None:
        self._function, self._arguments, self._name = function, arguments, name
        self._loop = asyncio.get_running_loop()
        self._signal = Signal()
        self._room = threading.Condition()
        self._values: list[Any] = []
        self._told = self._done = self.stopped = False
        self._error: BaseException | None = None
        self.result: Any = None

    # --- in the thread ----------------------------------------------------------------------

    def _work(self) -> None:
        try:
            value = self._function(**self._arguments)
            if isinstance(value, GeneratorType):
                with closing(value):
                    for each in value:
                        self._put(each)
            else:
                self.result = value
        except BaseException as error:
            self._error = error
        self._done = True
        self._tell()

    def _put(self, value: Any) -> None:
        with self._room:
            while len(self._values) >= HELD and not self.stopped:
                self._room.wait()
            if self.stopped:
                raise Cancelled
            self._values.append(value)
            told, self._told = self._told, True
        if not told:
            self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there to hear it
            self._loop.call_soon_threadsafe(self._signal.set)

    # --- in the loop ------------------------------------------------------------------------

    async def run(self, hand: Hand, gate: "Gate") -> None:
        """Bring its values home, in order, until it has ended."""
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        thread.start()
        try:
            while not self._done or self._values:
                await self._signal.wait()
                for value in self._take():
                    if hand.add(value) or gate.closed:
                        await hand.settle()
                        await gate.wait()
            await hand.settle()
        finally:
            self._stop()
        if self._error is not None:
            raise self._error

    def _take(self) -> list[Any]:
        with self._room:
            values, self._values, self._told = self._values, [], False
            self._room.notify()
        return values

    def _stop(self) -> None:
        """The thread ends at its next value; until then nothing of it gets through."""
        with self._room:
            self.stopped = True
            self._values = []
            self._room.notify()


class Gate:
    """Holds a step up while it is paused."""

    def __init__(self) -> None:
        self.closed = False
        self._signal = Signal()

    def pause(self, closed: bool) -> None:
        """Hold it up from now on; or let it go on."""
        self.closed = closed
        self._signal.set()

    async def wait(self) -> None:
        """Until it is open."""
        while self.closed:
            await self._signal.wait()
