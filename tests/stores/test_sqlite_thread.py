"""The SQLite store's thread: one job after another, and the loop hears of each."""

import asyncio
import threading

import pytest

from millstream.stores.sqlite_thread import Thread


@pytest.fixture
async def thread():
    made = Thread("of-the-test")
    yield made
    made.end()


async def test_jobs_are_done_in_order_elsewhere_and_told_here(thread):
    done, told, all_told = [], [], asyncio.Event()

    def job(number):
        done.append((number, threading.current_thread().name))
        return number

    def tell(number):
        assert threading.current_thread() is threading.main_thread()
        told.append(number)
        if number == 99:
            all_told.set()

    for number in range(100):
        thread.give(lambda number=number: job(number), tell)
    await all_told.wait()
    assert told == list(range(100))
    assert done == [(number, "of-the-test") for number in range(100)]


async def test_what_a_job_raises_is_raised_where_it_is_awaited(thread):
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 7) == 7


async def test_a_job_is_done_though_nobody_waits_any_more(thread):
    begun, go_on, done = threading.Event(), threading.Event(), []

    def job():
        begun.set()
        go_on.wait()
        done.append(True)

    waiting = asyncio.ensure_future(thread.run(job))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await thread.run(lambda: None)
    assert done == [True]


def test_a_loop_that_is_gone_is_not_told_and_the_thread_ends():
    done = threading.Event()
    go_on = threading.Event()

    async def main():
        thread = Thread("of-a-loop-that-goes")
        thread.give(go_on.wait, lambda _: None)
        thread.give(done.set, lambda _: None)
        thread.end()
        return next(each for each in threading.enumerate() if each.name == "of-a-loop-that-goes")

    worker = asyncio.run(main())
    go_on.set()
    worker.join()
    assert done.is_set()
