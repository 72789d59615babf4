"""Live steps in threads and processes, on a real clock. Waits are for conditions."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

from tests.engine.live.flows import counting, flowing, of, until, values

from millstream.annotations import Each, Stream
from millstream.context import Context
from millstream.pipeline import Pipeline
from millstream.policy import Processes, Retry
from millstream.store import Cancellation


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


async def test_generators_in_threads_from_end_to_end():
    p = Pipeline("p", live=True)

    @p.step
    def s() -> Iterator[int]:
        assert threading.current_thread().name == "millstream-s"
        yield from range(5000)

    @p.step
    def w(s: Stream[int]) -> Iterator[int]:
        held = 0
        for n, each in enumerate(s, start=1):
            held += each
            if n % 1000 == 0:
                yield held

    @p.step(publish="always")
    def f(w: Each[int], ctx: Context) -> int:
        ctx.emit("heard", {"item": ctx.item})
        return w + 1

    async with flowing(p) as flow:
        events = await flow.end()
    sums = [sum(range(1000 * n)) for n in range(1, 6)]
    assert values(events, "f") == [each + 1 for each in sums]
    assert sorted(e.value["item"] for e in of(events, "heard")) == [1, 2, 3, 4, 5]
    await until(lambda: "millstream-s" not in names() and "millstream-w" not in names())


async def test_a_thread_whose_values_are_not_taken_waits():
    p = Pipeline("p", live=True)
    given: list[int] = []
    go = asyncio.Event()

    @p.step
    def s() -> Iterator[int]:
        for n in range(100_000):
            given.append(n)
            yield n

    @p.step(buffer=10)
    async def held(s: Each[int]) -> int:
        await go.wait()
        return s

    async with flowing(p) as flow:
        await flow.begun()
        await until(lambda: flow.live.statistics().edges["s:out->held:s"].stops > 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(given) <= 10 + 256 * 4 + 1024
        await flow.engine.cancel(flow.run, Cancellation("t", "t"))
        await flow.end()
    await until(lambda: "millstream-s" not in names())
    assert len(given) < 100_000


async def test_a_thread_ends_with_its_run_and_closes_its_generator():
    p = Pipeline("p", live=True)
    closed = threading.Event()

    @p.step
    def s() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield (n := n + 1)
        finally:
            closed.set()

    @p.step
    def w(s: Stream[int]) -> Iterator[int]:
        yield from s

    async with flowing(p) as flow:
        await flow.begun()
        await until(lambda: flow.live.statistics().steps["w"].made > 1000)
        await flow.engine.cancel(flow.run, Cancellation("t", "t"))
        assert (await flow.end())[-1].type == "run.cancelled"
        await until(closed.is_set)
        await until(lambda: not {"millstream-s", "millstream-w"} & set(names()))


async def test_in_a_thread_too_a_transformer_reads_on_after_a_failure():
    p = Pipeline("p", live=True)
    p.add("s", counting(400), executor="inline")

    @p.step(retry=Retry(attempts=9, base=0))
    def w(s: Stream[int]) -> Iterator[int]:
        for each in s:
            if each % 100 == 50:
                raise ValueError("fifty")
            yield each

    async with flowing(p) as flow:
        events = await flow.end()
    assert values(events, "w") == [n for n in range(400) if n % 100 != 50]
    assert len(of(events, "step.failed", "w")) == 4


async def test_a_step_that_yields_per_message_in_a_thread():
    p = Pipeline("p", live=True)
    p.add("s", counting(50), executor="inline")

    @p.step
    def some(s: Each[int]) -> Iterator[int]:
        if s == 7:
            raise ValueError("seven")
        yield from (s, -s)

    async with flowing(p) as flow:
        events = await flow.end()
    assert values(events, "some") == [x for n in range(50) if n != 7 for x in (n, -n)]
    assert len(of(events, "step.failed", "some")) == 1


def square(s: Each[int]) -> int:
    return s * s


async def test_order_is_kept_over_a_pool_of_processes():
    p = Pipeline("p", live=True)
    p.add("s", counting(40), executor="inline")
    p.add("f", square, executor=Processes(workers=2), publish="always")
    async with flowing(p) as flow:
        assert values(await flow.end(), "f") == [n * n for n in range(40)]


async def test_stopped_and_started_in_a_thread():
    p = Pipeline("p", live=True)
    began: list[int] = []

    @p.step
    def s() -> Iterator[int]:
        began.append(1)
        n = 0
        while True:
            yield (n := n + 1)

    @p.step
    async def w(s: Stream[int]) -> AsyncIterator[int]:
        async for each in s:
            yield each

    async with flowing(p) as flow:
        live = await flow.begun()
        flow.unwatch()

        def made() -> int:
            return live.statistics().steps["w"].made

        await until(lambda: made() > 100)
        await live.stop("s")
        await until(lambda: live.statistics().edges["s:out->w:s"].waiting == 0)
        before = made()
        await live.start("s")
        await until(lambda: made() > before + 100)
        assert len(began) == 2
        await flow.engine.cancel(flow.run, Cancellation("t", "t"))
