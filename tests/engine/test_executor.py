"""Inline and Threads: values, order, backpressure, and how far stopping goes."""

import asyncio
import threading
from contextvars import ContextVar

import pytest
import steps_for_executors as steps
from steps_for_executors import Ear

from millstream.context import Cancelled, Context, Facts
from millstream.engine.executor import BREATH, Call, Inline
from millstream.engine.threads import UNDELIVERED, Threads
from millstream.errors import StepError

FACTS = Facts(run="r", pipeline="p", step="s", item=3, attempt=2, deadline=110.0)


def call(function, context=None, **arguments) -> Call:
    return Call(function, arguments, FACTS, context)


def now() -> float:
    return 100.0


def inline(**options) -> Inline:
    return Inline(now, **options)


@pytest.fixture
async def threads():
    executor = Threads(now, max_workers=2, grace=10)
    yield executor
    await executor.aclose()


async def within(awaitable, seconds: float = 20):
    return await asyncio.wait_for(awaitable, seconds)


async def cancel(task: asyncio.Task) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)


# --- inline --------------------------------------------------------------------------------------


async def async_add(a, b):
    await asyncio.sleep(0)
    return a + b


async def async_count(n):
    for i in range(n):
        yield i


@pytest.mark.parametrize("function", [steps.add, async_add])
async def test_inline_returns_the_value_of_a_function(function):
    assert await inline().run(call(function, a=1, b=2), Ear()) == 3


@pytest.mark.parametrize("function", [steps.count, async_count])
async def test_inline_brings_home_each_value_in_order(function):
    ear = Ear()
    assert await inline().run(call(function, n=100), ear) is None
    assert ear.heard == list(range(100))


async def test_inline_waits_for_downstream_before_the_next_value():
    made, ear = [], Ear(shut=True)

    async def generator():
        for i in range(5):
            made.append(i)
            yield i

    task = asyncio.create_task(inline().run(call(generator), ear))
    await ear.something()
    for _ in range(20):
        await asyncio.sleep(0)
    assert made == [0]
    ear.gate.set()
    await within(task)
    assert ear.heard == made == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("function", [steps.count, async_count])
async def test_inline_lets_the_loop_breathe_between_partials_that_never_wait(function):
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    neighbour = asyncio.create_task(other())
    await inline().run(call(function, n=BREATH * 10), Ear())
    neighbour.cancel()
    assert turns >= 10


async def test_inline_context_knows_the_attempt_and_sends_in_order():
    async def step(context: Context):
        context.progress(0.5, "half")
        yield context.run, context.pipeline, context.step, context.item, context.attempt
        context.emit("app.end", context.remaining())

    ear = Ear()
    await inline().run(call(step, context="context"), ear)
    assert ear.heard == [
        ("step.progress", {"fraction": 0.5, "message": "half"}),
        ("r", "p", "s", 3, 2),
        ("app.end", 10.0),
    ]


class Generators:
    """An async and a sync generator that note whether their `finally` ran."""

    def __init__(self):
        self.closed = []

    async def waits(self):
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.closed.append("waits")

    async def quick(self):
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            self.closed.append("quick")

    def plain(self):
        try:
            while True:
                yield 1
        finally:
            self.closed.append("plain")


@pytest.mark.parametrize("name", ["quick", "plain"])
async def test_inline_closes_a_generator_when_cancelled_during_a_partial(name):
    generators, ear = Generators(), Ear(shut=True)
    executor = inline()
    task = asyncio.create_task(executor.run(call(getattr(generators, name)), ear))
    await ear.something()
    await cancel(task)
    assert generators.closed == [name]
    assert ear.heard == []
    assert executor.statistics().cancelled == 1


async def test_inline_closes_an_async_generator_when_cancelled_while_it_waits():
    generators, ear = Generators(), Ear()
    task = asyncio.create_task(inline().run(call(generators.waits), ear))
    await ear.something()
    await asyncio.sleep(0)
    await cancel(task)
    assert generators.closed == ["waits"]


@pytest.mark.parametrize("name", ["quick", "plain"])
async def test_inline_closes_a_generator_when_downstream_fails(name):
    generators, ear = Generators(), Ear()
    ear.broken = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        await inline().run(call(getattr(generators, name)), ear)
    assert generators.closed == [name]


@pytest.mark.parametrize(("seconds", "told"), [(0.05, []), (0.2, [("s", 0.2)])])
@pytest.mark.parametrize("kind", ["function", "generator", "failing"])
async def test_inline_tells_of_a_call_that_held_the_loop(kind, seconds, told):
    time, blocks = [0.0], []

    def function():
        time[0] += seconds

    def generator():
        time[0] += seconds
        yield 1

    def failing():
        time[0] += seconds
        raise ValueError

    executor = inline(on_block=lambda *block: blocks.append(block), clock=lambda: time[0])
    try:
        await executor.run(call(locals()[kind]), Ear())
    except ValueError:
        assert kind == "failing"
    assert blocks == told


async def test_inline_does_not_take_waiting_for_holding_the_loop():
    time, blocks = [0.0], []

    async def step():
        await asyncio.sleep(0)
        time[0] += 5

    executor = inline(on_block=lambda *block: blocks.append(block), clock=lambda: time[0])
    await executor.run(call(step), Ear())
    assert blocks == []


async def test_inline_a_step_that_swallows_its_cancellation_is_cancelled_all_the_same():
    ear, began = Ear(), asyncio.Event()

    async def stubborn(context: Context):
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            context.emit("app.after", context.cancelled)
        return "an answer nobody waited for"

    task = asyncio.create_task(inline().run(call(stubborn, context="context"), ear))
    await began.wait()
    await cancel(task)
    assert ear.heard == []


async def test_inline_a_generator_that_swallows_its_cancellation_says_no_more():
    ear, began = Ear(), asyncio.Event()

    async def stubborn():
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "late"

    task = asyncio.create_task(inline().run(call(stubborn), ear))
    await began.wait()
    await cancel(task)
    assert ear.heard == []


async def test_inline_an_error_while_cleaning_up_is_still_a_cancellation():
    began = asyncio.Event()

    async def messy():
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError("in finally")

    task = asyncio.create_task(inline().run(call(messy), Ear()))
    await began.wait()
    await cancel(task)


async def test_inline_within_a_timeout_raises_timeout_error():
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "a made-up answer"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await inline().run(call(stubborn), Ear())


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), Cancelled()])
async def test_a_step_that_raises_what_ends_others_has_merely_failed(error, threads):
    def step():
        raise error

    for executor in (inline(), threads):
        with pytest.raises(StepError, match=f"step 's' raised {type(error).__name__}"):
            await executor.run(call(step), Ear())
        assert executor.statistics().failed == 1


async def test_inline_a_task_the_step_left_behind_is_mute():
    left: list[Context] = []
    ear = Ear()
    await inline().run(call(_keep(left), "context"), ear)
    left[0].emit("app.late")
    assert ear.heard == []
    assert left[0].cancelled


def _keep(where: list):
    async def step(context: Context):
        where.append(context)

    return step


async def test_inline_statistics_and_repr():
    executor = inline()
    await executor.run(call(steps.add, a=1, b=1), Ear())
    with pytest.raises(ZeroDivisionError):
        await executor.run(call(lambda: 1 / 0), Ear())
    await executor.aclose()
    stats = executor.statistics()
    assert (stats.running, stats.completed, stats.failed, stats.cancelled) == (0, 1, 1, 0)
    assert repr(executor).startswith("<Inline: 0 running, 0 waiting, 1 completed, 1 failed")


# --- threads -------------------------------------------------------------------------------------


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
