"""Long calls: sources and transformers. One call that yields for as long as the run goes; begun
anew after a failure where the step's retry policy says so.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from millstream.core import pace
from millstream.core.graph import Step
from millstream.engine.channel import Signal
from millstream.engine.live.outlets import Hand, Outlets
from millstream.engine.live.readers import Reader, ThreadReader
from millstream.engine.live.restarts import Restarts
from millstream.engine.live.statistics import Counts
from millstream.engine.live.threads import Gate, ThreadCall
from millstream.engine.work import Work


class LongNode:
    """A source or transformer that is not fused. `readers` are its Stream parameters."""

    def __init__(
        self,
        work: Work,
        step: Step,
        readers: Mapping[str, Reader],
        constants: Mapping[str, Any],
        outlets: Outlets,
        counts: Counts,
        restarts: Restarts,
    ) -> None:
        self.step, self.function, self.readers = step, step.function, dict(readers)
        self.gate, self.outlets, self.counts = Gate(), outlets, counts
        self._work, self._constants = work, dict(constants)
        self._restarts = restarts
        self._hand = Hand(outlets, counts)
        self._stopped = self._broken_off = False
        self._signal = Signal()
        self._call: asyncio.Task[None] | None = None

    # --- the story --------------------------------------------------------------------------

    async def run(self) -> None:
        """Until its call has ended for good."""
        while await self._started():
            began = self._work.now()
            error = await self._performed()
            if self._broken_off:
                self._broken_off = False
            elif error is None or not await self._restarts.after(error, self._work.now() - began):
                break
        await self._hand.settle()
        self.outlets.close()

    async def _started(self) -> bool:
        """Wait while it is stopped by hand. False where all it reads has ended meanwhile."""
        while self._stopped:
            if not self.readers:
                await self._signal.wait()
            elif not await self._drained():
                return False
        for reader in self.readers.values():
            reader.inbox.interrupt(False)
        return True

    async def _drained(self) -> bool:
        """Throw away what comes. False where nothing more can come."""
        over = True
        for reader in self.readers.values():
            while (taken := await reader.inbox.take(pace.LARGEST)) is not None:
                self.counts.filtered += len(taken.values)
            over = over and not reader.inbox.interrupted
        return not over

    async def _performed(self) -> BaseException | None:
        """One call in a task that can be broken off; what it raised."""
        call = self._call = asyncio.create_task(self._perform())
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait([call])
            _ = call.cancelled() or call.exception()  # seen, and of no interest now
            raise
        return asyncio.CancelledError() if call.cancelled() else call.exception()

    async def _perform(self) -> None:
        """One call, from its beginning to its end."""
        hand = self._hand
        hand.arm()
        try:
            if self.step.executor == "thread" and not self.step.asynchronous:
                await self._in_thread()
                return
            value = self.function(**self.readers, **self._constants)
            if isinstance(value, AsyncGeneratorType):
                await self._read(value)
            elif isinstance(value, CoroutineType):
                hand.add(await value)
            await hand.settle()
        finally:
            hand.disarm()

    async def _read(self, values: AsyncGenerator[Any, None]) -> None:
        hand, gate = self._hand, self.gate
        async with aclosing(values):
            async for value in values:
                if hand.add(value) or gate.closed:
                    await hand.settle()
                    await gate.wait()

    async def _in_thread(self) -> None:
        loop = asyncio.get_running_loop()
        readers = {name: ThreadReader(reader, loop) for name, reader in self.readers.items()}
        call = ThreadCall(
            self.function, {**readers, **self._constants}, f"millstream-{self.step.name}"
        )
        try:
            await call.run(self._hand, self.gate)
        finally:
            for reader in readers.values():
                reader.stop()
        if not self.step.yields:
            self._hand.add(call.result)
            await self._hand.settle()

    # --- by hand ----------------------------------------------------------------------------

    async def stop(self) -> None:
        """End the call; what comes is thrown away until `start`."""
        self._stopped = True
        for reader in self.readers.values():
            reader.inbox.discard(True)
        await self.break_off()

    def start(self) -> None:
        """Begin anew."""
        self._stopped = False
        for reader in self.readers.values():
            reader.inbox.discard(False)
            reader.inbox.interrupt(True)
        self._signal.set()

    async def break_off(self) -> None:
        """End the call that is under way; unless stopped, another begins, with what is unread."""
        call = self._call
        if call is not None and not call.done():
            self._broken_off = True
            call.cancel()
            await asyncio.wait([call])

    def __repr__(self) -> str:
        return f"<LongNode {self.step.name}>"
