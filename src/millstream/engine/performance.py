"""Performance: one step for one item, until it has a value or has failed for good.

The story is `perform`: attempts with their timeout, the pause between them, the fallback; every
turn told in the journal before anybody downstream can see it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from msgspec import UNSET, Raw

from millstream.core import retry
from millstream.core.graph import Path, Step
from millstream.core.recovery import INTERRUPTED, Trace, digest
from millstream.engine.caching import Lead
from millstream.engine.driven import Driven
from millstream.engine.executor import Call
from millstream.engine.journal import Pen
from millstream.engine.outlets import Outlets
from millstream.engine.step_errors import (
    as_step_error,
    cause_of,
    not_comparable,
    not_encodable,
    worker_lost,
)
from millstream.engine.work import Work
from millstream.errors import StaleEpoch, StepError, StepTimeout
from millstream.events import (
    STEP_FAILED,
    STEP_PARTIAL,
    STEP_RESULT,
    STEP_STARTED,
    encode,
)

RESULT_LIST_BYTES = 65_536
"""A yielding step's `step.result` repeats its values up to this size; beyond it, it counts them."""

LOST_LIMIT = 3
"""A step during which the worker died this often is not tried again: it may be what kills it."""


class Performance:
    """One step for one item. `arguments` is called before each attempt (a Stream begins anew)."""

    def __init__(
        self,
        work: Work,
        step: Step,
        outlets: Outlets,
        path: Path,
        arguments: Callable[[], dict[str, Any]],
        trace: Trace,
        *,
        fresh: bool,
    ) -> None:
        self.work, self.step, self.outlets = work, step, outlets
        self.path, self.item = path, path[-1] if path else None
        self.arguments = arguments
        self.attempt, self.failures = trace.attempt, trace.failures
        self.trace, self.fresh = trace, fresh
        self.fallback = self.cached = self.open = False
        self.digests = trace.digests
        self.delivered = self.reached = 0
        self._limit: asyncio.Timeout | None = None
        self.tracks = bool(work.graph.repeats(step.name) or trace.digests)
        self.values: list[Any] | None = []
        self.value_bytes = 0
        self.count = 0
        self._journal, self._elements = work.journal, outlets.wants_elements
        self._pen: Pen | None = None
        self._lead: Lead | None = None
        self.error: StepError | None = None

    # --- the story --------------------------------------------------------------------------

    async def perform(self) -> Any:
        """The step's value. Raises StepError when it has failed for good (which is then told)."""
        self.work.tally.calls += 1
        budget = self.work.budget(self.work.graph.name, self.step)
        if budget is not None:
            budget.deposit()
        if self.trace.lost >= LOST_LIMIT:
            raise self._tell(worker_lost(self.step, self.trace.lost))
        if self.trace.fallback_due:
            return await self._fall_back()
        while True:
            failure = await self._attempt(self.step.function)
            if failure is None:
                return self._value()
            decision = self._decide(failure, budget)
            if isinstance(decision, retry.Again):
                self._tell(failure, will_retry=True)
                self.work.tally.retries += 1
                await asyncio.sleep(decision.after)
            elif self.step.fallback is not None:
                self._tell(failure, fallback=True)
                return await self._fall_back()
            else:
                raise self._tell(failure)

    def _decide(
        self, failure: StepError, budget: retry.Budget | None
    ) -> retry.Again | retry.GiveUp:
        self.failures += 1
        return retry.decide(
            self.step.retry,
            failures=self.failures,
            error=cause_of(failure),
            budget=budget,
            chance=self.work.chance(),
            remaining=self.work.remaining(),
        )

    async def _fall_back(self) -> Any:
        self.fallback = True
        assert self.step.fallback is not None
        failure = await self._attempt(self.step.fallback)
        if failure is not None:
            raise self._tell(failure)
        return self._value()

    async def _attempt(self, function: Callable[..., Any]) -> StepError | None:
        """Run it once and tell the result. None when it went well."""
        self.attempt += 1
        self.reached = max(self.reached, self.count)
        self.count, self.values, self.value_bytes, self.error = 0, [], 0, None
        self._pen, self.cached = None, False
        self._append(STEP_STARTED)
        self.open = True
        try:
            if self.step.timeout is None:
                result = await self._call(function)
            else:
                result = await self._timed(function, self.step.timeout)
            await self._finish(result, function)
            self.open = False
            if self._lead is not None:
                self._lead.keep(encode(self.values))
        except StaleEpoch:
            raise
        except Exception as error:
            return as_step_error(error)
        finally:
            if self._lead is not None:
                self._lead.give_up()
                self._lead = None
        return None

    async def _timed(self, function: Callable[..., Any], seconds: float) -> Any:
        limit = self._limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._call(function)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeout(f"no result within the step's timeout of {seconds:g} s") from error
        finally:
            self._limit = None

    async def _call(self, function: Callable[..., Any]) -> Any:
        arguments = self.arguments()
        if self.step.cache is not None and function is self.step.function:
            value = await self._recall(arguments)
            if self.cached:
                return value
        call = Call(
            function=function,
            arguments=arguments,
            facts=self.work.facts(self.step, self.item, self.attempt),
            context=self.step.context,
        )
        running = self.work.executor(_as_run(self.step, function)).run(call, self)
        if self.step.yields and self.step.asynchronous:
            task = asyncio.create_task(Driven(running, self._journal, within=True))
            self._journal.lingers = True
            return await task
        return await running

    async def _recall(self, arguments: dict[str, Any]) -> Any:
        """What an earlier call with these arguments gave, if one did: `cached` is true then."""
        if self.work.caching is None:
            return None
        try:
            value, self._lead = await self.work.caching.ask(
                self.work.graph.name, self.step, arguments
            )
        except TypeError as error:
            raise not_comparable(error) from error
        self.cached = self._lead is None
        self.work.tally.cached += self.cached
        return value

    # --- what the running step sends (Emit) -------------------------------------------------

    def send(self, type: str, data: Any) -> None:
        """Progress, or an event of the app's own."""
        try:
            self._append(type, data=data)
        except TypeError as error:
            self.error = not_encodable(f"the data of {type!r}", error)

    def partial(self, value: Any) -> Awaitable[None] | None:
        """One yielded value: into the log, then to its readers."""
        change = "new"
        write = self._pen or self._take_pen()
        if write is None:
            change = self._log_partial(self.count, value)
        else:
            try:
                size = write(value)
            except TypeError as error:
                raise not_encodable(f"value {self.count}", error) from error
            if self.values is not None:
                self.value_bytes += size
                if self.value_bytes > RESULT_LIST_BYTES:
                    self._shed()
        if self.values is not None:
            self.values.append(value)
        self.count += 1
        if self._elements or self._journal.crowded:
            return self._hand_on(self.count - 1, value, change)
        return None

    def _take_pen(self) -> Pen | None:
        """For values that are compared with none that were logged before."""
        if not self.tracks and not self.step.internal:
            self._pen = self._journal.pen(
                STEP_PARTIAL,
                step=self.step.name,
                item=self.item,
                attempt=self.attempt,
                fallback=self.fallback,
                cached=self.cached,
            )
        return self._pen

    def _log_partial(self, index: int, value: Any) -> str:
        """Log it unless an earlier attempt did: "new", "same" or "other" than before."""
        if not self.tracks:  # then it is internal: kept nowhere
            self.value_bytes = RESULT_LIST_BYTES + 1
            self._shed()
            return "new"
        raw = self._encode_partial(index, value)
        known = self.digests[index] if index < len(self.digests) else None
        found = digest(raw)
        self.value_bytes += len(raw)
        self._shed()
        if known == found:
            return "same"
        if index >= self.delivered:  # else its readers must first hear that it is superseded
            self._log_value(index, found, raw)
        return "new" if known is None else "other"

    def _log_value(self, index: int, found: bytes, raw: bytes) -> None:
        self.digests[index : index + 1] = [found]
        if not self.step.internal:
            at = index if self.attempt > 1 else None
            self._append(STEP_PARTIAL, index=at, data=Raw(raw))

    def _encode_partial(self, index: int, value: Any) -> bytes:
        try:
            return encode(value)
        except TypeError as error:
            if self.step.internal:  # kept nowhere, so it needs no JSON form: always "other"
                return repr((index, self.attempt)).encode()
            raise not_encodable(f"value {index}", error) from error

    def _shed(self) -> None:
        """Stop keeping values that nobody needs as one list once they are many."""
        too_many = self.value_bytes > RESULT_LIST_BYTES and self._lead is None
        if too_many and not self.outlets.wants_values:
            self.values = None

    async def _hand_on(self, index: int, value: Any, change: str) -> None:
        """To its readers, and not before there is room; the step's own time stands still."""
        left = self._stop_clock()
        try:
            if self._elements:
                await self._hand_down(index, value, change)
            if self._journal.crowded:
                await self._journal.room()
        finally:
            if left is not None and self._limit is not None:
                self._limit.reschedule(asyncio.get_running_loop().time() + left)

    def _stop_clock(self) -> float | None:
        """Seconds that this attempt has left. From now on they do not pass."""
        limit = self._limit
        if limit is None or limit.expired():
            return None
        when = limit.when()
        limit.reschedule(None)
        return None if when is None else when - asyncio.get_running_loop().time()

    async def _hand_down(self, index: int, value: Any, change: str) -> None:
        fresh = self.fresh or change == "other"
        if index < self.delivered:
            if change == "same":
                return
            await self.outlets.void_element(self.path, index)
            raw = self._encode_partial(index, value)
            self._log_value(index, digest(raw), raw)
        else:
            self.delivered = index + 1
        await self.outlets.element(self.path, index, value, fresh=fresh)

    # --- the end ----------------------------------------------------------------------------

    async def _finish(self, result: Any, function: Callable[..., Any]) -> None:
        """Log the result, and let go of values that an earlier attempt had yielded beyond it."""
        plain = function is not self.step.function and not _yields(function)
        if self.step.yields and (self.cached or plain):
            for value in result or ():  # kept from earlier, or a yielding step's plain fallback
                full = self.partial(value)
                if full is not None:
                    await full
        if self.error is not None:
            raise self.error
        if not self.step.yields:
            self._finish_value(result)
            return
        for index in range(self.count, self.delivered):
            await self.outlets.void_element(self.path, index)
        self.delivered = min(self.delivered, self.count)
        if self.step.internal:
            self._append(STEP_RESULT)
        elif self.values is not None and self.value_bytes <= RESULT_LIST_BYTES:
            self._append(STEP_RESULT, data=self.values)
        else:
            self._append(STEP_RESULT, count=self.count)

    def _finish_value(self, result: Any) -> None:
        self.values = result
        if self.step.internal:
            self._append(STEP_RESULT)
            return
        try:
            self._append(STEP_RESULT, data=result)
        except TypeError as error:
            raise not_encodable("what it returned", error) from error

    def _value(self) -> Any:
        return self.values

    def _append(
        self, type: str, *, index: int | None = None, count: int | None = None, data: Any = UNSET
    ) -> int:
        return self.work.journal.append(
            type,
            step=self.step.name,
            item=self.item,
            index=index,
            attempt=self.attempt,
            fallback=self.fallback and type in (STEP_RESULT, STEP_PARTIAL),
            cached=self.cached and type in (STEP_RESULT, STEP_PARTIAL),
            count=count,
            data=data,
        )

    def _tell(
        self, failure: StepError, *, will_retry: bool = False, fallback: bool = False
    ) -> StepError:
        data = {
            "code": failure.code,
            "message": failure.message,
            "retryable": failure.retryable,
            "will_retry": will_retry,
            "fallback": fallback,
        }
        for_good = not will_retry and not fallback
        stand = max(self.reached, self.count) if for_good and self.step.yields else None
        self._append(STEP_FAILED, count=stand, data=data)
        self.open = False
        return failure

    def interrupted(self) -> None:
        """Say that this attempt, if there is one, was broken off by us and will be made again."""
        if self.open:
            told = StepError("the attempt was broken off; it will be made again", code=INTERRUPTED)
            self._tell(told, will_retry=True)


def _yields(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)


def _as_run(step: Step, function: Callable[..., Any]) -> Step:
    """The step as its fallback runs: an async one inline, a plain one of an inline step in a
    thread (it may block), any other where the step itself runs."""
    if function is step.function:
        return step
    inner = inspect.unwrap(function)
    asynchronous = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
    if asynchronous:
        return replace(step, executor="inline")
    return replace(step, executor="thread") if step.asynchronous else step
