"""Threads: the executor for plain functions that may block. They share this process's memory.

See `executor` for what an executor is. May touch threads and the event loop; knows no runs.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from queue import SimpleQueue
from types import GeneratorType
from typing import Any, Final

from millstream.context import Cancelled
from millstream.engine.executor import (
    Call,
    Emit,
    Line,
    Statistics,
    Tally,
    arguments_of,
    closed,
    refuse_async,
)

UNDELIVERED: Final = 256  # events a thread may have on their way before it waits for the loop
_END: Final = object()


class _Job:
    """One call in a thread, seen from both sides. The thread waits for the loop, never the reverse.

    `inbox` holds the one value that is on its way home; its answer, in `answers`, says whether to
    go on. `room` bounds the events on their way, so that a busy step cannot flood the loop.
    """

    def __init__(self, call: Call, line: Line, now: Callable[[], float]) -> None:
        self._call, self._line, self._now = call, line, now
        self.loop = asyncio.get_running_loop()
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: SimpleQueue[bool] = SimpleQueue()
        self._room = threading.Semaphore(UNDELIVERED) if call.context else None
        self.started = False
        self.stopped = line.stopped

    # in the thread

    def work(self) -> tuple[Any, BaseException | None]:
        """The call, from beginning to end. Its outcome is data: futures refuse StopIteration."""
        self.started = True
        if self.stopped():
            return None, None
        try:
            return self._perform(), None
        except BaseException as error:
            return None, error

    def _perform(self) -> Any:
        arguments = arguments_of(self._call, self._send, self.stopped, self._now)
        value = self._call.function(**arguments)
        if not isinstance(value, GeneratorType):
            return value
        with closing(value):
            for each in value:
                self._partial(each)
        return None

    def _partial(self, value: Any) -> None:
        self._to_loop(self.inbox.put_nowait, value)
        if not self._answers.get():
            raise Cancelled

    def _send(self, type: str, data: Any) -> None:
        assert self._room is not None, "only a Context sends"
        if not self.stopped():
            self._room.acquire()
            self._to_loop(self._deliver, type, data)

    def _to_loop(self, function: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there to hear it
            self.loop.call_soon_threadsafe(function, *args)

    # in the loop

    def _deliver(self, type: str, data: Any) -> None:
        if self._room is not None:
            self._room.release()
        self._line.send(type, data)

    async def outcome(self, future: asyncio.Future[tuple[Any, BaseException | None]]) -> Any:
        """Hand its values on until it has ended; return or raise what it did."""
        while (value := await self.inbox.get()) is not _END:
            full = self._line.partial(value)
            if full is not None:
                await full
            self._answers.put(True)
        if not future.done() or future.cancelled():
            raise closed(self._call.facts)
        value, error = future.result()
        if error is not None:
            raise error
        return value

    def leave(self, future: asyncio.Future[Any]) -> None:
        """Wake the thread wherever it waits for the loop. One not begun never begins."""
        self._answers.put(False)
        if self._room is not None:
            self._room.release(UNDELIVERED)
        if not self.started:  # else the future stays, so that it is seen when the thread ends
            future.cancel()


class Threads:
    """Steps in threads: plain functions and generators.

    How far stopping goes: Python cannot end a thread. When the caller leaves, a call that still
    waits for a thread never begins; in a running one `Context.cancelled` becomes true,
    `Context.check` raises, a generator is closed at its next yield, and a partial on its way is
    broken off. `run` returns to the canceller at once and nothing more of the call gets through;
    but the thread, and with it the slot, stays taken until the function ends of itself. It is
    counted as `abandoned`. `grace`: seconds for which `aclose` waits for threads to end.
    """

    def __init__(
        self, now: Callable[[], float], max_workers: int = 8, *, grace: float = 5.0
    ) -> None:
        self._now, self._workers, self._grace = now, max_workers, grace
        self._pool = ThreadPoolExecutor(max_workers, thread_name_prefix="millstream-step")
        self._jobs: dict[asyncio.Future[Any], _Job] = {}
        self._tally, self._closed = Tally(), False

    async def run(self, call: Call, emit: Emit) -> Any:
        """See Executor.run. Raises TypeError for async functions."""
        refuse_async(call, "thread")
        with self._tally, Line(emit, call) as line:
            if self._closed:
                raise closed(call.facts)
            job = _Job(call, line, self._now)
            future = job.loop.run_in_executor(self._pool, copy_context().run, job.work)
            self._jobs[future] = job
            future.add_done_callback(self._on_end)
            try:
                return await job.outcome(future)
            finally:
                job.leave(future)

    def _on_end(self, future: asyncio.Future[Any]) -> None:
        # the thread's last word: all it sent before has been delivered, in order
        self._jobs.pop(future).inbox.put_nowait(_END)

    def statistics(self) -> Statistics:
        """How it stands now."""
        jobs, t = list(self._jobs.values()), self._tally
        waiting = sum(not job.started and not job.stopped() for job in jobs)
        return Statistics(
            running=t.open - waiting,
            waiting=waiting,
            completed=t.completed,
            failed=t.failed,
            cancelled=t.cancelled,
            abandoned=sum(job.started and job.stopped() for job in jobs),
            workers=self._workers,
        )

    async def aclose(self) -> None:
        """Fail what is under way, and wait up to `grace` seconds for the threads to end."""
        self._closed = True
        for job in self._jobs.values():
            job.inbox.put_nowait(_END)
        self._pool.shutdown(wait=False, cancel_futures=True)
        busy = list(self._jobs)
        if busy:
            await asyncio.wait(busy, timeout=self._grace)
        self._pool.shutdown(wait=all(future.done() for future in busy))

    def __repr__(self) -> str:
        return f"<Threads: {self.statistics()}>"
