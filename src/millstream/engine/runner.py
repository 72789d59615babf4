"""Runner: one run, from its lease to its last event.

The story is `run`: lay the channels, start every step's loop, feed the input in, and write how it
ended. Deadline and cancellation stop all of it; a lost lease stops it without a word.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import structlog

from millstream.core.graph import Graph, Reading, Step
from millstream.core.lineage import Numbering
from millstream.engine.driven import Driven
from millstream.engine.journal import Journal
from millstream.engine.live.plane import Plane
from millstream.engine.outlets import Arrow, Outlets
from millstream.engine.steploop import StepLoop
from millstream.engine.work import RunFailed, Work, default_concurrency
from millstream.errors import MillstreamError, StaleEpoch
from millstream.events import RUN_CANCELLED, RUN_COMPLETED, RUN_FAILED, RUN_STARTED
from millstream.store import Cancellation

log = structlog.get_logger("millstream.runner")

Ending = Literal["ended", "handed back", "lost"]

STOP_GRACE = 5.0
"""Seconds that steps have to stop in. One that takes no notice is left behind, and cut off."""


class Runner:
    """Works one run off. `cancel` and `hand_back` may be called at any time, from outside.

    `input` makes the value that steps read; where it raises, the run fails with that error.
    """

    def __init__(
        self,
        work: Work,
        journal: Journal,
        input: Callable[[], Any],
        *,
        workers: Callable[[Step], int],
    ) -> None:
        self.work, self.journal, self._input, self._workers = work, journal, input, workers
        self._cancellation: Cancellation | None = None
        self._handing_back = False
        self._halt: asyncio.Future[None] | None = None
        self.plane: Plane | None = None
        """Of a live run: where its steps work."""

    # --- from outside -----------------------------------------------------------------------

    def cancel(self, cancellation: Cancellation) -> None:
        """Stop the work; the log will end with who and why. The first one counts."""
        if self._cancellation is None and not self.journal.ended:
            self._cancellation = cancellation
            self.work.stopping = True
            self._stop()

    def hand_back(self) -> None:
        """Stop the work so that another worker can go on with it."""
        if not self.journal.ended:
            self._handing_back = True
            self._stop()

    def lose(self) -> None:
        """The lease is gone: stop, and write nothing more."""
        self.journal.lose()
        self.work.stopping = True
        self._stop()

    def _stop(self) -> None:
        if self._halt is not None and not self._halt.done():
            self._halt.set_result(None)

    # --- the story --------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Until the log has ended and is durable, or the run is handed back, or the lease lost."""
        try:
            await self._work()
            return await self._settle()
        except StaleEpoch:
            return "lost"
        finally:
            await self.journal.close()
            self.journal.lose()  # whatever was left behind writes nothing more

    def _begin(self) -> None:
        if self.work.recovered is None or not self.work.recovered.started:
            self.journal.append(RUN_STARTED)

    async def _work(self) -> None:
        """Run every step, in a task that can be stopped from outside."""
        if self._cancellation or self._handing_back or self.journal.error:
            return
        began = self.work.now()
        remaining = self.work.remaining()
        if remaining is not None and remaining <= 0:
            self._begin()
            self._end(TimeoutError(), 0.0)
            return
        self._halt = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            Driven(self._steps(began), self.journal)
        )  # before the journal's first flush, which
        self._begin()  # so takes with it what the steps have for it at once
        task.add_done_callback(lambda _: self._stop())
        try:
            late = await _times_out(self._halt, remaining)
            self.work.stopping = self.work.stopping or late
        finally:  # also where we ourselves are being cancelled
            through = task.done()
            if not through:
                await _break_off(task)
                self._tell_broken_off()
        if self.journal.ended:
            return
        if late:
            self._end(TimeoutError(), self.work.now() - began)
        elif through and self._cancellation is None:
            self._end(_error(task), self.work.now() - began)

    def _tell_broken_off(self) -> None:
        """Each attempt that was under way, in the order in which they began: for another worker."""
        if not self.work.stopping and self.journal.error is None:
            for tell in self.work.under_way.values():
                tell()

    def _end(self, error: BaseException | None, seconds: float) -> None:
        """Write the terminal event."""
        leaf = _leaf(error)
        if self.journal.error is not None:
            raise self.journal.error
        if leaf is None:
            self.journal.append(RUN_COMPLETED, data=self._completion(seconds))
        elif isinstance(leaf, RunFailed):
            self._fail(leaf.error.code, leaf.error.message, leaf.error.retryable, leaf.step)
        elif isinstance(leaf, TimeoutError):
            self._fail("deadline_exceeded", "the run's deadline passed", True)
        elif isinstance(leaf, MillstreamError):
            self._fail(leaf.code, leaf.message, leaf.retryable)
        else:
            self._fail("internal_error", f"{type(leaf).__name__}: {leaf}", True)

    def _fail(self, code: str, message: str, retryable: bool, step: str | None = None) -> None:
        data: dict[str, Any] = {"code": code, "message": message, "retryable": retryable}
        if step is not None:
            data["step"] = step
        self.journal.append(RUN_FAILED, data=data)

    def _completion(self, seconds: float) -> dict[str, Any]:
        tally = self.work.tally
        missing = [told for _, told in sorted(self.work.missing.items(), key=lambda m: m[0])]
        return {
            "partial": bool(missing),
            "missing": missing,
            "stats": {
                "calls": tally.calls,
                "retries": tally.retries,
                "failed": tally.failed,
                "cached": tally.cached,
                "seconds": round(seconds, 3),
            },
        }

    async def _settle(self) -> Ending:
        """Make the end durable; write a cancellation, or nothing where the run is handed back."""
        if self._cancellation is not None and not self.journal.ended:
            told = {"by": self._cancellation.by, "reason": self._cancellation.reason}
            self.journal.append(RUN_CANCELLED, data=told)
        await self.journal.flush()
        return "ended" if self.journal.ended else "handed back"

    # --- the house of one run ---------------------------------------------------------------

    async def _steps(self, began: float) -> None:
        """Every step's loop at once, until all are through or one cannot go on. When all went
        well this says so itself: what has ended is then durable with its last results."""
        await self._every_step()
        if self._cancellation is None and not self._handing_back:
            self._end(None, self.work.now() - began)

    async def _every_step(self) -> None:
        input = self._input()
        if self.work.graph.live:
            self.plane = Plane(self.work, input, self._workers)
            await self.plane.run()
            return
        loops, entry = self._lay()
        if entry is not None and not entry.wants_elements:  # one message, for which there is room
            await _feed(entry, input)
            entry = None
        if entry is None and len(loops) == 1:
            await loops[0].run()
            return
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop.run())
            if entry is not None:
                group.create_task(_feed(entry, input))

    def _lay(self) -> tuple[list[StepLoop], Outlets | None]:
        """Channels first from the last step to the first, so that each finds its readers' ends."""
        graph = self.work.graph
        loops: dict[str, StepLoop] = {}
        for step in reversed(list(graph.steps.values())):
            outlets = self._outlets(graph, step.name, loops)
            depth = len(graph.scopes[step.name])
            limit = default_concurrency(step, depth, self._workers(step))
            loops[step.name] = StepLoop(self.work, step, outlets, limit=limit)
        entry = self._outlets(graph, graph.input, loops) if graph.input else None
        return list(reversed(loops.values())), entry

    def _outlets(self, graph: Graph, name: str, loops: dict[str, StepLoop]) -> Outlets:
        values: list[Arrow] = []
        elements: list[Arrow] = []
        source = graph.steps.get(name)
        for arrow in graph.readers[name]:
            by_element = arrow.reading is Reading.EACH or (
                arrow.reading is Reading.STREAM and source is not None and source.yields
            )
            channel = loops[arrow.target].inbound[arrow.parameter]
            (elements if by_element else values).append(channel)
        return Outlets(values, elements, self._numbering(name))

    def _numbering(self, name: str) -> Numbering | None:
        if name not in self.work.graph.maps:
            return None
        graph, recovered = self.work.graph, self.work.recovered
        numbering = (
            Numbering(outermost=not graph.scopes[name])
            if recovered is None
            else recovered.lineage.numbering[name]
        )
        numbering.keeps = graph.repeats(name) or name in graph.unsettled
        return numbering

    def __repr__(self) -> str:
        return f"<Runner of {self.journal!r}>"


