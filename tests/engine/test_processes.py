"""The process pool: values, order, backpressure, crashes, cancellation in each phase, the end."""

import asyncio
import logging
import multiprocessing
import os
import random
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
import steps_for_executors as steps
import uvloop
from steps_for_executors import Ear

from millstream.context import Facts
from millstream.engine import child as child_module
from millstream.engine import processes
from millstream.engine.executor import Call
from millstream.engine.process_child import PARTIALS
from millstream.engine.processes import ProcessPool, StartMethod, check_importable
from millstream.errors import ExecutorCrashed, PolicyError, StepError
from millstream.policy import Processes

HERE = Path(__file__).parent
FACTS = Facts(run="r", pipeline="p", step="s", deadline=110.0)
GUARD = 30  # seconds; far more than anything here takes


@pytest.fixture(autouse=True)
def bare_main(monkeypatch):
    """Each child imports its parent's `__main__`; pytest's takes a while and has no steps."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.fixture
async def pool():
    pool = make(2)
    yield pool
    await within(pool.aclose())
    assert pool.statistics().alive == 0


def make(workers: int, warm=None, context: StartMethod = "forkserver", **options) -> ProcessPool:
    """Most tests use the start method that is quick; those it may matter to, both."""
    policy = Processes(workers=workers, warm=warm)
    return ProcessPool(policy, lambda: 100.0, context=context, **options)


def call(function, context=None, **arguments) -> Call:
    return Call(function, arguments, FACTS, context)


async def within(awaitable):
    return await asyncio.wait_for(awaitable, GUARD)


async def cancel(task: asyncio.Task) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)


async def failure(awaitable) -> StepError:
    with pytest.raises(StepError) as caught:
        await within(awaitable)
    return caught.value


def start(pool: ProcessPool, *args, ear: Ear | None = None, **kwargs) -> asyncio.Task:
    return asyncio.create_task(pool.run(call(*args, **kwargs), ear or Ear()))


async def hanging(pool: ProcessPool, function=steps.hang) -> tuple[asyncio.Task, Ear, int]:
    """A call that hangs, once it does; and its process."""
    ear = Ear()
    task = start(pool, function, "context", ear=ear)
    await ear.something()
    return task, ear, ear.heard[0][1]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- values, order, backpressure -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
async def test_a_value_partials_and_events_come_home_in_order(method):
    pool, ear = make(1, context=method), Ear()
    try:
        assert await within(pool.run(call(steps.add, a=1, b=2), Ear())) == 3
        assert await within(pool.run(call(steps.mixed, "context", n=100), ear)) is None
        assert await within(pool.run(call(steps.pid), Ear())) != os.getpid()
    finally:
        await within(pool.aclose())
    pairs = [x for i in range(100) for x in (("app.number", i), i)]
    assert ear.heard == [*pairs, ("app.end", None)]


def test_it_works_under_uvloop():
    async def scenario():
        pool, ear = make(1), Ear()
        await within(pool.run(call(steps.mixed, "context", n=50), ear))
        assert await within(pool.run(call(steps.size, data=bytes(3_000_000)), Ear())) == 3_000_000
        task, _, pid = await hanging(pool)
        await cancel(task)
        assert not is_there(pid)
        await within(pool.aclose())
        return ear.heard

    heard = uvloop.run(scenario())
    assert [x for x in heard if isinstance(x, int)] == list(range(50))


async def test_many_events_that_nobody_waits_for_all_arrive(pool):
    ear = Ear()
    assert await within(pool.run(call(steps.speak, "context", n=5000), ear)) == "done"
    assert ear.heard == [("app.number", i) for i in range(5000)]


async def test_processes_stay_warm(pool):
    pids = {await within(pool.run(call(steps.pid), Ear())) for _ in range(10)}
    assert len(pids) == 1  # the second is not needed
    assert pool.statistics().alive == 1


async def test_a_slow_consumer_stops_the_generator(pool, tmp_path):
    os.mkfifo(tmp_path / "made")
    reader = os.open(tmp_path / "made", os.O_RDONLY | os.O_NONBLOCK)
    ear = Ear(shut=True)
    task = start(pool, steps.produce, path=str(tmp_path / "made"), n=200, ear=ear)
    await ear.something()
    ahead = await bytes_until_quiet(reader)
    assert PARTIALS <= ahead <= PARTIALS + 1  # under way, and the one it holds in its hand
    ear.gate.set()
    await within(task)
    assert ear.heard == list(range(200))
    os.close(reader)


async def bytes_until_quiet(fd: int) -> int:
    loop, chunks, total = asyncio.get_running_loop(), asyncio.Queue(), 0
    loop.add_reader(fd, lambda: chunks.put_nowait(os.read(fd, 1000)))
    try:
        while True:
            total += len(await asyncio.wait_for(chunks.get(), 5 if total < PARTIALS else 0.1))
    except TimeoutError:
        return total
    finally:
        loop.remove_reader(fd)


async def test_big_payloads_pass_in_both_directions_at_once(pool):
    big = bytes(10_000_000)
    sizes = [start(pool, steps.size, data=big) for _ in range(3)]
    made = [start(pool, steps.make, n=len(big)) for _ in range(3)]
    both = start(pool, steps.add, a=big, b=big)
    for task in sizes:
        assert await within(task) == len(big)
    for task in [*made, both]:
        assert len(await within(task)) in (len(big), 2 * len(big))


async def test_writing_a_big_call_does_not_hold_the_loop(pool):
    # the process is stopped and reads nothing: whoever writes to it waits; the loop must not
    pid = await within(pool.run(call(steps.pid), Ear()))
    os.kill(pid, signal.SIGSTOP)
    big = start(pool, steps.size, data=bytes(10_000_000))
    other = start(pool, steps.pid)
    assert await within(other) != pid
    assert not big.done()
    os.kill(pid, signal.SIGCONT)
    assert await within(big) == 10_000_000


async def test_the_context_goes_by_the_parents_clock(pool):
    remaining, cancelled = await within(pool.run(call(steps.clock, "context"), Ear()))
    assert 9 < remaining <= 10
    assert cancelled is False


async def test_a_thread_left_behind_by_one_call_is_mute_in_the_next(pool):
    ear = Ear()
    await within(pool.run(call(steps.leave_a_thread, "context"), ear))
    assert await within(pool.run(call(steps.hear_the_thread), ear)) == "joined"
    assert ear.heard == []


async def test_calls_wait_first_come_first_served():
    pool, ended = make(1), []
    held, _, _ = await hanging(pool)
    tasks = [start(pool, steps.add, a=i, b=0) for i in range(5)]
    for task in tasks:
        task.add_done_callback(lambda task: ended.append(task.result()))
    await asyncio.sleep(0)
    stats = pool.statistics()
    assert (stats.running, stats.waiting, stats.alive, stats.workers) == (1, 5, 1, 1)
    await cancel(held)
    await within(asyncio.wait(tasks))
    assert ended == [0, 1, 2, 3, 4]
    await within(pool.aclose())


async def test_what_a_step_prints_goes_where_the_parents_goes(capfd):
    pool = make(1, context="spawn")  # the fork server's output is what it was when that started
    await within(pool.run(call(steps.say, text="hello from a step"), Ear()))
    await within(pool.aclose())
    assert "hello from a step" in capfd.readouterr().out


async def test_async_functions_are_refused(pool):
    with pytest.raises(TypeError, match="step 's' is an `async def`"):
        await pool.run(call(steps.coroutine), Ear())


# --- failures ------------------------------------------------------------------------------------


async def test_an_exception_comes_home_with_its_type_notes_and_traceback(pool):
    with pytest.raises(ValueError, match="bad value") as caught:
        await within(pool.run(call(steps.fail, kind="value"), Ear()))
    notes = caught.value.__notes__
    assert notes[0] == "a note of the step's"
    assert len(notes) == 2
    assert "raise error\nValueError: bad value" in notes[1]
    assert pool.statistics().failed == 1


async def test_a_step_error_keeps_code_and_retryable(pool):
    error = await failure(pool.run(call(steps.fail, kind="step"), Ear()))
    assert (error.code, error.retryable, error.message) == ("not_html", False, "not HTML")
    assert "StepError: not HTML" in error.__notes__[-1]


@pytest.mark.parametrize(
    ("kind", "message"), [("words", "TwoWords: hello world"), ("exit", "SystemExit: 7")]
)
async def test_an_exception_that_cannot_travel_becomes_a_step_error(pool, kind, message):
    pid = await within(pool.run(call(steps.pid), Ear()))
    error = await failure(pool.run(call(steps.fail, kind=kind), Ear()))
    assert (error.code, error.message) == ("step_error", message)
    assert await within(pool.run(call(steps.pid), Ear())) == pid  # it is none the worse


@pytest.mark.parametrize("function", [steps.lock, steps.yield_lock])
async def test_a_result_that_cannot_be_pickled_is_named(pool, function):
    error = await failure(pool.run(call(function), Ear()))
    assert (error.code, error.retryable) == ("not_picklable", False)
    assert "step 's'" in error.message
    assert "a lock" in error.message


async def test_event_data_that_cannot_be_pickled_is_named(pool):
    error = await failure(pool.run(call(steps.send_lock, "context"), Ear()))
    assert error.code == "not_picklable"
    assert "the data of 'app.lock', a lock" in error.message


async def test_an_argument_that_cannot_be_pickled_is_named(pool):
    error = await failure(pool.run(call(steps.add, a=1, b=threading.Lock()), Ear()))
    assert (error.code, error.retryable) == ("not_picklable", False)
    assert "step 's': its argument 'b', a lock, cannot travel" in error.message
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2


async def test_a_function_that_cannot_be_imported_is_named(pool):
    error = await failure(pool.run(call(lambda: 1), Ear()))
    assert error.code == "not_picklable"
    assert "is a lambda" in error.message


async def test_an_argument_that_cannot_be_read_in_the_process(pool):
    error = await failure(pool.run(call(steps.add, a=steps.Unreadable(), b=1), Ear()))
    assert error.code == "not_picklable"
    assert "step 's': its call could not be read in the process (ValueError" in error.message


@pytest.mark.parametrize("function", [steps.unreadable, steps.yield_unreadable])
async def test_a_result_that_cannot_be_read_at_home(pool, function):
    error = await failure(pool.run(call(function), Ear()))
    assert error.code == "not_picklable"
    assert "step 's': what it sent home could not be read (ValueError" in error.message
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", "step 's': its process exited with code 3"),
        ("SIGKILL", "step 's': its process was ended by SIGKILL (out of memory?)"),
        ("SIGSEGV", "step 's': its process was ended by SIGSEGV"),
    ],
)
async def test_a_process_that_dies_fails_its_call_alone_and_the_pool_heals(how, message, method):
    pool = make(2, context=method)
    neighbour, _, _ = await hanging(pool)
    error = await failure(pool.run(call(steps.die, how=how), Ear()))
    assert isinstance(error, ExecutorCrashed)
    assert (error.message, error.retryable) == (message, True)
    assert not neighbour.done()
    assert await within(pool.run(call(steps.add, a=1, b=1), Ear())) == 2
    await cancel(neighbour)
    await within(pool.aclose())


async def test_what_was_yielded_before_a_crash_has_come_home(pool):
    ear = Ear()
    error = await failure(pool.run(call(steps.yield_and_die), ear))
    assert error.code == "executor_crashed"
    assert ear.heard == [1, 2]


async def test_an_idle_process_that_dies_is_replaced(pool):
    pid = await within(pool.run(call(steps.pid), Ear()))
    (child,) = pool._children
    os.kill(pid, signal.SIGKILL)
    await within(asyncio.wait([child.gone]))
    assert pool.statistics().alive == 0
    assert await within(pool.run(call(steps.pid), Ear())) != pid


async def test_where_no_process_can_be_started_calls_fail_and_later_ones_work(pool, monkeypatch):
    def no_descriptors(*_):
        raise OSError("Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(processes, "Child", no_descriptors)
        for task in [start(pool, steps.pid) for _ in range(3)]:
            error = await failure(task)
            assert error.message == "step 's': no process can be started (Too many open files)"
            assert error.retryable
    held, _, _ = await hanging(pool)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "Child", no_descriptors)
        task = start(pool, steps.pid)  # waits for the one there is
        await asyncio.sleep(0)
        assert pool.statistics().waiting == 1
    await cancel(held)
    assert await within(task) > 0


async def test_when_downstream_fails_the_process_is_ended(pool):
    ear = Ear()
    ear.broken = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        await within(pool.run(call(steps.count, n=10**9), ear))
    assert pool.statistics().killed == 1


# --- warm-up -------------------------------------------------------------------------------------


async def test_the_warm_up_runs_once_in_each_process_before_its_first_call():
    pool = make(2, steps.warm)
    await within(pool.prestart())
    assert pool.statistics().alive == 2
    held, _, held_pid = await hanging(pool)
    seen = [await within(pool.run(call(steps.how_warm), Ear())) for _ in range(3)]
    assert {times for times, _ in seen} == {1}
    assert held_pid not in {pid for _, pid in seen}
    await cancel(held)
    await within(pool.aclose())


async def test_a_warm_up_that_raises_fails_every_call_clearly():
    pool = make(2, steps.warm_badly)
    tasks = [start(pool, steps.add, a=1, b=1) for _ in range(4)]
    for error in [await failure(task) for task in tasks]:
        assert (error.code, error.retryable) == ("warmup_failed", False)
        assert error.message == (
            "step 's': the warm-up warm_badly failed in its process: FileNotFoundError: model.onnx"
        )
        assert "in warm_badly" in error.__notes__[0]
    error = await failure(pool.prestart())
    assert error.code == "warmup_failed"
    await within(pool.aclose())


async def test_a_process_that_dies_in_its_warm_up_fails_the_call():
    pool = make(1, steps.warm_by_dying)
    error = await failure(pool.run(call(steps.add, a=1, b=1), Ear()))
    assert error.code == "executor_crashed"
    assert error.message == "step 's': a process of the pool exited with code 9 before it was ready"
    assert (await failure(pool.prestart())).code == "executor_crashed"
    await within(pool.aclose())


def test_a_warm_up_that_no_process_can_import_is_refused_at_once():
    with pytest.raises(PolicyError, match=r"Processes\(warm=…\): .* is a lambda"):
        make(1, lambda: None)


# --- cancellation in each phase ------------------------------------------------------------------


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


# --- the end -------------------------------------------------------------------------------------


async def test_closing_lets_a_call_under_way_end_and_refuses_the_rest():
    pool, ear = make(1), Ear(shut=True)
    running = start(pool, steps.mixed, "context", n=100, ear=ear)
    await ear.something()
    waiting = start(pool, steps.add, a=1, b=1)
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.aclose())
    error = await failure(waiting)
    assert (error.code, error.retryable) == ("executor_closed", True)
    ear.gate.set()
    await within(running)
    await within(closing)
    assert ear.heard[-1] == ("app.end", None)
    assert (await failure(pool.run(call(steps.pid), Ear()))).code == "executor_closed"
    assert (await failure(pool.prestart())).code == "executor_closed"


async def test_closing_kills_what_does_not_end_in_time():
    pool = make(2, grace=0.05)
    task, _, pid = await hanging(pool)
    await within(pool.aclose())
    assert (await failure(task)).code == "executor_closed"
    assert not is_there(pid)
    assert (pool.statistics().killed, pool.statistics().alive) == (1, 0)


async def test_closing_does_not_wait_for_a_warm_up():
    pool = make(1, steps.warm_without_end, grace=GUARD * 2)
    task = start(pool, steps.pid)
    await asyncio.sleep(0)
    await within(pool.aclose())
    assert (await failure(task)).code == "executor_closed"


async def test_closing_twice_at_once_and_unused():
    pool = make(2)
    await within(pool.prestart())
    await within(asyncio.gather(pool.aclose(), pool.aclose()))
    await within(pool.aclose())
    await within(make(2).aclose())
    assert repr(pool) == (
        "<ProcessPool (forkserver): 0 running, 0 waiting, 0 completed, 0 failed, 0 cancelled, "
        "0 abandoned, 0 killed, 0 alive, 2 workers>"
    )


def open_things() -> tuple[int, int, set[str]]:
    children = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            children |= set((thread / "children").read_text().split())
    return threading.active_count(), len(os.listdir("/proc/self/fd")), children


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
async def test_five_rounds_leave_no_process_thread_or_descriptor(method):
    async def round() -> None:
        pool = make(2, context=method)
        await within(pool.prestart())
        await within(pool.run(call(steps.size, data=bytes(300_000)), Ear()))
        await failure(pool.run(call(steps.die, how="exit"), Ear()))
        task, _, _ = await hanging(pool)
        await cancel(task)
        await within(pool.aclose())

    await round()  # starts what multiprocessing keeps for good (its tracker, the fork server)
    before = open_things()
    for _ in range(5):
        await round()
    assert open_things() == before
    assert multiprocessing.active_children() == []


async def test_a_process_leaves_ctrl_c_to_its_parent(pool):
    assert await within(pool.run(call(steps.ignores_interrupt), Ear()))


PARENT = """
import asyncio, os
import steps_for_executors as steps
from steps_for_executors import Ear
from millstream.context import Facts
from millstream.engine.executor import Call
from millstream.engine.processes import ProcessPool
from millstream.policy import Processes

