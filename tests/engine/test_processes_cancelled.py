"""The process pool: cancellation in each phase of a call."""

import asyncio
import os
import random
import signal

import pytest
import steps_for_executors as steps
from executors import GUARD, call, cancel, within
from process_pools import hanging, is_there, make, start
from steps_for_executors import Ear

from millstream.engine import child as child_module
from millstream.engine.executor import Call

pytestmark = pytest.mark.usefixtures("bare_main")


async def test_cancelled_while_waiting_for_a_process():
    pool = make(1)
    held, _, pid = await hanging(pool)
    second, third = start(pool, steps.pid), start(pool, steps.pid)
    await asyncio.sleep(0)
    await cancel(second)
    assert (pool.statistics().waiting, pool.statistics().killed) == (1, 0)
    assert is_there(pid)
    await cancel(held)
    assert await within(third) != pid
    await within(pool.aclose())


async def test_cancelled_in_the_moment_its_turn_comes(monkeypatch):
    pool = make(1)
    await within(pool.prestart())
    first, second = start(pool, steps.pid), start(pool, steps.pid)
    await asyncio.sleep(0)
    assert pool.statistics().waiting == 1
    release = pool._release

    def release_and_cancel(child) -> None:
        release(child)  # the process is the second's now, but that one has not woken yet
        second.cancel()

    monkeypatch.setattr(pool, "_release", release_and_cancel)
    await within(first)
    with pytest.raises(asyncio.CancelledError):
        await within(second)
    assert await within(pool.run(call(steps.pid), Ear())) == first.result()
    await within(pool.aclose())


async def test_cancelled_during_the_warm_up_leaves_the_process_to_the_next(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "began")
    os.mkfifo(tmp_path / "go")
    monkeypatch.setenv("MILLSTREAM_TEST_FIFOS", str(tmp_path))
    pool = make(1, steps.warm_by_fifo, "spawn")  # for the environment to reach it
    task = start(pool, steps.pid)
    await within(asyncio.to_thread((tmp_path / "began").read_bytes))
    await cancel(task)
    assert (pool.statistics().alive, pool.statistics().killed) == (1, 0)
    await within(asyncio.to_thread((tmp_path / "go").write_bytes, b"."))
    assert await within(pool.run(call(steps.pid), Ear())) > 0
    assert pool.statistics().killed == 0
    await within(pool.aclose())


async def test_cancelled_while_a_big_call_is_being_written(pool, monkeypatch):
    pid = await within(pool.run(call(steps.pid), Ear()))
    os.kill(pid, signal.SIGSTOP)
    task = start(pool, steps.size, data=bytes(10_000_000))
    for _ in range(10):
        await asyncio.sleep(0)
    monkeypatch.setattr(child_module, "GRACE", 0.05)  # a stopped process heeds SIGKILL alone
    await cancel(task)
    assert not is_there(pid)
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2


async def test_cancelled_during_a_partial(pool):
    ear = Ear(shut=True)
    task = start(pool, steps.mixed, "context", n=10**9, ear=ear)
    while not ear.heard:
        await ear.something()
    heard = list(ear.heard)
    await cancel(task)
    ear.gate.set()
    await within(pool.run(call(steps.add, a=1, b=1), Ear()))
    assert ear.heard == heard == [("app.number", 0)]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
async def test_cancelled_while_the_step_works_the_process_has_ended_on_return(method, monkeypatch):
    monkeypatch.setattr(child_module, "GRACE", GUARD * 2)  # SIGTERM is enough
    pool = make(1, context=method)
    task, ear, pid = await hanging(pool)
    await cancel(task)
    assert not is_there(pid)
    stats = pool.statistics()
    assert (stats.cancelled, stats.killed, stats.running, stats.alive) == (1, 1, 0, 0)
    assert ear.heard == [("app.pid", pid)]
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2
    await within(pool.aclose())


async def test_a_process_that_ignores_sigterm_is_killed(pool, monkeypatch):
    monkeypatch.setattr(child_module, "GRACE", 0.05)
    task, _, pid = await hanging(pool, steps.hang_hard)
    await cancel(task)
    assert not is_there(pid)


async def test_cancelled_again_while_the_process_is_ended(pool):
    task, _, pid = await hanging(pool)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    assert not is_there(pid)


async def test_a_timeout_ends_the_process(pool):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await pool.run(call(steps.hang, "context"), Ear())
    task, _, pid = await hanging(pool)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.01)
    assert not is_there(pid)


async def test_cancelling_the_prestart_leaves_the_processes():
    pool = make(1)
    task = asyncio.create_task(pool.prestart())
    await asyncio.sleep(0)
    await cancel(task)
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2
    await within(pool.aclose())


def some_call(rng: random.Random) -> Call:
    n = rng.randrange(200)
    match n:
        case n if n < 10:
            return call(steps.hang, "context")
        case n if n < 20:
            return call(steps.die, how="exit")
        case n if n < 30:
            return call(steps.fail, kind="value")
        case n if n < 40:
            return call(steps.size, data=bytes(300_000))
        case n if n < 120:
            return call(steps.mixed, "context", n=n)
    return call(steps.add, a=n, b=0)


async def cancel_at_its_news(task: asyncio.Task, ear: Ear) -> None:
    news = asyncio.create_task(ear.news.wait())
    await asyncio.wait([task, news], return_when=asyncio.FIRST_COMPLETED)
    news.cancel()
    task.cancel()


@pytest.mark.parametrize("seed", [1, 2])
async def test_two_hundred_mixed_calls_with_random_cancels_and_crashes_add_up(pool, seed):
    rng = random.Random(seed)
    calls, ears = [some_call(rng) for _ in range(200)], [Ear() for _ in range(200)]
    tasks = [asyncio.create_task(pool.run(c, ear)) for c, ear in zip(calls, ears, strict=True)]
    cancellers = [  # some in the middle, among them all that would never end
        asyncio.create_task(cancel_at_its_news(task, ear))
        for task, c, ear in zip(tasks, calls, ears, strict=True)
        if c.function is steps.hang or rng.random() < 0.1
    ]
    for task in rng.sample(tasks, 15):  # some while they wait for a process
        await asyncio.sleep(0)
        task.cancel()
    await within(asyncio.wait([*tasks, *cancellers]))
    lengths = [len(ear.heard) for ear in ears]
    stats, cancelled = pool.statistics(), sum(task.cancelled() for task in tasks)
    failed = sum(not task.cancelled() and task.exception() is not None for task in tasks)
    assert (stats.cancelled, stats.failed) == (cancelled, failed)
    assert stats.completed == 200 - cancelled - failed > 0
    assert (stats.running, stats.waiting) == (0, 0)
    assert 0 < stats.killed <= cancelled
    assert stats.alive <= 2
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2
    assert lengths == [len(ear.heard) for ear in ears]  # nothing came after the end
