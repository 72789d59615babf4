"""The process pool: values, order, backpressure, failures, warm-up."""

import asyncio
import os
import signal
import threading

import pytest
import steps_for_executors as steps
import uvloop
from executors import call, cancel, within
from process_pools import failure, hanging, is_there, make, start
from steps_for_executors import Ear

from millstream.engine import processes
from millstream.engine.process_child import PARTIALS
from millstream.errors import ExecutorCrashed, PolicyError

pytestmark = pytest.mark.usefixtures("bare_main")


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


async def test_numeric_libraries_compute_in_one_thread_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    pool = make(1, context="spawn")
    try:
        told = [
            await within(pool.run(call(steps.setting, name=f"{kind}_NUM_THREADS"), Ear()))
            for kind in ("OMP", "OPENBLAS")
        ]
    finally:
        await within(pool.aclose())
    assert told == ["3", "1"]


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