async def _feed(entry: Outlets, input: Any) -> None:
    """The input, to whoever reads it; element by element to those who map over it."""
    if entry.wants_values:
        await entry.value((), input)
    if entry.wants_elements:
        count = 0
        for count, element in enumerate(input or (), start=1):
            await entry.element((), count - 1, element)
        await entry.end((), count)
    entry.close()


async def _times_out(halt: asyncio.Future[None], seconds: float | None) -> bool:
    """Wait for it; whether so many seconds (None: as long as it takes) were not enough."""
    if seconds is None:
        await halt
        return False
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await halt
    except TimeoutError:
        return True
    return False


async def _break_off(task: "asyncio.Task[None]") -> None:
    """Cancel it, and wait until it has stopped, but not for ever."""
    task.cancel()
    _, stubborn = await asyncio.wait([task], timeout=STOP_GRACE)
    if stubborn:
        task.add_done_callback(lambda left: left.cancelled() or left.exception())
        log.warning("step_does_not_stop", seconds=STOP_GRACE, fix="let CancelledError pass")


def _error(task: "asyncio.Task[None]") -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _leaf(error: BaseException | None) -> BaseException | None:
    """The first plain exception inside nested groups; a failed run before anything else."""
    while isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
        error = next((e for e in inner if _holds_failure(e)), inner[0])
    return error


def _holds_failure(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_holds_failure(each) for each in error.exceptions)
    return isinstance(error, RunFailed)
