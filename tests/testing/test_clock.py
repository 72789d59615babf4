"""The virtual clock: hours pass at once and in order, a thread's work stops time."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.testing.clock import EPOCH, Deadlock, VirtualLoop, run_virtual, virtual_now

delays = st.lists(st.floats(0, 1e6), max_size=8)


@given(delays)
def test_sleepers_wake_in_order_at_their_moment(given):
    woken = []

    async def sleeper(delay):
        await asyncio.sleep(delay)
        woken.append((delay, virtual_now()))

    async def main():
        await asyncio.gather(*map(sleeper, given))
        return virtual_now()

    end = run_virtual(main())
    assert [delay for delay, _ in woken] == sorted(given)
    assert all(at == pytest.approx(EPOCH + delay) for delay, at in woken)
    assert end == pytest.approx(EPOCH + max(given, default=0))


def test_a_day_takes_no_time():
    began = time.perf_counter()
    run_virtual(asyncio.sleep(86_400))
    assert time.perf_counter() - began < 1


def test_a_timeout_comes_when_it_is_due_and_not_before():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(10.5)
        late = virtual_now()
        async with asyncio.timeout(10):
            await asyncio.sleep(9.5)
        return late, virtual_now()

    assert run_virtual(main()) == (EPOCH + 10, EPOCH + 19.5)


def test_the_same_program_runs_the_same_way_twice():
    async def main():
        told = []

        async def worker(name):
            for n in range(3):
                await asyncio.sleep(0.1 * (n + 1) if name % 2 else 0)
                told.append((name, n, virtual_now()))

        await asyncio.gather(*map(worker, range(5)))
        return told

    assert run_virtual(main()) == run_virtual(main())


def test_time_stands_still_while_there_is_something_to_do():
    async def main():
        for _ in range(1000):
            await asyncio.sleep(0)
        return virtual_now()

    assert run_virtual(main()) == EPOCH


def test_a_cancelled_timer_does_not_move_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(1000, lambda: None).cancel()
        await asyncio.sleep(1)
        return virtual_now()

    assert run_virtual(main()) == EPOCH + 1


def test_a_deadlock_is_told():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="every task waits"):
        run_virtual(main())


def test_a_deadlock_after_the_last_timer():
    async def main():
        await asyncio.gather(asyncio.sleep(5), asyncio.Event().wait())

    with pytest.raises(Deadlock):
        run_virtual(main())


def test_a_deadlock_once_the_last_thread_is_done():
    async def main():
        await asyncio.get_running_loop().run_in_executor(None, int)
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main())


def test_time_stands_still_while_a_thread_works():
    async def main():
        loop = asyncio.get_running_loop()
        go = Event()
        loop.call_later(3600, go.set)  # too late: the thread is waited for first
        loop.call_soon(loop.call_soon, go.set)
        with ThreadPoolExecutor(1) as pool:
            assert await loop.run_in_executor(pool, go.wait, 10)
        return virtual_now()

    assert run_virtual(main()) == EPOCH


def test_a_thread_that_takes_longer_than_any_poll_holds_the_clock():
    async def main():
        loop = asyncio.get_running_loop()
        sleeper = asyncio.ensure_future(asyncio.sleep(1))
        await asyncio.sleep(0)
        go, polls = Event(), 0

        def release():
            nonlocal polls
            polls += 1
            assert not sleeper.done()
            go.set()

        loop.call_soon(release)
        assert await loop.run_in_executor(None, go.wait, 10)
        assert (virtual_now(), polls) == (EPOCH, 1)
        await sleeper
        return virtual_now()

    assert run_virtual(main()) == EPOCH + 1


def test_a_threads_failure_comes_home_and_the_clock_goes_on():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.working, virtual_now()

    assert run_virtual(main()) == (0, EPOCH + 1)


async def test_only_a_virtual_loop_has_virtual_time():
    with pytest.raises(RuntimeError, match="needs a running VirtualLoop"):
        virtual_now()
