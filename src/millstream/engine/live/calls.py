"""Calls: one message through a step with policies. Timeout, retry, breaker and fallback.

The story is `perform`; every failure for good is told by the reporter, and none escapes.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from millstream.annotations import NOTHING
from millstream.core import retry
from millstream.core.breaker import Circuit
from millstream.core.graph import Step
from millstream.engine.executor import Call
from millstream.engine.live.failures import Listener, check_out, plain
from millstream.engine.live.statistics import Counts
from millstream.engine.work import Work
from millstream.errors import StepError, StepTimeout
from millstream.events import STEP_DEGRADED, STEP_RECOVERED
from millstream.policy import ExecutorName

LACKING: Final = object()
"""In the place of a value: the message failed, or goes no further."""


class Made(NamedTuple):
    """What a call came to: a value or LACKING; whether the fallback made it."""

    value: Any
    fallback: bool = False


NONE: Final = Made(LACKING)


class Calls:
    """The calls of one step. `parameters` are those that a message fills, in the order in which
    the inbox gives them; `constants` the others' values."""

    def __init__(
        self,
        work: Work,
        step: Step,
        parameters: Sequence[str],
        constants: Mapping[str, Any],
        counts: Counts,
        reporter: Listener,
    ) -> None:
        self.step, self.counts = step, counts
        self._work, self._reporter = work, reporter
        self._parameters, self._constants = tuple(parameters), dict(constants)
        self._circuit = Circuit(step.breaker) if step.breaker is not None else None
        self._budget = work.budget(work.graph.name, step)
        self.exchange(step.function)

    def arguments(self, row: Any) -> dict[str, Any]:
        """A message as keyword arguments."""
        values = row if len(self._parameters) != 1 else (row,)
        return {**self._constants, **dict(zip(self._parameters, values, strict=True))}

    def exchange(self, function: Callable[..., Any]) -> None:
        """From the next message on this is the step's function."""
        self.function = function
        self.direct = self._direct()
        """The quickest way to call an async function with one message."""

    def _direct(self) -> Callable[[Any], Awaitable[Any]]:
        if len(self._parameters) == 1 and not self._constants:
            first = next(iter(inspect.signature(self.function).parameters.values()))
            if first.name == self._parameters[0] and first.kind is first.POSITIONAL_OR_KEYWORD:
                return self.function
        return lambda row: self.function(**self.arguments(row))

    @property
    def now(self) -> Callable[[], float]:
        """The clock."""
        return self._work.now

    # --- the story --------------------------------------------------------------------------

    async def perform(self, number: int, row: Any) -> Made:
        """The step's value for one message."""
        if self._budget is not None:
            self._budget.deposit()
        failures = 0
        while True:
            if self._circuit is not None and not self._circuit.allows(self._work.now()):
                return await self._instead(number, row, self._spared(self._circuit))
            value, error = await self._tried(self.function, number, row, failures + 1)
            self._heed(error)
            if error is None:
                return self._made(value)
            failures += 1
            decision = self._decide(error, failures)
            if not isinstance(decision, retry.Again):
                return await self._instead(number, row, error)
            self.counts.retries += 1
            self._work.tally.retries += 1
            await asyncio.sleep(decision.after)

    async def _tried(
        self, function: Callable[..., Any], number: int, row: Any, attempt: int
    ) -> tuple[Any, StepError | None]:
        """The value of one attempt, or how it failed."""
        try:
            return await self._attempt(function, number, row, attempt), None
        except BaseException as raised:
            return None, self._failure(raised)

    def _failure(self, raised: BaseException) -> StepError:
        """The failure; a CancelledError is one only where nobody has cancelled this call."""
        task = asyncio.current_task()
        if isinstance(raised, asyncio.CancelledError) and (task is None or task.cancelling()):
            if self._circuit is not None:
                self._circuit.left()
            raise raised
        return plain(raised)

    def _decide(self, error: StepError, failures: int) -> retry.Again | retry.GiveUp:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        return retry.decide(
            self.step.retry,
            failures=failures,
            error=cause,
            budget=self._budget,
            chance=self._work.chance(),
            remaining=self._work.remaining(),
        )

    def _made(self, value: Any, *, fallback: bool = False) -> Made:
        if value is NOTHING and self.step.sieves:
            self.counts.filtered += 1
            return NONE
        self.counts.made += 1
        self.counts.fallbacks += fallback
        return Made(value, fallback)

    async def _instead(self, number: int, row: Any, error: StepError) -> Made:
        """It failed for good: the fallback's value, None where the step is optional, or none."""
        if self.step.fallback is not None:
            value, failed = await self._tried(self.step.fallback, number, row, 1)
            if failed is None:
                return self._made(value, fallback=True)
            error = failed
        self._reporter.failed(self.counts, number, error)
        return Made(None) if self.step.optional else NONE

    # --- one attempt ------------------------------------------------------------------------

    async def _attempt(
        self, function: Callable[..., Any], number: int, row: Any, attempt: int
    ) -> Any:
        """Call it once. Raises whatever it raises; StepTimeout past its time."""
        began = self._work.now()
        limit = asyncio.timeout(self.step.timeout)
        try:
            async with limit:
                value = await self._call(function, number, row, attempt)
        except TimeoutError as error:
            if self.step.timeout is None or not limit.expired():
                raise
            raise StepTimeout(
                f"no result within the step's timeout of {self.step.timeout:g} s"
            ) from error
        if self.step.ports and value is not NOTHING:
            check_out(self.step, value)
        self.counts.seconds.add(self._work.now() - began)
        return value

    def _call(
        self, function: Callable[..., Any], number: int, row: Any, attempt: int
    ) -> Awaitable[Any]:
        step = self.step
        if inspect.iscoroutinefunction(function) and step.context is None:
            return function(**self.arguments(row))
        call = Call(
            function=function,
            arguments=self.arguments(row),
            facts=self._work.facts(step, number, attempt),
            context=step.context,
        )
        return self._work.executor(where(step, function)).run(call, Home(self._work, step, number))

    # --- the breaker ------------------------------------------------------------------------

    def _heed(self, error: StepError | None) -> None:
        """Tell the breaker how a call ended, and everybody where that changes something."""
        circuit = self._circuit
        if circuit is None:
            return
        if error is None:
            if circuit.succeeded():
                self.counts.degraded = False
                self._tell(STEP_RECOVERED, {"why": "a trial call went well"})
        elif circuit.failed(self._work.now()):
            self.counts.degraded = True
            policy = self.step.breaker
            assert policy is not None
            data = {
                "why": error.message,
                "code": error.code,
                "open_for": policy.open_for,
                "fallback": self.step.fallback is not None,
            }
            self._tell(STEP_DEGRADED, data)

    def _tell(self, type: str, data: dict[str, Any]) -> None:
        if self._work.journal.error is None and not self._work.journal.ended:
            self._work.journal.append(type, step=self.step.name, data=data)

    def _spared(self, circuit: Circuit) -> StepError:
        left = circuit.reopens(self._work.now())
        return StepError(
            f"the step failed too often and is spared for another {left:.1f} s",
            code="breaker_open",
        )


