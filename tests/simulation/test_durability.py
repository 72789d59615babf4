"""Visible means durable; a faulty store; a log broken off at every place; bounds in long runs."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from millstream.annotations import Each
from millstream.engine import journal
from millstream.engine.engine import Engine, EngineOptions, Start
from millstream.engine.steploop import StepLoop
from millstream.events import Segment, decode, encode
from millstream.pipeline import Pipeline
from millstream.policy import Retry
from millstream.store import Mark, Run
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import Fault, FaultyStore, drawn, script
from tests.simulation.house import House, NoBlobs, check_log, raw
from tests.simulation.reference import ByLog, Interpreter
from tests.simulation.shapes import Book, Plan, build, plan
from tests.simulation.test_pipelines import compare, wavers


def engine_on(store: Any, graphs: Any, seed: int = 0, **options: Any) -> Engine:
    ids = iter(range(1, 1000))
    return Engine(
        graphs,
        store,
        NoBlobs(),  # type: ignore[arg-type]
        now=virtual_now,
        chance=random.Random(seed).random,
        new_id=lambda: f"r{next(ids)}",
        options=EngineOptions(**options),
    )


def two_steps() -> Pipeline:
    pipeline = Pipeline("p")

    @pipeline.step
    async def word(start: Each[str]) -> str:
        return start.upper()

    @pipeline.step
    async def text(word: list[str]) -> str:
        return " ".join(word)

    return pipeline


def test_nobody_sees_what_the_store_has_not_promised_to_keep():
    async def main():
        store = FaultyStore(MemoryStore(), script({("append", n): "hold" for n in range(1, 50)}))
        graph = two_steps().build()
        engine = engine_on(store, {"p": graph})
        await engine.open()
        run, _ = await engine.start(Start("p", encode({"start": ["a", "b"]})))
        seen: list[bytes] = []

        async def listen() -> None:
            follower = await engine.follow(run.id)
            async for batch in follower.batches():
                seen.extend(batch.events)
            follower.close()

        listener = asyncio.create_task(listen())
        held = 0
        while not listener.done():
            await asyncio.sleep(3)
            kept = await store.run(run.id)
            assert kept is not None
            assert len(seen) == kept.seq, "seen before it was kept, or kept and not seen"
            held += store.let_go()
        assert held >= 2
        assert len(seen) == len(await engine.events(run.id))
        await engine.aclose()

    run_virtual(main())


@pytest.mark.parametrize("seed", range(40))
def test_a_store_that_fails_before_and_after_the_write_and_leases_that_are_stolen(seed):
    async def main():
        drawing = plan(9000 + seed, unstable=seed % 2 == 0)
        book = Book()
        graph = build(drawing, book)
        faults = drawn(random.Random(seed), before=0.15, after=0.15, steal=0.03)
        calm = MemoryStore()

        def strike(method: str, number: int) -> Fault | None:
            if method == "create":
                return None
            return "after" if (method, number) == ("append", 1) else faults(method, number)

        store = FaultyStore(calm, strike)
        engine = engine_on(store, {"drawn": graph}, seed)
        await engine.open()
        run, _ = await engine.start(Start("drawn", encode({"x": drawing.input})))
        for _ in range(5000):
            found = await calm.run(run.id)
            assert found is not None
            if found.ended is not None:
                break
            await asyncio.sleep(0.5)
        page = await calm.read(run.id, 0, max_bytes=1 << 30)
        lines = [line for segment in page.segments for line in segment.events]
        events = check_log(lines, graph, stable=not any(map(wavers, drawing.shapes)))
        if events[-1].type == "run.failed" and events[-1].value["code"] == "worker_lost":
            return  # stolen from it three times at the same step
        compare(drawing, graph, ByLog(drawing, book, events), await engine_document(calm, engine))
        struck = store.statistics()
        assert struck.before + struck.after + struck.steal > 0

    async def engine_document(calm: MemoryStore, engine: Engine) -> Any:
        engine.store = calm
        return await engine.document("r2" if await calm.run("r2") else "r1")

    run_virtual(main())


def cut(lines: list[bytes], run: Run, length: int) -> MemoryStore:
    """A store in which a worker died after so many events."""
    store = MemoryStore()

    async def fill() -> None:
        fresh = Run(id=run.id, pipeline=run.pipeline, created=run.created, input=run.input)
        await store.create(fresh, Segment(1, (lines[0],)), worker="dead", now=0, ttl=1)
        rest = Segment(2, tuple(lines[1:length]))
        if rest.events:
            started = any(decode(line).type == "run.started" for line in rest.events)
            await store.append(run.id, 1, rest, Mark("running", 0) if started else None)
        await store.release(run.id, 1)

    asyncio.run(fill())
    return store


async def to_its_end(engine: Engine, run: str) -> list[bytes]:
    for _ in range(2000):
        found = await engine.store.run(run)
        assert found is not None
        if found.ended is not None:
            page = await engine.store.read(run, 0, max_bytes=1 << 30)
            return [line for segment in page.segments for line in segment.events]
        await asyncio.sleep(0.5)
    raise TimeoutError(run)


def from_the_start(drawing: Plan, book: Book) -> tuple[list[bytes], Run]:
    async def main():
        house = House({"drawn": build(drawing, book)}, drawing.seed)
        engine = await house.engine("a")
        run, _ = await engine.start(Start("drawn", encode({"x": drawing.input})))
        await house.ended(run.id)
        await house.close()
        return await house.log(run.id), run

    return run_virtual(main())


@pytest.mark.parametrize("seed", [3, 5, 11, 20, 28, 42])
def test_a_log_broken_off_anywhere_goes_on_to_the_same_end(seed):
    drawing = plan(seed, unstable=seed % 2 == 0, steps=6)
    book = Book()
    whole, run = from_the_start(drawing, book)
    stable = not any(map(wavers, drawing.shapes))
    for length in range(1, len(whole)):
        store = cut(whole, run, length)
        graph = build(drawing, book)
        book.calls.clear()

        async def main(store=store, graph=graph):
            engine = engine_on(store, {"drawn": graph}, seed)
            await engine.open()
            lines = await to_its_end(engine, run.id)
            document = await engine.document(run.id)
            await engine.aclose()
            return lines, document

        lines, document = run_virtual(main())
        assert lines[:length] == whole[:length]
        events = check_log(lines, graph, stable=stable)
        compare(drawing, graph, ByLog(drawing, book, events), document)
        if stable:
            done = {
                (event.step, event.item)
                for event in map(decode, whole[:length])
                if event.type == "step.result" and not graph.steps[event.step or ""].internal
            }
            again = {(step, item) for step, item, _, _ in book.calls}
            assert not done & again, "what was finished was executed again"
            if decode(whole[-1]).type == "run.completed":
                meant = Interpreter(drawing, graph, ByLog(drawing, book, events)).run()
                assert raw(meant.missing) is not None


def endless(count: int, sizes: dict[str, int]) -> Pipeline:
    """A source of `count` values through maps within maps; notes the largest sizes it sees."""
    pipeline = Pipeline("flow")
    loops = sizes_of_loops()

    @pipeline.step
    async def ticks() -> AsyncIterator[int]:
        for number in range(count):
            if number % 500 == 499:
                for name, size in loops().items():
                    sizes[name] = max(sizes.get(name, 0), size)
            yield number

    @pipeline.step(concurrency=4)
    async def parts(ticks: Each[int]) -> list[int]:
        await asyncio.sleep(0.001)
        return [ticks, ticks]

    @pipeline.step(retry=Retry(attempts=2))
    async def part(parts: Each[int], ticks: Each[int]) -> int:
        return parts + ticks

    @pipeline.step
    async def sums(part: list[int], ticks: Each[int]) -> int:
        return sum(part)

    return pipeline


def sizes_of_loops():
    """Watches every step's loop that is made from now on."""
    found: list[StepLoop] = []
    original = StepLoop.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        found.append(self)

    StepLoop.__init__ = init  # type: ignore[method-assign]

    def sizes() -> dict[str, int]:
        StepLoop.__init__ = original  # type: ignore[method-assign]
        sizes: dict[str, int] = {}
        for loop in found:
            join = loop.join
            broadcast = [len(values) for values in join.broadcast.values()]
            numbers = loop.outlets._numbering
            sizes |= {
                f"{loop.step.name} entries": len(join.entries) + len(join.waiting),
                f"{loop.step.name} broadcast": max(broadcast, default=0),
                f"{loop.step.name} collections": len(join.collections),
                f"{loop.step.name} ends": len(join.heard) + len(join.closing),
                f"{loop.step.name} calls": len(loop._running) + len(loop._traces),
                f"{loop.step.name} numbers": len((numbers and numbers._numbers) or ()),
                "pending": len(loop.work.journal.pending),
                "under way": len(loop.work.under_way),
            }
        return sizes

    return sizes


