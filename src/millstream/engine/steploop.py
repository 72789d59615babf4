"""StepLoop: the small loop of one step in one run. Messages in, calls made, values handed on.

What is ready is decided by `core.join`; how one call goes, by `performance`. Here: how many at a
time, which outcomes are in the log already, and when the step is at its end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from millstream import values
from millstream.core.graph import Path, Reading, Step
from millstream.core.join import Cancel, CutOff, Decision, Drop, Finish, Forward, Join, Ready, Skip
from millstream.core.join import Feed as FeedDecision
from millstream.core.messages import Message, Void
from millstream.core.recovery import INPUT_FAILED, Outcome, Trace
from millstream.engine.channel import Channel, Signal
from millstream.engine.outlets import Arrow, Outlets
from millstream.engine.performance import Performance
from millstream.engine.streams import Streams
from millstream.engine.work import NOT_NEEDED, Logged, RunFailed, Work, load
from millstream.errors import StepError


class StepLoop:
    """One step at work. `limit` is how many calls at a time (None: as many as come)."""

    def __init__(self, work: Work, step: Step, outlets: Outlets, *, limit: int | None) -> None:
        self.work, self.step, self.outlets = work, step, outlets
        self.join = Join(work.graph, step)
        self.wake = Signal()
        self.inbound: dict[str, Arrow] = {
            arrow.parameter: Channel(step.buffer.size, self.wake.set) for arrow in step.arrows
        }
        self.stream = next((a for a in step.arrows if a.reading is Reading.STREAM), None)
        self.streams = self._streams()
        self.limit = limit
        self._slots = asyncio.Semaphore(limit) if limit is not None else None
        self._calls: asyncio.TaskGroup | None = None
        self._running: dict[Path, asyncio.Task[None]] = {}
        self._traces: dict[Path, Trace] = {}
        self._stopped: set[Path] = set()
        self._cut_off: set[Path] = set()

    def _streams(self) -> Streams | None:
        if self.stream is None:
            return None
        return Streams(
            self.work,
            self.step.name,
            self.stream.source,
            logged=lambda path: self._outcome(path) is not None,
        )

    # --- the loop ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Until every arrow has closed and every call is done. Raises RunFailed where the run
        cannot go on without this step."""
        if self.limit == 1 and self.stream is None:
            await self._loop()
        else:
            async with asyncio.TaskGroup() as self._calls:
                await self._loop()
        self.outlets.close()

    async def _loop(self) -> None:
        if self.step.source:
            await self._call(Ready((), {}))
            return
        while not all(channel.closed for channel in self.inbound.values()):
            await self.wake.wait()
            for parameter, channel in self.inbound.items():
                while channel:
                    message = channel.pop()
                    for decision in self.join.feed(parameter, message):
                        await self._act(decision)
                    if type(message) is Void and message.seen is not None:
                        message.seen.acted()

    async def _act(self, decision: Decision) -> None:
        match decision:
            case Ready():
                await self._call(decision)
            case Skip():
                if self.streams is not None:
                    self.streams.over(decision.path)
                await self._skip(decision)
            case Forward():
                await self._forward(decision.message)
            case Cancel():
                if self.streams is not None:
                    self.streams.hold(decision.path)
                await self._cancel(decision.path)
            case _:
                assert self.streams is not None, "only a step that reads a Stream is told of one"
                await self._act_on_stream(self.streams, decision)

    async def _act_on_stream(
        self, streams: Streams, decision: FeedDecision | Drop | Finish | CutOff
    ) -> None:
        path = decision.path
        match decision:
            case FeedDecision():
                if decision.fresh and streams.unconfirmed(path):
                    await self._call_again(streams, path)
                await streams.feed(path).put(decision.number, decision.value)
            case Finish():
                streams.finish(path)
            case Drop(number=None):
                streams.forget(path)
            case Drop(number=int(number)):
                if streams.drop(path, number):
                    await self._call_again(streams, path)
            case CutOff():
                if not await self._cut(streams, path):
                    await self._skip(decision)

    async def _call(self, ready: Ready) -> None:
        """Now and here, or in a task of its own as soon as there is a slot."""
        if self._calls is None:
            await self._perform(ready)
            return
        if self.streams is not None:
            self.streams.begin(ready)
        if self._slots is not None:
            await self._slots.acquire()
        task = self._start(ready.path, self._perform(ready))
        if self._slots is not None:
            slots = self._slots
            task.add_done_callback(lambda _: slots.release())

    def _start(self, path: Path, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        assert self._calls is not None
        task = self._running[path] = self._calls.create_task(work)
        task.add_done_callback(lambda _: self._done(path, task))
        return task

    def _done(self, path: Path, task: "asyncio.Task[None]") -> None:
        if self._running.get(path) is task:
            del self._running[path]

    async def _forward(self, message: Message) -> None:
        """An end, an outer item's failure, or word that all below is superseded: to the readers,
        behind everything of the calls below it. Only the last of these holds up the loop."""
        path = message.path
        below = [task for at, task in self._running.items() if at[: len(path)] == path]
        if below and not isinstance(message, Void):
            self._start(path, self._forward_after(below, message))
            return
        if below:
            await asyncio.wait(below)
        await self.outlets.forward(message)

    async def _forward_after(self, below: "list[asyncio.Task[None]]", message: Message) -> None:
        await asyncio.wait(below)
        await self.outlets.forward(message)

    async def _cancel(self, path: Path) -> None:
        """What this item was computed from is superseded."""
        await self._stop(path)
        self.work.missing.pop((self.step.name, path), None)
        await self.outlets.void(path)

    async def _stop(self, path: Path) -> None:
        task = self._running.get(path)
        if task is not None:
            self._stopped.add(path)
            task.cancel()
            await asyncio.wait([task])
            self._stopped.discard(path)

    async def _skip(self, decision: Skip | CutOff) -> None:
        """An input of this item has failed: so has the item."""
        path = decision.path
        self._tell_skipped(path)
        await self.outlets.fail(path, fresh=decision.fresh)

    async def _cut(self, streams: Streams, path: Path) -> bool:
        """The Stream has failed. Whether the call had read all it wanted; if not, stop it."""
        feed = streams.feed(path)
        over = feed.abandoned
        feed.finish()
        if not over:
            self._cut_off.add(path)
            await self._stop(path)
            self._cut_off.discard(path)
        streams.over(path)
        return over

    async def _call_again(self, streams: Streams, path: Path) -> None:
        """A value that a Stream had been given is superseded: call again from the first value."""
        await self._cancel(path)
        again = streams.again(path)
        if again is not None:
            await self._call(again)

    def _tell_skipped(self, path: Path) -> None:
        """Say so where the log holds something of this item, which counts no more."""
        trace, logged = self._trace(path), self._outcome(path)
        if not self.join.retain:
            self._traces.pop(path, None)
        if trace.attempt and not (logged is not None and logged.failed):
            self.work.tell_skipped(self.step.name, path, trace.attempt)

    # --- one call ---------------------------------------------------------------------------

    async def _perform(self, ready: Ready) -> None:
        outcome = None if ready.fresh else self._outcome(ready.path)
        if (
            outcome is not None
            and self.streams is not None
            and not await self.streams.confirmed(ready.path)
        ):
            outcome, ready.fresh = None, True
        if outcome is not None:
            await self._repeat(ready.path, outcome)
        elif (
            self.step.internal
            and not ready.fresh
            and not self.work.needed(self.step.name, ready.path)
        ):
            await self._hand_on(ready.path, NOT_NEEDED, fresh=False)
        else:
            if self.work.journal.crowded:
                await self.work.journal.room()
            await self._work(ready)
        if self.streams is not None:
            self.streams.over(ready.path)

    def _outcome(self, path: Path) -> Outcome | None:
        """What the log of an earlier worker has for this item."""
        if self.work.recovered is None:
            return None
        item = path[-1] if path else None
        return self.work.recovered.outcomes.get((self.step.name, item))

    async def _work(self, ready: Ready) -> None:
        performance = Performance(
            self.work,
            self.step,
            self.outlets,
            ready.path,
            self._arguments(ready),
            self._trace(ready.path),
            fresh=ready.fresh,
        )
        began = self.work.now()
        self.work.under_way[self.step.name, ready.path] = performance.interrupted
        try:
            value = await performance.perform()
        except StepError as error:
            self._through(ready.path, performance)
            self._observe("failed", began)
            await self._failed(ready.path, error, performance.delivered, fresh=ready.fresh)
            return
        except asyncio.CancelledError:
            if ready.path in self._stopped:
                self._through(ready.path, performance)
                self._tell_broken_off(ready.path, performance)
            raise
        self._through(ready.path, performance)
        self._observe("done", began)
        self.work.missing.pop((self.step.name, ready.path), None)
        if self.streams is not None:
            self.streams.feed(ready.path).abandon()  # it may have stopped before the end
        if self.step.yields:
            await self.outlets.end(ready.path, performance.count)
            await self.outlets.value(ready.path, value, fresh=ready.fresh)
        else:
            await self._hand_on(ready.path, value, fresh=ready.fresh)

    def _tell_broken_off(self, path: Path, performance: Performance) -> None:
        if not self.work.stopping and path not in self._cut_off:
            performance.interrupted()

    def _through(self, path: Path, performance: Performance) -> None:
        del self.work.under_way[self.step.name, path]
        if self.join.retain or path in self._cut_off:
            self._traces[path] = Trace(
                attempt=performance.attempt, digests=performance.digests, values=[]
            )

    def _observe(self, outcome: str, began: float) -> None:
        seconds = self.work.now() - began
        self.work.observer.step_ended(self.work.graph.name, self.step.name, outcome, seconds)

    def _trace(self, path: Path) -> Trace:
        """What earlier attempts at this item left behind, here or before a crash."""
        known = self._traces.get(path)
        if known is not None:
            return known
        if self.work.recovered is None:
            return Trace(digests=[], values=[])
        return self.work.recovered.trace(self.step.name, path[-1] if path else None)

    def _arguments(self, ready: Ready) -> Callable[[], dict[str, Any]]:
        """The call's arguments; made anew for each attempt where one is a Stream."""
        arguments = ready.arguments
        if self.work.recovered is not None:
            arguments = {name: load(value) for name, value in arguments.items()}
        if self.stream is None or self.streams is None:
            return lambda: arguments
        name, feed = self.stream.parameter, self.streams.feed(ready.path)
        return lambda: {**arguments, name: feed.reader()}

    # --- what follows -----------------------------------------------------------------------

    async def _hand_on(self, path: Path, value: Any, *, fresh: bool) -> None:
        """A step's value to its readers; its elements to those who map over them."""
        if self.outlets.wants_elements:
            elements = [] if value is NOT_NEEDED else list(() if value is None else value)
            await self.outlets.elements(path, elements, fresh=fresh)
            await self.outlets.end(path, len(elements))
        if self.outlets.wants_values:
            await self.outlets.value(path, value, fresh=fresh)

    async def _repeat(self, path: Path, outcome: Outcome) -> None:
        """The outcome that the log holds, once more through the arrows."""
        if outcome.code == INPUT_FAILED:
            if self.streams is not None:
                self.streams.feed(path).abandon()
            await self.outlets.fail(path)
        elif outcome.failed:
            error = StepError(outcome.message, code=outcome.code, retryable=outcome.retryable)
            await self._repeat_elements(path, outcome)
            await self._failed(path, error, len(outcome.values or ()))
        elif self.step.yields:
            kept = await self._repeat_elements(path, outcome)
            await self.outlets.end(path, len(kept))
            await self.outlets.value(path, kept)
        else:
            value = Logged(outcome.raw, values.decoder(self.step.returns))
            await self._hand_on(
                path, value.load() if self.outlets.wants_elements else value, fresh=False
            )

    async def _repeat_elements(self, path: Path, outcome: Outcome) -> list[Any]:
        if not self.step.yields or self.step.internal:
            return []
        decode = values.decoder(self.step.returns)
        kept = [Logged(raw, decode) for raw in outcome.values or ()]
        await self.outlets.elements(path, kept)
        return kept

    async def _failed(
        self, path: Path, error: StepError, delivered: int, *, fresh: bool = False
    ) -> None:
        """It failed for good, and that is told. What that means for the others."""
        self._note_failure(path, error)
        if self.streams is not None:
            self.streams.feed(path).abandon()
        if self.step.optional:
            await self.outlets.end(path, delivered)
            await self.outlets.value(path, None, fresh=fresh)
        elif path:
            await self.outlets.fail(path, fresh=fresh)
        else:
            self.work.stopping = True
            raise RunFailed(self.step.name, error)

    def _note_failure(self, path: Path, error: StepError) -> None:
        self.work.tally.failed += 1
        told: dict[str, Any] = {"step": self.step.name}
        if path:
            told["item"] = path[-1]
        told |= {"code": error.code, "message": error.message}
        self.work.missing[self.step.name, path] = told

    def statistics(self) -> Mapping[str, Any]:
        """The channels into this step, by parameter."""
        return {name: channel.statistics() for name, channel in self.inbound.items()}

    def __repr__(self) -> str:
        return f"<StepLoop {self.step.name!r}, {len(self._running)} calls running>"
