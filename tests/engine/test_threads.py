"""Threads: values, order, backpressure, and how far stopping goes."""

import asyncio
import threading
from contextvars import ContextVar

import pytest
import steps_for_executors as steps
from executors import async_add, async_count, call, cancel, now, within
from steps_for_executors import Ear

from millstream.context import Cancelled, Context
from millstream.engine.threads import UNDELIVERED, Threads
from millstream.errors import StepError


class Held:
    """Holds a step in its thread until the test lets it go."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.began, self.ended = asyncio.Event(), asyncio.Event()
        self.go = threading.Event()
        self.seen = []

    def _tell(self, event: asyncio.Event) -> None:
        self.loop.call_soon_threadsafe(event.set)

    def step(self, context: Context):
        self._tell(self.began)
        try:
            assert self.go.wait(20)
            context.emit("app.after", 1)
            self.seen.append(context.cancelled)
            context.check()
            return "whole"
        except Cancelled:
            self.seen.append("Cancelled")
            raise
        finally:
            self._tell(self.ended)

    def generator(self):
        try:
            for i in range(10):
                self.seen.append(i)
                yield i
        finally:
            self.seen.append("closed")
            self._tell(self.ended)


async def test_threads_run_elsewhere_and_return_the_value(threads):
    assert await threads.run(call(steps.add, a="a", b="b"), Ear()) == "ab"
    assert await threads.run(call(threading.get_ident), Ear()) != threading.get_ident()


async def test_threads_bring_home_each_value_in_order(threads):
    ear = Ear()
    assert await threads.run(call(steps.count, n=300), ear) is None
    assert ear.heard == list(range(300))


async def test_threads_wait_for_downstream_before_the_next_value(threads):
    held, ear = Held(), Ear(shut=True)
    task = asyncio.create_task(threads.run(call(held.generator), ear))
    await ear.something()
    assert not threading.Event().wait(0.05)
    assert held.seen == [0]
    ear.gate.set()
    await within(task)
    assert ear.heard == list(range(10))


async def test_threads_all_that_was_sent_before_the_end_has_arrived_in_order(threads):
    n, ear = UNDELIVERED * 4, Ear()
    assert await threads.run(call(steps.speak, "context", n=n), ear) == "done"
    assert ear.heard == [("app.number", i) for i in range(n)]


async def test_threads_keep_events_and_partials_in_order(threads):
    ear = Ear()
    await threads.run(call(steps.mixed, "context", n=50), ear)
    pairs = [x for i in range(50) for x in (("app.number", i), i)]
    assert ear.heard == [*pairs, ("app.end", None)]


async def test_threads_cannot_flood_the_loop(threads):
    sent, full, over = [0], threading.Event(), threading.Event()

    def step(context: Context):
        for i in range(UNDELIVERED + 1):
            context.emit("app.number", i)
            sent[0] += 1
            (full if sent[0] == UNDELIVERED else over if sent[0] > UNDELIVERED else _NONE).set()

    task = asyncio.create_task(threads.run(call(step, "context"), Ear()))
    await asyncio.sleep(0)
    assert full.wait(20)  # the loop stands still here, so nothing is delivered
    assert not over.wait(0.05)
    await within(task)
    assert sent[0] == UNDELIVERED + 1


_NONE = threading.Event()


async def test_threads_refuse_async_functions(threads):
    for function in (async_add, async_count):
        with pytest.raises(TypeError, match="step 's' is an `async def`"):
            await threads.run(call(function), Ear())


async def test_threads_bring_home_any_exception(threads):
    for error in (ValueError("x"), StepError("y", code="z"), KeyError(1)):
        with pytest.raises(type(error)) as caught:
            await threads.run(call(_raise(error)), Ear())
        assert caught.value is error
    with pytest.raises(RuntimeError, match="StopIteration"):
        await within(threads.run(call(_raise(StopIteration(1))), Ear()))


def _raise(error):
    def step():
        raise error

    return step


async def test_threads_see_the_callers_context_variables(threads):
    variable = ContextVar("variable")
    variable.set("seen")
    assert await threads.run(call(variable.get), Ear()) == "seen"


async def test_threads_cancelled_while_waiting_for_a_thread_never_begins():
    executor, held, called = Threads(now, max_workers=1), Held(), []
    first = asyncio.create_task(executor.run(call(held.step, "context"), Ear()))
    await held.began.wait()
    second = asyncio.create_task(executor.run(call(called.append, object=1), Ear()))
    await asyncio.sleep(0)
    assert (executor.statistics().running, executor.statistics().waiting) == (1, 1)
    await cancel(second)
    held.go.set()
    assert await within(first) == "whole"
    await executor.run(call(steps.add, a=1, b=1), Ear())
    assert called == []
    assert executor.statistics().cancelled == 1
    await executor.aclose()


async def test_threads_cancelled_while_running_returns_at_once_and_the_slot_stays_taken():
    executor, held, ear = Threads(now, max_workers=1), Held(), Ear()
    task = asyncio.create_task(executor.run(call(held.step, "context"), ear))
    await held.began.wait()
    await cancel(task)
    assert not held.go.is_set()  # the thread is still in its function
    stats = executor.statistics()
    assert (stats.running, stats.abandoned, stats.cancelled) == (0, 1, 1)
    next_one = asyncio.create_task(executor.run(call(steps.add, a=1, b=2), Ear()))
    await asyncio.sleep(0)
    assert executor.statistics().waiting == 1
    held.go.set()
    assert await within(next_one) == 3
    assert held.seen == [True, "Cancelled"]
    assert ear.heard == []
    assert executor.statistics().abandoned == 0
    await executor.aclose()


async def test_threads_cancelled_during_a_partial_closes_the_generator(threads):
    held, ear = Held(), Ear(shut=True)
    task = asyncio.create_task(threads.run(call(held.generator), ear))
    await ear.something()
    await cancel(task)
    await within(held.ended.wait())
    assert held.seen == [0, "closed"]
    assert ear.heard == []


async def test_threads_when_downstream_fails_the_generator_is_closed(threads):
    held, ear = Held(), Ear()
    ear.broken = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        await threads.run(call(held.generator), ear)
    await within(held.ended.wait())
    assert held.seen == [0, "closed"]


async def test_threads_a_stopped_step_that_keeps_talking_is_neither_heard_nor_stuck(threads):
    ear, went_on = Ear(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def chatty(context: Context):
        while not context.cancelled:
            context.emit("app.before")
        for i in range(UNDELIVERED * 3):
            context.emit("app.after", i)
        loop.call_soon_threadsafe(went_on.set)

    task = asyncio.create_task(threads.run(call(chatty, "context"), ear))
    await ear.something()
    await cancel(task)
    await within(went_on.wait())
    assert {type for type, _ in ear.heard} == {"app.before"}


def test_threads_a_step_that_outlives_the_loop_comes_to_its_end():
    began, go, ended = threading.Event(), threading.Event(), threading.Event()

    def chatty(context: Context):
        began.set()
        assert go.wait(20)
        for i in range(UNDELIVERED * 3):
            context.emit("app.after", i)
        ended.set()

    async def leave_it_behind():
        executor = Threads(now, max_workers=1, grace=0.01)
        task = asyncio.create_task(executor.run(call(chatty, "context"), Ear()))
        await asyncio.to_thread(began.wait, 20)
        await cancel(task)
        await executor.aclose()

    asyncio.run(leave_it_behind())
    go.set()
    assert ended.wait(20)


async def test_threads_closing_fails_calls_under_way_and_leaves_no_thread():
    before = threading.active_count()
    executor, held = Threads(now, max_workers=1, grace=20), Held()
    running = asyncio.create_task(executor.run(call(held.step, "context"), Ear()))
    await held.began.wait()
    waiting = asyncio.create_task(executor.run(call(steps.add, a=1, b=1), Ear()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(executor.aclose())
    for task in (running, waiting):
        with pytest.raises(StepError) as caught:
            await within(task)
        assert (caught.value.code, caught.value.retryable) == ("executor_closed", True)
    held.go.set()
    await within(closing)
    assert threading.active_count() == before
    await executor.aclose()
    with pytest.raises(StepError, match="closed"):
        await executor.run(call(steps.add, a=1, b=1), Ear())


async def test_threads_closing_waits_only_so_long_for_a_thread():
    executor, held = Threads(now, max_workers=1, grace=0.01), Held()
    task = asyncio.create_task(executor.run(call(held.step, "context"), Ear()))
    await held.began.wait()
    await cancel(task)
    await within(executor.aclose())
    assert executor.statistics().abandoned == 1
    held.go.set()
    await within(held.ended.wait())


async def test_threads_two_hundred_calls_with_cancels_add_up(threads):
    ears = [Ear() for _ in range(200)]
    tasks = [
        asyncio.create_task(
            threads.run(call(steps.mixed, "context", n=i % 20), ear)
            if i % 2
            else threads.run(call(steps.add, a=i, b=i), ear)
        )
        for i, ear in enumerate(ears)
    ]
    for i in range(0, 200, 7):
        await asyncio.sleep(0)
        tasks[i].cancel()
    await within(asyncio.wait(tasks))
    cancelled = sum(task.cancelled() for task in tasks)
    stats = threads.statistics()
    assert (stats.completed, stats.cancelled) == (200 - cancelled, cancelled)
    assert stats.failed == stats.running == stats.waiting == 0
    for i, (ear, task) in enumerate(zip(ears, tasks, strict=True)):
        if not task.cancelled() and i % 2:
            assert [x for x in ear.heard if isinstance(x, int)] == list(range(i % 20))
    assert repr(threads).startswith("<Threads: 0 running, 0 waiting, ")