def mine():
    return os.getpid()

async def main():
    pool = ProcessPool(Processes(workers=2), lambda: 0.0, context="METHOD")
    facts, ear = Facts(run="r", pipeline="p", step="s"), Ear()
    busy = asyncio.create_task(pool.run(Call(steps.hang, {}, facts, "context"), ear))
    await ear.something()
    print(ear.heard[0][1], await pool.run(Call(mine, {}, facts), ear), flush=True)
    if LEAVE:
        busy.cancel()
        await asyncio.wait([busy])
        return await pool.aclose()
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


def parent(tmp_path: Path, method: str, *, leave: bool) -> subprocess.Popen:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.replace("METHOD", method).replace("LEAVE", str(leave)))
    path = os.pathsep.join([str(HERE), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_functions_of_the_main_script_work_and_the_script_ends(tmp_path):
    out, err = parent(tmp_path, "spawn", leave=True).communicate(timeout=GUARD)
    assert len(out.split()) == 2
    assert err == ""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for other processes' children")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_busy_and_idle_end_when_the_parent_is_killed(tmp_path, method):
    with parent(tmp_path, method, leave=False) as process:
        assert process.stdout
        pidfds = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        assert len(pidfds) == 2
        process.send_signal(signal.SIGKILL)
        poll = select.poll()
        for pidfd in pidfds:
            poll.register(pidfd, select.POLLIN)
        while pidfds:
            ended = poll.poll(GUARD * 1000)
            assert ended, "a process outlived its parent"
            for pidfd, _ in ended:
                poll.unregister(pidfd)
                pidfds.remove(pidfd)
                os.close(pidfd)


# --- what a process can import -------------------------------------------------------------------


class Callable:
    def __call__(self):
        return 1

    def method(self):
        return 1


def test_what_can_be_imported():
    assert check_importable(steps.add) is None
    assert check_importable(os.getpid) is None
    assert check_importable(logging.Logger.info) is None


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda: 1, "is a lambda; write a function with `def` in a module"),
        (make.__call__, "is a method-wrapper without a name of its own"),
        (Callable(), "is a Callable without a name of its own"),
        (steps.replaced, "original is something else by now, a builtin_function_or_method"),
        (Callable().method, "something else"),
    ],
)
def test_what_cannot_be_imported_is_said_in_a_sentence(function, problem):
    assert problem in (check_importable(function) or "")


def test_a_local_function_cannot_be_imported():
    def local():
        return 1

    assert "is defined inside a function; move it" in (check_importable(local) or "")


def test_a_function_of_a_module_that_is_gone_cannot_be_imported():
    def lost():
        return 1

    lost.__qualname__, lost.__module__ = "lost", "no_such_module"
    assert "cannot be imported (ModuleNotFoundError" in (check_importable(lost) or "")


def test_a_function_typed_into_an_interactive_session_cannot_be_imported():
    def typed():
        return 1

    typed.__qualname__, typed.__module__ = "typed", "__main__"
    assert "interactive session" in (check_importable(typed) or "")
