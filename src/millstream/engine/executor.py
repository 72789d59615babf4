"""Engine: what an executor is, and the one that works in the event loop: Inline.

An executor calls one step's function, brings home what it yields and sends, and stops it when its
caller leaves. It may touch the event loop and threads; it knows no runs, retries, timeouts or logs,
and no clock but those it is given.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from inspect import isasyncgenfunction, iscoroutinefunction, unwrap
from time import perf_counter
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Final, Protocol

from msgspec import Struct

from millstream.context import Context, Facts
from millstream.errors import StepError

BLOCKED: Final = 0.1  # seconds that a synchronous inline call may hold the event loop unremarked
BREATH: Final = 256  # partials after which an inline generator lets the loop do other things
_END: Final = object()


class Emit(Protocol):
    """What a running step sends home. Lives in the event loop."""

    def partial(self, value: Any) -> Awaitable[None] | None:
        """One yielded value. What comes back, where downstream is full, is to be awaited before
        the next one."""

    def send(self, type: str, data: Any) -> None:
        """A progress or an app's own event; never waits."""


class Call(Struct, frozen=True):
    """One attempt: what to call, and with what. `context` names the parameter for the Context."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    facts: Facts
    context: str | None = None


class Statistics(Struct, frozen=True):
    """How an executor stands. Every call is running, waiting, completed, failed or cancelled."""

    running: int = 0
    waiting: int = 0  # for a thread or a process
    completed: int = 0
    failed: int = 0
    cancelled: int = 0  # the caller left
    abandoned: int = 0  # threads still busy for a caller that left
    killed: int = 0  # processes that were ended by force
    alive: int = 0  # processes there are now, starting and ending ones included
    workers: int = 0  # threads or processes there may be at most

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, name)} {name}" for name in self.__struct_fields__)


class Executor(Protocol):
    """Where steps run."""

    async def run(self, call: Call, emit: Emit) -> Any:
        """The value of a plain function; None for a generator, whose values go to `emit` in order.

        Cancelling the awaiting task stops the work as far as the executor can. By the time this
        raises CancelledError nothing more of the call reaches `emit`, ever.
        """

    def statistics(self) -> Statistics:
        """How it stands now."""
        ...

    async def aclose(self) -> None:
        """End it. Calls still under way fail with `executor_closed`. May be called again."""


def closed(facts: Facts) -> StepError:
    """The failure of a call whose executor is closed: another worker can take it."""
    message = f"step {facts.step!r}: its executor was closed"
    return StepError(message, code="executor_closed", retryable=True)


def refuse_async(call: Call, where: str) -> None:
    """Raise TypeError for `async def`, which only the event loop can run."""
    function = unwrap(call.function)
    if iscoroutinefunction(function) or isasyncgenfunction(function):
        raise TypeError(
            f"step {call.facts.step!r} is an `async def`: it runs inline, not in a {where}"
        )


class Tally:
    """Counts calls by how they end: `with tally:` around each."""

    def __init__(self) -> None:
        self.open = self.completed = self.failed = self.cancelled = 0

    def __enter__(self) -> None:
        self.open += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.open -= 1
        if kind is None:
            self.completed += 1
        elif issubclass(kind, Exception):
            self.failed += 1
        else:
            self.cancelled += 1


class Line:
    """One call's way home. Nothing passes once its caller has left or the call has ended.

    Whether the caller left is read off its task, so that a step which swallows CancelledError is
    cancelled all the same, and one which raises it of its own accord has merely failed.
    """

    def __init__(self, emit: Emit, call: Call) -> None:
        task = asyncio.current_task()
        assert task is not None, "an executor is awaited by a task"
        self.emit, self.step, self.cancelling = emit, call.facts.step, task.cancelling
        self.before, self._open = task.cancelling(), True

    @property
    def left(self) -> bool:
        """Whether the caller was cancelled since the call began."""
        return self.cancelling() > self.before

    def stopped(self) -> bool:
        """Whether the work is no longer wanted. Any thread may ask."""
        return not self._open or self.left

    def send(self, type: str, data: Any) -> None:
        """Hand an event on, or drop it."""
        if not self.stopped():
            self.emit.send(type, data)

    def partial(self, value: Any) -> Awaitable[None] | None:
        """Hand a value on; see Emit. Raises CancelledError where nobody wants it any more."""
        if not self._open or self.cancelling() > self.before:
            raise asyncio.CancelledError
        return self.emit.partial(value)

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        left, self._open = self.left, False
        if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            return  # the loop's own affairs
        if left and not isinstance(error, asyncio.CancelledError):
            raise asyncio.CancelledError from error
        if not left and error is not None and not isinstance(error, Exception):
            # sys.exit() in a step must not end the server, nor pass for a cancelled run
            raise StepError(f"step {self.step!r} raised {kind and kind.__name__}: {error}")


def arguments_of(
    call: Call,
    send: Callable[[str, Any], None],
    stopped: Callable[[], bool],
    now: Callable[[], float],
) -> dict[str, Any]:
    """The keyword arguments, with a Context where one is asked for."""
    if call.context is None:
        return call.arguments
    context = Context(call.facts, send=send, stopped=stopped, now=now)
    return {**call.arguments, call.context: context}


class Inline:
    """Steps in the event loop itself: `async def`, and plain functions that are quick.

    What the call returns decides how it goes on: a coroutine is awaited, a generator of either
    kind is read to its end and always closed, so that its `finally` blocks run. A synchronous
    function cannot be stopped half way. Each stretch of more than 0.1 s in which one held the
    loop is told to `on_block(step, seconds)`. `now` is for the Context, `clock` for measuring.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        on_block: Callable[[str, float], None] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._now, self._on_block, self._clock = now, on_block, clock
        self._tally = Tally()

    async def run(self, call: Call, emit: Emit) -> Any:
        """See Executor.run."""
        with self._tally, Line(emit, call) as line:
            arguments = arguments_of(call, line.send, line.stopped, self._now)
            value = self._held(call, call.function, **arguments)
            if isinstance(value, CoroutineType):
                return await value
            if isinstance(value, AsyncGeneratorType):
                return await self._read_async(value, line)
            if isinstance(value, GeneratorType):
                return await self._read(call, value, line)
            return value

    def _held(self, call: Call, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began = self._clock()
        try:
            return function(*args, **kwargs)
        finally:
            seconds = self._clock() - began
            if seconds > BLOCKED and self._on_block is not None:
                self._on_block(call.facts.step, seconds)

    async def _read_async(self, values: AsyncGenerator[Any, None], line: Line) -> None:
        count = 0
        partial, cancelling, before = line.emit.partial, line.cancelling, line.before
        async with aclosing(values):
            async for value in values:
                if cancelling() > before:  # as `line.partial`, without a call for each value
                    raise asyncio.CancelledError
                full = partial(value)
                if full is not None:
                    await full
                count += 1
                if count % BREATH == 0:  # neither the step nor emit need ever have waited
                    await asyncio.sleep(0)

    async def _read(self, call: Call, values: Generator[Any, None, Any], line: Line) -> None:
        count = 0
        with closing(values):
            while (value := self._held(call, next, values, _END)) is not _END:
                full = line.partial(value)
                if full is not None:
                    await full
                count += 1
                if count % BREATH == 0:
                    await asyncio.sleep(0)

    def statistics(self) -> Statistics:
        """How it stands now."""
        t = self._tally
        return Statistics(
            running=t.open, completed=t.completed, failed=t.failed, cancelled=t.cancelled
        )

    async def aclose(self) -> None:
        """Nothing to end: calls belong to the tasks that await them."""

    def __repr__(self) -> str:
        return f"<Inline: {self.statistics()}>"
