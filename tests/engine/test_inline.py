"""Inline: values, order, backpressure, and how far stopping goes."""

import asyncio

import pytest
import steps_for_executors as steps
from executors import async_add, async_count, call, cancel, inline, within
from steps_for_executors import Ear

from millstream.context import Cancelled, Context
from millstream.engine.executor import BREATH
from millstream.errors import StepError


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
