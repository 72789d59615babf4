"""SourceNode: a plain inline generator that drives its segment, a slice of messages a loop turn."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from millstream.core.pace import Pace
from millstream.engine.channel import Signal
from millstream.engine.live.functions import Turns
from millstream.engine.live.inbox import Taken
from millstream.engine.live.restarts import Restarts
from millstream.engine.live.statistics import Counts
from millstream.engine.live.threads import Gate
from millstream.engine.work import Work


class SourceNode:
    """A segment whose first step is its source. The node is interrupted between two slices."""

    def __init__(
        self,
        work: Work,
        function: Callable[..., Any],
        constants: Mapping[str, Any],
        turns: Turns,
        counts: Counts,
        restarts: Restarts,
    ) -> None:
        self.function, self.turns, self.gate, self.counts = function, turns, Gate(), counts
        self.interrupted = self._stopped = False
        self.number = 0
        self._work, self._constants = work, dict(constants)
        self._restarts, self._signal = restarts, Signal()
        self.values: Generator[Any, None, Any] | None = None

    async def run(self) -> None:
        """Until the generator has ended for good, or the node is interrupted."""
        try:
            await self.turns.settle()
            while await self._round():
                pass
        finally:
            if not self.interrupted:
                self._let_go()
        if not self.interrupted:
            self.turns.close()

    async def _round(self) -> bool:
        """One generator, from where it is to its end. Whether there is another round."""
        began = self._work.now()
        error = None
        try:
            ended = await self._drive()
        except _Broke as broke:
            error, ended = broke.error, True
        if error is not None:
            self._let_go()
            return await self._restarts.after(error, self._work.now() - began)
        return not ended

    async def _drive(self) -> bool:
        """Slice after slice. True where the generator has ended, False where it was stopped (and
        may be started again); raises _Broke where it raised."""
        pace = Pace()
        while True:
            await asyncio.sleep(0)
            await self.gate.wait()
            while self._stopped and not self.interrupted:
                await self._signal.wait()
            if self.interrupted:
                return True
            generator = self.values = self.values or self.function(**self._constants)
            began, limit = self._work.now(), self.turns.limit(pace.size)
            values, error = _slice(generator, limit)
            waits = self._turn(values)
            pace.note(len(values), self._work.now() - began)
            await self.turns.settle(waits)
            if error is not None:
                raise _Broke(error)
            if len(values) < limit and not self._stopped and self.values is not None:
                return True

    def _turn(self, values: list[Any]) -> list[Any]:
        first = self.number + 1
        self.number += len(values)
        self.counts.made += len(values)
        return self.turns.turn(Taken(range(first, self.number + 1), values, self.number))

    # --- by hand ----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Come to rest between two slices; another node goes on with `values` and `number`."""
        self.interrupted = True
        self.turns.interrupt()
        self.gate.pause(False)
        self._signal.set()

    def take_over(self, earlier: "SourceNode") -> None:
        """Go on where another node of this source has come to rest."""
        self.values, self.number = earlier.values, earlier.number

    def stop(self) -> None:
        """Let go of the generator; `start` begins another."""
        self._stopped = True
        self._let_go()

    def start(self) -> None:
        """Begin anew."""
        self._stopped = False
        self._signal.set()

    def restart(self) -> None:
        """Another generator, from the next slice on."""
        self._let_go()

    def _let_go(self) -> None:
        values, self.values = self.values, None
        if values is not None:
            with suppress(Exception):  # what it is closed for is over already
                values.close()

    def __repr__(self) -> str:
        return f"<SourceNode {self.counts.name} at {self.number}>"


class _Broke(Exception):
    """The generator raised."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _slice(values: Iterator[Any], limit: int) -> tuple[list[Any], BaseException | None]:
    """The next values, and what the generator raised behind them."""
    taken: list[Any] = []
    try:
        taken.extend(islice(values, limit))  # keeps what came before an exception
    except BaseException as error:
        return taken, error
    return taken, None
