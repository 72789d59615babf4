"""Driven: what a step publishes is flushed when it pauses, and what never pauses is one flush."""

import asyncio
from collections.abc import AsyncIterator
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from tests.engine.engines import engine, events

from millstream.engine.engine import Start
from millstream.errors import StepError
from millstream.events import encode
from millstream.pipeline import Pipeline
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual


class Counting(MemoryStore):
    """Writes down how many events each append of a run held."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def append(self, run, epoch, segment, mark=None):
        self.counts.append(len(segment))
        return super().append(run, epoch, segment, mark)


def flushes(pipeline: Pipeline, asked: object) -> tuple[list[int], list[str]]:
    """Of one run: events of each flush, and the types of all of them."""
    store = Counting()

    async def main():
        working = engine(pipeline, store)
        await working.open()
        run, _ = await working.start(Start(pipeline.name, encode(asked)))
        told = [event.type for event in await events(working, run.id)]
        await working.aclose()
        return store.counts, told[1:]

    return run_virtual(main())


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8))
def test_each_pause_is_a_flush_and_nothing_else_is(stretches):
    """Stretches of values; behind some of them the step waits."""
    pipeline = Pipeline("p")

    @pipeline.step
    async def values(start: None) -> AsyncIterator[int]:
        for count, pauses in stretches:
            for number in range(count):
                yield number
            if pauses:
                await asyncio.sleep(1)

    counts, told = flushes(pipeline, {"start": None})
    assert sum(counts) == len(told) == 4 + sum(count for count, _ in stretches)
    pauses = [2 + total for total, (_, pauses) in zip(
        accumulate(count for count, _ in stretches), stretches, strict=True) if pauses]  # fmt: skip
    assert list(accumulate(counts)) == [*pauses, len(told)]


def test_a_run_that_never_pauses_is_one_flush():
    pipeline = Pipeline("p")

    @pipeline.step
    async def length(text: str) -> int:
        return len(text)

    assert flushes(pipeline, {"text": "four"})[0] == [4]


def test_what_is_published_is_visible_before_anything_else_has_its_turn():
    pipeline = Pipeline("p")
    store = Counting()
    seen: list[int] = []

    @pipeline.step
    async def values(start: None) -> AsyncIterator[int]:
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        for number in range(3):
            loop.call_soon(lambda: seen.append(sum(store.counts)))
            yield number
            await asyncio.sleep(1)

    async def main():
        working = engine(pipeline, store)
        await working.open()
        run, _ = await working.start(Start("p", encode({"start": None})))
        await events(working, run.id)
        await working.aclose()

    run_virtual(main())
    assert seen == [3, 4, 5]


def test_a_generator_that_fails_or_leaves_the_process_behind_fails_its_step_alone():
    for error in (StepError("no"), SystemExit(1), asyncio.CancelledError()):
        pipeline = Pipeline("p")

        @pipeline.step(optional=True)
        async def values(start: None, error: BaseException = error) -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(1)
            raise error

        told = flushes(pipeline, {"start": None})[1]
        assert told[-2:] == ["step.failed", "run.completed"]
