"""The process pool: its end, its parent's end, and what a process can import."""

import asyncio
import logging
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import steps_for_executors as steps
from executors import GUARD, call, cancel, within
from process_pools import HERE, failure, hanging, is_there, make, start
from steps_for_executors import Ear

from millstream.engine.processes import check_importable

pytestmark = pytest.mark.usefixtures("bare_main")


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
