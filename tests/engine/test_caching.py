"""Cached steps at work: one computation for all who ask, told as cached, gone when their time is
over, and never what failed."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engines import engine, events, virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from millstream.annotations import Each
from millstream.blobs import Upload
from millstream.engine.engine import Engine, Start
from millstream.errors import StepError
from millstream.events import Event, encode
from millstream.pipeline import Pipeline
from millstream.policy import Cache, Retry
from millstream.store import Cancellation
from millstream.stores.memory import MemoryStore
from millstream.stores.sqlite import SqliteStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import FaultyStore, drawn, script


class Answer(Struct):
    """A result with a type of its own."""

    text: str
    length: int


class Kitchen:
    """A pipeline whose cached step counts its calls, and fails when told to."""

    def __init__(self, *, seconds: float = 1.0, executor: Any = None, **policy: Any) -> None:
        self.calls: list[str] = []
        self.fails: set[int] = set()
        self.seconds = seconds
        self.pipeline = Pipeline("p")

        @self.pipeline.step(cache=Cache(**policy), concurrency=8)
        async def cook(orders: Each[str]) -> Answer:
            self.calls.append(orders)
            number = len(self.calls)
            await asyncio.sleep(self.seconds)
            if number in self.fails:
                raise StepError("burnt", retryable=False)
            return Answer(orders.upper(), len(orders))

        @self.pipeline.step
        async def serve(cook: Answer) -> str:
            return f"{cook.text} {cook.length}"


async def begin(found: Engine, *orders: str) -> str:
    run, _ = await found.start(Start("p", encode({"orders": list(orders)})))
    return run.id


async def ordered(found: Engine, *orders: str) -> list[Event]:
    return await events(found, await begin(found, *orders))


def results(log: list[Event], step: str = "cook") -> list[tuple[Any, bool]]:
    """Each result of a step, with whether it was told as cached."""
    found = [event for event in log if event.type == "step.result" and event.step == step]
    return [(event.value, event.cached) for event in found]


@virtual
async def test_a_second_run_uses_the_result_of_the_first():
    kitchen = Kitchen(ttl=100)
    found = engine(kitchen.pipeline)
    await found.open()
    first = await ordered(found, "egg")
    began = virtual_now()
    second = await ordered(found, "egg", "ham")
    assert kitchen.calls == ["egg", "ham"]
    assert results(first) == [({"text": "EGG", "length": 3}, False)]
    assert ({"text": "EGG", "length": 3}, True) in results(second)
    assert ({"text": "HAM", "length": 3}, False) in results(second)
    assert sorted(v for v, _ in results(second, "serve")) == ["EGG 3", "HAM 3"]
    assert not any(cached for _, cached in results(second, "serve"))
    assert second[-1].value["stats"]["cached"] == 1
    told = [event for event in second if event.step == "cook" and event.item == 0]
    assert [event.type for event in told] == ["step.started", "step.result"]
    assert b'"cached":true' in encode(told[-1])
    assert virtual_now() - began == 1  # the ham alone
    await found.aclose()


@virtual
async def test_its_time_is_its_ttl():
    kitchen = Kitchen(ttl=100, seconds=0)
    found = engine(kitchen.pipeline)
    await found.open()
    await ordered(found, "egg")
    await asyncio.sleep(99)
    assert results(await ordered(found, "egg"))[0][1]
    await asyncio.sleep(2)
    assert not results(await ordered(found, "egg"))[0][1]
    assert len(kitchen.calls) == 2
    await asyncio.sleep(200)
    assert await found.store.evict(now=virtual_now()) == 0  # housekeeping did it already
    await found.aclose()


@virtual
async def test_one_computation_when_many_ask_at_once():
    kitchen = Kitchen()
    found = engine(kitchen.pipeline)
    await found.open()
    runs = [await begin(found, "egg", "egg", "ham") for _ in range(20)]
    logs = await asyncio.gather(*(events(found, run) for run in runs))
    assert sorted(kitchen.calls) == ["egg", "ham"]
    assert [cached for log in logs for _, cached in results(log)].count(False) == 2
    assert found.caching.statistics().hits == 58
    assert found.caching.statistics().shared == 58
    await found.aclose()


@virtual
async def test_waiters_of_a_failing_computation_try_by_themselves():
    kitchen = Kitchen()
    kitchen.fails = {1, 3}
    found = engine(kitchen.pipeline)
    await found.open()
    runs = [await begin(found, "egg") for _ in range(4)]
    logs = await asyncio.gather(*(events(found, run) for run in runs))
    assert len(kitchen.calls) == 4  # one for all, then each of the other three
    assert [log[-1].value["partial"] for log in logs].count(True) == 2
    again = await ordered(found, "egg")
    assert results(again)[0][1]
    await found.aclose()


@virtual
async def test_a_waiter_takes_over_from_a_run_that_is_cancelled():
    kitchen = Kitchen(seconds=10)
    found = engine(kitchen.pipeline)
    await found.open()
    first, second = await begin(found, "egg"), await begin(found, "egg")
    await asyncio.sleep(5)
    await found.cancel(first, Cancellation("test", "enough"))
    assert (await events(found, first))[-1].type == "run.cancelled"
    assert results(await events(found, second)) == [({"text": "EGG", "length": 3}, False)]
    await found.aclose()


@virtual
async def test_a_cancelled_waiter_harms_nobody():
    kitchen = Kitchen(seconds=10)
    found = engine(kitchen.pipeline)
    await found.open()
    runs = [await begin(found, "egg") for _ in range(3)]
    await asyncio.sleep(5)
    await found.cancel(runs[1], Cancellation("test", "enough"))
    logs = await asyncio.gather(*(events(found, run) for run in runs))
    assert [log[-1].type.removeprefix("run.") for log in logs] == [
        "completed",
        "cancelled",
        "completed",
    ]
    assert len(kitchen.calls) == 1
    await found.aclose()


@virtual
async def test_failures_and_fallbacks_are_not_kept():
    calls = []
    pipeline = Pipeline("p")

    async def cold(orders: str) -> str:
        return "cold"

    @pipeline.step(cache=Cache(), fallback=cold, retry=Retry(attempts=2, base=0))
    async def cook(orders: Each[str]) -> str:
        calls.append(orders)
        if len(calls) <= 2:
            raise StepError("burnt")
        return "hot"

    found = engine(pipeline)
    await found.open()
    logs = [await ordered(found, "egg") for _ in range(3)]
    assert [results(log) for log in logs] == [[("cold", False)], [("hot", False)], [("hot", True)]]
    told = [event.fallback for log in logs for event in log if event.type == "step.result"]
    assert told == [True, False, False]
    assert len(calls) == 3
    await found.aclose()


@virtual
async def test_values_that_a_step_yielded_are_yielded_again():
    calls = []
    pipeline = Pipeline("p")

    @pipeline.step(cache=Cache())
    async def cut(orders: Each[str]) -> AsyncIterator[Answer]:
        calls.append(orders)
        for number in range(3):
            await asyncio.sleep(1)
            yield Answer(orders * 30_000, number)

    @pipeline.step
    async def eat(cut: Each[Answer]) -> int:
        return cut.length

    found = engine(pipeline)
    await found.open()
    first, second = await ordered(found, "e"), await ordered(found, "e")
    assert calls == ["e"]
    partials = [[e for e in log if e.type == "step.partial"] for log in (first, second)]
    assert [e.value for e in partials[0]] == [e.value for e in partials[1]]
    assert [e.cached for e in partials[0]] == [False] * 3
    assert [e.cached for e in partials[1]] == [True] * 3
    ends = [e for e in first + second if e.type == "step.result" and e.step == "cut"]
    assert [(end.count, end.cached) for end in ends] == [(3, False), (3, True)]
    assert [value for value, _ in results(second, "eat")] == [0, 1, 2]
    await found.aclose()


@virtual
async def test_the_bound_holds_and_the_oldest_used_go_first():
    kitchen = Kitchen(size=3, seconds=0)
    found = engine(kitchen.pipeline)
    await found.open()
    for order in ("a", "b", "c", "a", "d"):
        await ordered(found, order)
        await asyncio.sleep(1)
    calls = len(kitchen.calls)
    assert calls == 4
    assert len(results(await ordered(found, "a", "c", "d"))) == 3
    assert len(kitchen.calls) == calls
    await ordered(found, "b")
    assert kitchen.calls[calls:] == ["b"]
    await found.aclose()


@virtual
async def test_a_result_of_more_bytes_than_the_bound_is_not_kept():
    kitchen = Kitchen(bytes=40, seconds=0)
    found = engine(kitchen.pipeline)
    await found.open()
    for order in ("a", "x" * 60, "a", "x" * 60):
        await ordered(found, order)
    assert kitchen.calls == ["a", "x" * 60, "x" * 60]
    await found.aclose()


@virtual
async def test_a_store_that_fails_costs_the_saving_alone():
    kitchen = Kitchen(seconds=0)
    store = FaultyStore(MemoryStore(), script({("recall", 1): "before", ("remember", 1): "before"}))
    found = engine(kitchen.pipeline, store)
    await found.open()
    logs = [await ordered(found, "egg") for _ in range(3)]
    assert [results(log)[0][1] for log in logs] == [False, False, True]
    await found.aclose()


async def test_it_survives_a_restart(tmp_path):
    values = []
    for _ in range(2):
        kitchen = Kitchen(seconds=0, version="1")
        found = engine(kitchen.pipeline, SqliteStore(tmp_path / "runs.db"), now=lambda: 1000.0)
        await found.open()
        values.append(results(await ordered_anew(found, "egg"))[0])
        await found.aclose()
    assert values == [({"text": "EGG", "length": 3}, False), ({"text": "EGG", "length": 3}, True)]


async def ordered_anew(found: Engine, order: str) -> list[Event]:
    """A run whose id no earlier engine of the test has used."""
    found.new_id = lambda: f"r{random.random()}"
    return await ordered(found, order)


def test_an_upload_counts_by_its_content(tmp_path):
    from millstream import cached

    pipeline = Pipeline("p")

    @pipeline.step(cache=Cache(version="1"))
    async def look(file: Upload) -> int:
        return file.size

    step = pipeline.build().steps["look"]

    def key(blob: str, name: str, sha: str) -> str:
        file = Upload(
            blob=blob,
            filename=name,
            content_type="image/png",
            size=3,
            sha256=sha,
            path=tmp_path / blob,
        )
        return cached.key_of(step, "version 1", {"file": file})

    assert key("b1", "a.png", "00") == key("b2", "b.png", "00") != key("b1", "a.png", "01")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.lists(st.sampled_from("abc"), min_size=1, max_size=4)),
        min_size=1,
        max_size=8,
    ),
    st.integers(),
    st.sets(st.integers(1, 6)),
)
def test_every_run_gets_what_it_would_have_computed(arrivals, seed, fails):
    """Runs come at any time, steps fail, the store fails: a value is never another one's, and where
    nothing fails each argument is computed once in its time."""

    async def main():
        kitchen = Kitchen(seconds=1.5, ttl=1000)
        kitchen.fails = fails
        faults = drawn(random.Random(seed), before=0.2, methods={"recall", "remember", "touch"})
        calm = not seed % 2
        store = MemoryStore() if calm else FaultyStore(MemoryStore(), faults)
        found = engine(kitchen.pipeline, store)
        await found.open()

        async def client(delay: float, orders: list[str]) -> None:
            await asyncio.sleep(delay)
            log = await ordered(found, *orders)
            for event in log:
                if event.type == "step.result" and event.step == "cook":
                    assert event.item is not None
                    assert event.value == {"text": orders[event.item].upper(), "length": 1}
            missing = {told["item"] for told in log[-1].value["missing"]}
            assert len(results(log)) + len(missing) == len(orders)

        await asyncio.gather(*(client(*each) for each in arrivals))
        if calm and not fails:
            assert sorted(kitchen.calls) == sorted({o for _, orders in arrivals for o in orders})
        assert len(kitchen.calls) == found.caching.statistics().misses
        await found.aclose()

    run_virtual(main())


def test_a_step_without_a_cache_asks_nobody():
    async def main():
        pipeline = Pipeline("p")

        @pipeline.step
        async def cook(orders: Each[str]) -> str:
            return orders

        store = FaultyStore(MemoryStore(), script({("recall", 1): "before"}))
        found = engine(pipeline, store)
        await found.open()
        assert results(await ordered(found, "a", "a")) == [("a", False), ("a", False)]
        assert store.statistics().before == 0
        await found.aclose()

    run_virtual(main())


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_a_hit_takes_no_place_in_an_executor(executor):
    pipeline = Pipeline("p")
    pipeline.step(name="cook", executor=executor, cache=Cache(version="1"))(shout)
    found = engine(pipeline, now=lambda: 1000.0)
    await found.open()
    first, second = await ordered(found, "a", "b"), await ordered(found, "a", "b")
    assert sorted(results(first)) == [("A", False), ("B", False)]
    assert sorted(results(second)) == [("A", True), ("B", True)]
    (statistics,) = [s for s in found.executors.statistics().values() if s.completed]
    assert statistics.completed == 2
    await found.aclose()


def shout(orders: Each[str]) -> str:
    """Can be imported by name, as a process must."""
    return orders.upper()