def flow(count: int) -> dict[str, int]:
    sizes: dict[str, int] = {}

    async def main():
        engine = engine_on(MemoryStore(), {"flow": endless(count, sizes).build()})
        await engine.open()
        run, _ = await engine.start(Start("flow", b"{}"))
        lines = await to_its_end(engine, run.id)
        assert decode(lines[-1]).type == "run.completed"
        await engine.aclose()

    run_virtual(main())
    return sizes


def test_a_long_flow_keeps_nothing_of_what_is_through():
    short, long = flow(1000), flow(4000)
    assert short.keys() == long.keys()
    for name, size in long.items():
        assert size <= 1000, (name, size)
        assert size <= short[name] + 300, (name, short[name], size)


@pytest.mark.long
def test_a_hundred_thousand_items_keep_nothing_of_what_is_through():
    assert max(flow(100_000).values()) <= 1500


def test_a_source_never_runs_ahead_of_a_reader_that_stands_still():
    async def main():
        pipeline = Pipeline("flow")
        yielded = []
        gate = asyncio.Event()

        @pipeline.step
        async def ticks() -> AsyncIterator[int]:
            for number in range(500):
                yielded.append(number)
                yield number

        @pipeline.step(buffer=5)
        async def first(ticks: Each[int]) -> int:
            return ticks

        @pipeline.step(buffer=7, concurrency=2)
        async def second(first: int) -> int:
            await gate.wait()
            return first

        engine = engine_on(MemoryStore(), {"flow": pipeline.build()})
        await engine.open()
        run, _ = await engine.start(Start("flow", b"{}"))
        await asyncio.sleep(100)
        # two being called and one waiting for a slot; the channels; one in each step's hands
        assert len(yielded) <= 3 + 7 + 1 + 5 + 1
        assert len(yielded) >= 12
        gate.set()
        await to_its_end(engine, run.id)
        assert len(yielded) == 500
        await engine.aclose()

    run_virtual(main())


def test_the_engine_does_not_outrun_a_store_that_stands_still():
    async def main():
        pipeline = Pipeline("flow")
        calls = []

        @pipeline.step
        async def item(start: Each[int]) -> int:
            calls.append(start)
            return start

        @pipeline.step
        async def chatty(item: list[int]) -> int:
            return len(item)

        store = FaultyStore(MemoryStore(), script({("append", 3): "hold"}))
        engine = engine_on(store, {"flow": pipeline.build()})
        await engine.open()
        run, _ = await engine.start(Start("flow", encode({"start": list(range(5000))})))
        await asyncio.sleep(100)
        assert len(calls) <= 2 * journal.MAX_BYTES // 100  # an envelope has more than that
        store.let_go()
        await to_its_end(engine, run.id)
        assert len(calls) == 5000
        await engine.aclose()

    run_virtual(main())
