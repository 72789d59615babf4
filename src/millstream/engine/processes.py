"""Engine, parent side: a pool of processes for steps that need a core to themselves.

May touch processes, their pipes, threads and the event loop; what happens inside a process is
`process_child`'s. Knows no runs, retries, timeouts or logs: it is an executor (see `executor`).

(concurrent.futures can neither end one process nor bring home what a generator yields.)
Each process has an attendant, a thread that starts it, reads what it says, and sees it out. The
pool itself lives in the event loop alone, so it needs no locks. POSIX: it uses signals and sockets.
"""

import asyncio
import importlib
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any, Final

from millstream.engine import process_child
from millstream.engine.child import PATIENCE, Child, Message, Problem, StartMethod
from millstream.engine.executor import Call, Emit, Line, Statistics, Tally, closed, refuse_async
from millstream.engine.process_child import described, packed
from millstream.errors import ExecutorCrashed, PolicyError, StepError
from millstream.policy import Processes


def check_importable(function: Callable[..., Any]) -> str | None:
    """Why a process could not import `function` by its name, as a sentence; None where it can.

    Ask once the function's module has been read to its end: before, the name is not there yet.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        kind = type(function).__qualname__
        return f"{function!r} is a {kind} without a name of its own; write a function with `def`"
    if "<lambda>" in name:
        return f"{module}.{name} is a lambda; write a function with `def` in a module"
    if "<locals>" in name:
        return f"{module}.{name} is defined inside a function; move it to the top of its module"
    return _check_found(function, module, name)


def _check_found(function: Callable[..., Any], module: str, name: str) -> str | None:
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        if module == "__main__" and not getattr(found, "__file__", None):
            return f"{name} is defined in an interactive session; move it to a module"
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # importing runs whatever code the module holds
        return f"{module}.{name} cannot be imported ({described(error)})"
    if found is not function:
        return (
            f"{module}.{name} is something else by now, a {type(found).__qualname__}: "
            "a decorator or another definition has replaced the function; give it a name of its own"
        )
    return None


class ProcessPool:
    """Steps in processes that stay warm, one call at a time in each.

    Processes start on first use, up to `policy.workers` (default: one a core); calls wait for one
    first come, first served. How far stopping goes: the process is ended (SIGTERM, a second later
    SIGKILL) and has ended when `run` raises CancelledError; another starts when it is needed.
    A step must be importable by name (`check_importable`), and what goes in and out picklable.
    Steps cannot start `multiprocessing` processes of their own: theirs are daemons.

    `context`: "spawn" imports everything anew for each process; "forkserver" copies a server that
    has imported this package once, so that a process is there again within milliseconds (its
    environment, directory and output are those of the moment when the first one was started).
    """

    def __init__(
        self,
        policy: Processes,
        now: Callable[[], float],
        *,
        context: StartMethod = "spawn",
        grace: float = 5.0,
    ) -> None:
        if policy.warm is not None and (problem := check_importable(policy.warm)):
            raise PolicyError(f"Processes(warm=…): {problem}")
        self._workers = policy.workers or os.cpu_count() or 1
        self._method: StartMethod = context
        if context == "forkserver":  # heeded when the server starts, which is once
            get_context(context).set_forkserver_preload(["__main__", process_child.__name__])
        self._warm, self._warm_name = pickle.dumps(policy.warm), _name_of(policy.warm)
        self._now, self._grace = now, grace
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._waiting: deque[asyncio.Future[Child | Problem]] = deque()
        self._writers = ThreadPoolExecutor(self._workers, thread_name_prefix="millstream-write")
        self._tally, self._killed, self._closed = Tally(), 0, False

    async def run(self, call: Call, emit: Emit) -> Any:
        """See Executor.run. Raises ExecutorCrashed where the process dies, StepError
        `not_picklable`, `warmup_failed` or `executor_closed`, or what the step itself raised.
        """
        refuse_async(call, "process")
        with self._tally, Line(emit, call) as line:
            child = await self._acquire(call)
            try:
                frame = self._frame(call)
            except StepError:
                self._release(child)
                raise
            try:
                answer = await self._converse(child, frame, line)
            except BaseException:
                await self._stop(child)
                raise
            self._release(child)
            return self._unwrap(answer, call)

    async def prestart(self) -> None:
        """Start and warm every process, so that no call has to wait for that.

        Raises StepError `warmup_failed` or ExecutorCrashed if one cannot.
        """
        if self._closed:
            raise _CLOSED.error("prestart")
        for _ in range(self._workers - len(self._children)):
            self._hire()
        ready = [child.ready for child in self._children]
        await asyncio.wait(ready)
        for future in ready:
            if problem := future.result():
                raise problem.error("prestart")

    # one call

    def _frame(self, call: Call) -> bytes:
        work = (call.function, call.arguments, call.facts, call.context, self._now())
        try:
            return pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
        except Exception:  # whose fault is it?
            step = call.facts.step
            if problem := check_importable(call.function):
                text = f"step {step!r}: {problem}"
                raise StepError(text, code="not_picklable", retryable=False) from None
            for name, value in call.arguments.items():
                packed(value, step, f"its argument {name!r}", value)
            raise

    async def _converse(self, child: Child, frame: bytes, line: Line) -> Message:
        """Hand the call over and its messages on; returns the one that ends it."""
        child.begin()
        await child.put(frame, self._writers)
        while True:
            message = await child.inbox.get()
            if message[0] == "partial":
                full = line.partial(message[1])
                if full is not None:
                    await full
            elif message[0] == "send":
                line.send(message[1], message[2])
            elif message[0] == "garbled":  # the process knows nothing of it, and may well go on
                raise _unreadable(line.step, "what it sent home could not be read", *message[1:])
            else:
                return message
            child.took_in()

    def _unwrap(self, answer: Message, call: Call) -> Any:
        step = call.facts.step
        match answer:
            case ("done", value):
                return value
            case ("failed", error, notes):
                error.__notes__ = notes
                raise error
            case ("gone", how) if not self._closed:
                raise ExecutorCrashed(f"step {step!r}: its process {how}")
            case ("gone", _):
                raise closed(call.facts)
            case (_, text, *notes):
                raise _unreadable(step, "its call could not be read in the process", text, *notes)

    # who gets which process

    async def _acquire(self, call: Call) -> Child:
        if self._closed:
            raise closed(call.facts)
        if self._idle:  # then nobody waits
            return self._idle.pop()
        place: asyncio.Future[Child | Problem] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._staff()
        try:
            found = await place
        except asyncio.CancelledError:
            self._withdraw(place)
            raise
        if isinstance(found, Problem):
            raise found.error(f"step {call.facts.step!r}")
        return found

    def _withdraw(self, place: asyncio.Future[Child | Problem]) -> None:
        with suppress(ValueError):
            self._waiting.remove(place)
        if place.done() and not place.cancelled():  # its turn had come in the same moment
            found = place.result()
            if isinstance(found, Child):
                self._release(found)

    def _serve_first(self, found: Child | Problem) -> bool:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(found)
                return True
        return False

    def _release(self, child: Child) -> None:
        usable = not child.doomed and not child.gone.done()
        if usable and not self._serve_first(child):
            self._idle.append(child)

    # processes come and go

    def _staff(self) -> None:
        """As many on their way as calls wait, within the limit."""
        starting = sum(not child.ready.done() for child in self._children)
        waiting = sum(not place.done() for place in self._waiting)
        try:
            for _ in range(min(waiting - starting, self._workers - len(self._children))):
                self._hire()
        except (OSError, RuntimeError) as error:  # no descriptor or thread is left
            problem = Problem("executor_crashed", f"no process can be started ({error})")
            while not self._children and self._serve_first(problem):
                pass  # where there are others, they serve those who wait

    def _hire(self) -> None:
        self._children.add(Child(self._method, self._warm, self._hear))

    def _hear(self, child: Child, message: Message) -> None:
        match message:
            case ("ready",):
                child.ready.set_result(None)
                self._release(child)
            case ("unwarmed", text, trace):
                text = f"the warm-up {self._warm_name} failed in its process: {text}"
                self._not_ready(child, Problem("warmup_failed", text, trace))
            case ("gone", how):
                self._bury(child, how)
            case _:
                child.inbox.put_nowait(message)

    def _not_ready(self, child: Child, problem: Problem) -> None:
        # One call hears of it, the first that waits: the next one has its own try.
        child.ready.set_result(problem)
        self._serve_first(problem)

    def _bury(self, child: Child, how: str) -> None:
        child.attendant.join()  # to tell of this was the last thing it did
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        if not child.ready.done():
            text = f"a process of the pool {how} before it was ready"
            self._not_ready(child, _CLOSED if self._closed else Problem("executor_crashed", text))
        child.inbox.put_nowait(("gone", how))
        child.gone.set_result(None)
        self._staff()

    async def _stop(self, child: Child) -> None:
        """End a process and wait until it has ended. Another cancellation meanwhile waits too."""
        if not child.gone.done():
            self._killed += 1
            child.kill()
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while not child.gone.done() and (left := until - loop.time()) > 0:
            with suppress(asyncio.CancelledError):  # Line raises it in the end
                await asyncio.wait([child.gone], timeout=left)

    # the end

    async def aclose(self) -> None:
        """Ask every process to end after its call, wait up to `grace` seconds, kill the rest."""
        self._closed = True
        while self._serve_first(_CLOSED):
            pass
        children = list(self._children)
        loop = asyncio.get_running_loop()
        for child in children:
            if not child.ready.done():
                child.kill()
            elif not child.doomed:  # a big call may still be being written to it: not from here
                loop.run_in_executor(self._writers, child.end)
        await _all_gone(children, self._grace)
        for child in children:
            if not child.gone.done():
                self._killed += 1
                child.kill()
        await _all_gone(children, PATIENCE)
        self._writers.shutdown(wait=all(child.gone.done() for child in children))

    def statistics(self) -> Statistics:
        """How it stands now."""
        t, waiting = self._tally, sum(not place.done() for place in self._waiting)
        return Statistics(
            running=t.open - waiting,
            waiting=waiting,
            completed=t.completed,
            failed=t.failed,
            cancelled=t.cancelled,
            killed=self._killed,
            alive=len(self._children),
            workers=self._workers,
        )

    def __repr__(self) -> str:
        return f"<ProcessPool ({self._method}): {self.statistics()}>"


_CLOSED: Final = Problem("executor_closed", "its executor was closed")


async def _all_gone(children: list[Child], seconds: float) -> None:
    if children:
        await asyncio.wait([child.gone for child in children], timeout=seconds)


def _unreadable(step: str, what: str, text: str, *notes: str) -> StepError:
    error = StepError(f"step {step!r}: {what} ({text})", code="not_picklable", retryable=False)
    for note in notes:
        error.add_note(note)
    return error


def _name_of(function: Callable[..., Any] | None) -> str:
    return getattr(function, "__qualname__", repr(function))
