"""The engine from outside: followers of a log, progress, streams, and what must not hang it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from engines import Shared, engine, events, napping, sleeper, virtual

from millstream.annotations import Each, Stream
from millstream.context import Context
from millstream.engine import journal
from millstream.engine.engine import Start
from millstream.errors import NotFound
from millstream.events import LOG_GAP, decode, encode
from millstream.pipeline import Pipeline
from millstream.policy import Retry
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual

# --- following ------------------------------------------------------------------------------------


@virtual
async def test_a_reader_of_a_log_that_another_engine_writes():
    store = Shared(MemoryStore())
    one, other = engine(sleeper(), store), engine(sleeper(), store, name="o")
    await one.open()
    await other.open()
    run, _ = await one.start(napping(30))
    log = await events(other, run.id)
    assert log[-1].type == "run.completed"
    assert [e.seq for e in log] == list(range(1, len(log) + 1))
    assert len(other.tails) == 0
    await one.aclose()
    await other.aclose()


@virtual
async def test_a_cursor_ahead_of_what_this_process_knows_sees_nothing_twice():
    store = Shared(MemoryStore())
    one, other = engine(sleeper(), store), engine(sleeper(), store, name="o")
    await one.open()
    await other.open()
    run, _ = await one.start(napping(30))
    early = await other.follow(run.id)
    await asyncio.sleep(31)
    known = len(await one.events(run.id))
    follower = await other.follow(run.id, known - 1)
    batch = await follower.next()
    assert batch is not None
    assert [decode(line).seq for line in batch.events] == [known]
    assert await follower.next() is None
    beyond = await other.follow(run.id, known + 50)
    assert beyond.cursor == known
    for each in (early, follower, beyond):
        each.close()
    await one.aclose()
    await other.aclose()


@virtual
async def test_a_reader_of_a_pruned_log_is_told_of_the_gap_and_ends():
    pipeline = Pipeline("p")

    @pipeline.step
    async def many(start: str) -> AsyncIterator[str]:
        for _ in range(200):
            yield start * 5000

    found = engine(pipeline, keep=10.0, housekeeping=5.0)
    await found.open()
    run, _ = await found.start(Start("p", encode({"start": "x"})))
    follower = await found.follow(run.id)
    first = await follower.next()
    assert first is not None
    await asyncio.sleep(60)
    assert await found.store.run(run.id) is None
    batch = await follower.next()
    assert batch is not None
    gap = decode(batch.events[0])
    assert (gap.type, gap.value["from"]) == (LOG_GAP, first.last + 1)
    assert await follower.next() is None
    follower.close()
    with pytest.raises(NotFound):
        await found.follow(run.id)
    assert len(found.tails) == 0
    await found.aclose()


@virtual
async def test_pruning_forgets_all_that_is_old_not_only_a_page_of_it():
    found = engine(sleeper(), keep=10.0, housekeeping=1e9)
    await found.open()
    for _ in range(250):
        await found.start(napping(0))
    await asyncio.sleep(60)
    assert await found.prune() == 250
    assert list(await found.store.runs()) == []
    await found.aclose()


# --- progress, streams ----------------------------------------------------------------------------


def test_a_flood_of_progress_stays_small_and_its_last_word_is_kept():
    pipeline = Pipeline("p")

    @pipeline.step(executor="inline")
    def floods(start: str, ctx: Context) -> int:
        for number in range(20_000):
            ctx.progress(number / 20_000)
        return 1

    async def main():
        found = engine(pipeline)
        await found.open()
        run, _ = await found.start(Start("p", encode({"start": "a"})))
        log = await events(found, run.id)
        progress = [e for e in log if e.type == "step.progress"]
        assert len(log) <= 2 * journal.MAX_BYTES // 100  # an envelope has more than that
        assert progress[-1].value["fraction"] == 19_999 / 20_000
        assert [e.seq for e in log] == list(range(1, len(log) + 1))
        await found.aclose()

    run_virtual(main())


def test_a_stream_that_is_not_read_to_its_end_stops_nobody():
    pipeline = Pipeline("p")

    @pipeline.step
    async def numbers(start: int) -> AsyncIterator[int]:
        for number in range(start):
            yield number

    @pipeline.step(buffer=2)
    async def first(numbers: Stream[int]) -> int:
        return await anext(numbers)

    @pipeline.step(buffer=2)
    async def none(numbers: Stream[int]) -> int:
        return -1

    @pipeline.step(buffer=2, retry=Retry(attempts=3, base=1))
    async def again(numbers: Stream[int], ctx: Context) -> list[int]:
        taken = [await anext(numbers), await anext(numbers)]
        if ctx.attempt < 3:
            raise ValueError
        return taken

    @pipeline.step
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    async def main():
        found = engine(pipeline)
        await found.open()
        run, _ = await found.start(Start("p", encode({"start": 500})))
        log = await events(found, run.id)
        assert log[-1].type == "run.completed"
        result = (await found.document(run.id)).result
        assert result == {"first": 0, "none": -1, "again": [0, 1], "total": 124_750}
        await found.aclose()

    run_virtual(main())


def test_a_stream_reader_that_also_waits_for_what_comes_of_its_stream():
    pipeline = Pipeline("p")

    @pipeline.step
    async def numbers(start: int) -> AsyncIterator[int]:
        for number in range(start):
            yield number

    @pipeline.step
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @pipeline.step(buffer=2)
    async def shares(numbers: Stream[int], total: int) -> list[float]:
        return [number / total async for number in numbers]

    async def main():
        found = engine(pipeline)
        await found.open()
        run, _ = await found.start(Start("p", encode({"start": 300})))
        assert (await events(found, run.id))[-1].type == "run.completed"
        assert sum((await found.document(run.id)).result) == pytest.approx(1)
        await found.aclose()

    run_virtual(main())


def test_a_slow_reader_does_not_use_up_the_time_of_the_step_it_reads():
    pipeline = Pipeline("p")

    @pipeline.step(timeout=5, buffer=1)
    async def quick(start: int) -> AsyncIterator[int]:
        for number in range(start):
            await asyncio.sleep(0.4)
            yield number

    @pipeline.step(buffer=1)
    async def slow(quick: Each[int]) -> int:
        await asyncio.sleep(10)
        return quick

    async def main(count):
        found = engine(pipeline)
        await found.open()
        run, _ = await found.start(Start("p", encode({"start": count})))
        last = (await events(found, run.id))[-1]
        await found.aclose()
        return last

    assert run_virtual(main(10)).type == "run.completed"
    assert run_virtual(main(20)).value["code"] == "step_timeout"
