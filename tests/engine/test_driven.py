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
    return flushes_of(Counting(), pipeline, asked)


def flushes_of(store: Counting, pipeline: Pipeline, asked: object) -> tuple[list[int], list[str]]:
    async def main():
        working = engine(pipeline, store)
        await working.open()
        run, _ = await working.start(Start(pipeline.name, encode(asked)))
        told = [event.type for event in await events(working, run.id)]
        await working.aclose()
        return store.counts, told[1:]

    return run_virtual(main())


def flushed_at(stretches: list[tuple[int, bool]], last: int) -> list[int]:
    """How far the log has come with each flush. Two events are there when a step begins."""
    found: list[int] = []
    at, pending, lone, ahead = 2, 2, False, False
    for count, pauses in stretches:
        for _ in range(count):
            at += 1
            if lone and not ahead and not pending:
                ahead = True
                found.append(at)
            else:
                pending += 1
        if pauses:
            if pending:
                found.append(at)
                lone = pending == 1 and not ahead
            pending, ahead = 0, False
    return [*found, last]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8))
def test_each_pause_is_a_flush_and_nothing_else_is(stretches):
    """Stretches of values; behind some of them the step waits. Nothing else, but for one: where a
    value was alone between two pauses, the next one is not kept back until its step pauses."""
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
    assert list(accumulate(counts)) == flushed_at(stretches, len(told))


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


def test_a_value_alone_between_pauses_is_sent_ahead_and_what_follows_it_waits_for_the_pause():
    pipeline = Pipeline("p")
    store = Counting()
    seen: list[int] = []

    @pipeline.step
    async def values(start: None) -> AsyncIterator[int]:
        await asyncio.sleep(1)
        for number in range(3):
            yield number
            seen.append(sum(store.counts))
            await asyncio.sleep(1)
        for number in range(3):
            yield number
            seen.append(sum(store.counts))

    counts, told = flushes_of(store, pipeline, {"start": None})
    assert counts == [2, 1, 1, 1, 1, len(told) - 6]
    assert seen == [2, 4, 5, 6, 6, 6]