class Home:
    """What a step's Context sends, on its way into the log (see executor.Emit)."""

    def __init__(self, work: Work, step: Step, number: int | None) -> None:
        self._work, self._step, self._number = work, step, number

    def partial(self, value: Any) -> None:
        """Steps that yield do not come here."""
        raise StepError(f"step {self._step.name!r} yields where it should return")

    def send(self, type: str, data: Any) -> None:
        """Append an event of this step. Raises StepError where it has no JSON form."""
        journal = self._work.journal
        if journal.error is not None or journal.ended:
            return
        try:
            journal.append(type, step=self._step.name, item=self._number, data=data)
        except TypeError as error:
            raise StepError(
                f"the data of {type!r} has no JSON form ({error})",
                code="not_encodable",
                retryable=False,
            ) from error


def where(step: Step, function: Callable[..., Any]) -> Step:
    """The step as this function of it (a fallback, an exchanged one) runs: an async one inline, a
    plain one of an async step in a thread, since it may block."""
    if inspect.iscoroutinefunction(inspect.unwrap(function)):
        return step if step.executor == "inline" else _elsewhere(step, "inline")
    return _elsewhere(step, "thread") if step.asynchronous else step


def _elsewhere(step: Step, executor: ExecutorName) -> Step:
    return replace(step, executor=executor)
