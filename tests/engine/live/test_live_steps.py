"""What live steps do with messages: each kind of step, seen from the log."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Annotated, Any

import pytest
from tests.engine.live.flows import counting, flowing, now, of, values

from millstream.annotations import NOTHING, Batch, Each, From, In, Nothing, Out, Stream
from millstream.context import Context
from millstream.pipeline import Pipeline
from millstream.policy import Buffer
from millstream.store import Cancellation
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual


def ended(pipeline: Pipeline, input: Any = None, **start: Any) -> list[Any]:
    """The events of a run that ends by itself."""

    async def main() -> list[Any]:
        async with flowing(pipeline, input, **start) as flow:
            return await flow.end()

    return run_virtual(main())


@pytest.mark.parametrize("pause", [None, 0, 0.5])
@pytest.mark.parametrize("executor", ["inline", "async"])
def test_a_line_of_functions(pause, executor):
    p = Pipeline("p", live=True)
    p.add("s", counting(1000, pause=pause), executor="inline")

    def plain(x: Each[int]) -> int:
        return x * 2

    async def later(x: Each[int]) -> int:
        return x * 2

    p.add("f", plain if executor == "inline" else later, arrows={"x": From("s")}, executor="inline")
    p.add("g", lambda x: x + 1, arrows={"x": From("f")}, executor="inline", publish="always")
    events = ended(p)
    assert values(events, "g") == [2 * n + 1 for n in range(1000)]
    assert [e.item for e in of(events, "step.result", "g")] == list(range(1, 1001))
    assert of(events, "step.started") == []
    assert events[-1].type == "run.completed"
    assert events[-1].value["partial"] is False
    assert events[-1].value["stats"]["calls"] == 3000


def test_one_value_serves_all_messages():
    p = Pipeline("p", live=True)

    @p.step
    def table(gain: int) -> dict[str, int]:
        return {"gain": gain}

    @p.step(executor="inline")
    def s(gain: int) -> Iterator[int]:
        yield from range(gain)

    @p.step(executor="inline")
    def f(s: Each[int], table: dict[str, int], gain: int) -> int:
        return s * table["gain"] * gain

    assert values(ended(p, 3), "f") == [0, 9, 18]


def test_a_step_that_is_called_once_and_fails():
    for optional in (False, True):
        p = Pipeline("p", live=True)

        def table(gain: int) -> int:
            raise ValueError(gain)

        p.add("table", table, optional=optional)
        p.add("s", counting(2), executor="inline")
        p.add("f", lambda s, table: [s, table], executor="inline")
        events = ended(p, 3)
        if optional:
            assert values(events, "f") == [[0, None], [1, None]]
            assert events[-1].value["missing"][0]["step"] == "table"
        else:
            assert (events[-1].type, events[-1].value["step"]) == ("run.failed", "table")


def test_filters_ports_and_joins_by_number():
    p = Pipeline("p", live=True)
    p.add("s", counting(100), executor="inline")

    @p.step(executor="inline")
    def third(s: Each[int]) -> int | Nothing:
        return s if s % 3 == 0 else NOTHING

    @p.step(executor="inline", ports=("even", "odd"), publish="always")
    def switch(s: Each[int]) -> Out[int]:
        return Out("odd" if s % 2 else "even", s)

    @p.step
    async def odd(x: Annotated[Each[int], From("switch", port="odd")]) -> int:
        await asyncio.sleep(0.01)
        return x

    @p.step(executor="inline")
    def both(third: int, odd: int) -> tuple[int, int]:
        return third, odd

    events = ended(p)
    assert values(events, "both") == [[n, n] for n in range(3, 100, 6)]
    given = {e.item: e.value for e in of(events, "step.result", "switch")}
    assert given == {n + 1: {"port": ("even", "odd")[n % 2], "value": n} for n in range(100)}


def test_several_steps_merge_into_one_parameter_by_name():
    p = Pipeline("p", live=True)
    p.add("fast", counting(3, pause=1), executor="inline")
    p.add("slow", counting(2, pause=2.5), executor="inline")

    @p.step(executor="inline")
    def log(x: Annotated[Each[In[int]], From("fast"), From("slow", tag="late")]) -> str:
        return f"{x.port} {x.value}"

    got = values(ended(p), "log")
    assert sorted(got[:2]) == ["fast 0", "late 0"]
    assert got[2:] == ["fast 1", "fast 2", "late 1"]


def test_a_transformer_reads_several_streams_and_ends_in_one_value():
    p = Pipeline("p", live=True)
    p.add("a", counting(4), executor="inline")
    p.add("b", counting(6), executor="inline")

    @p.step
    async def pairs(a: Stream[int], b: Stream[int]) -> AsyncIterator[tuple[int, int]]:
        async for left in a:
            yield left, await anext(b)

    @p.step
    async def total(pairs: Stream[tuple[int, int]]) -> int:
        return sum([sum(pair) async for pair in pairs])

    events = ended(p)
    assert values(events, "total") == [12]
    assert of(events, "step.result", "total")[0].item == 1


def test_a_step_that_yields_per_message():
    p = Pipeline("p", live=True)
    p.add("s", counting(4), executor="inline")

    @p.step(executor="inline")
    def some(s: Each[int]) -> Iterator[str]:
        for n in range(s):
            if s == 3 and n == 2:
                raise ValueError("enough")
            yield f"{s}.{n}"

    events = ended(p)
    assert values(events, "some") == ["1.0", "2.0", "2.1", "3.0", "3.1"]
    assert len(of(events, "step.failed", "some")) == 1
    assert events[-1].value["missing"][0]["count"] == 1


@pytest.mark.parametrize("pause", [0, 0.001, 0.004, 1.0])
def test_batches_are_of_so_many_or_so_long_and_none_is_lost(pause):
    p = Pipeline("p", live=True)
    p.add("s", counting(23, pause=pause), executor="inline")
    began: list[float] = []

    @p.step(executor="inline", buffer=Buffer(batch=5, linger=0.01))
    def rows(s: Batch[int]) -> list[int]:
        began.append(now())
        return list(s)

    got = values(ended(p), "rows")
    assert [n for batch in got for n in batch] == list(range(23))
    expected = {0: 5, 0.001: 5, 0.004: 3, 1.0: 1}[pause]
    assert {len(batch) for batch in got[:-1]} == {expected}


def test_a_slow_step_stops_the_source_and_no_one_else():
    p = Pipeline("p", live=True)
    given: list[int] = []

    @p.step
    async def s() -> AsyncIterator[int]:
        for n in range(100):
            given.append(n)
            yield n

    @p.step(buffer=2)
    async def slow(s: Each[int]) -> int:
        await asyncio.sleep(1)
        return s

    async def main() -> None:
        async with flowing(p) as flow:
            await flow.begun()
            await asyncio.sleep(10.5)
            edge = flow.live.statistics().edges["s:out->slow:s"]
            assert edge.waiting <= edge.size == 2
            assert len(values(flow.events, "slow")) <= 11
            assert edge.stops > 0
            assert values(await flow.end(), "slow") == list(range(100))

    run_virtual(main())


def test_published_while_somebody_watches_always_or_never():
    p = Pipeline("p", live=True)
    p.add("s", counting(None, pause=1), executor="inline")
    p.add("w", lambda x: x, arrows={"x": From("s")}, executor="inline")
    p.add("a", lambda x: x, arrows={"x": From("s")}, executor="inline", publish="always")
    p.add("n", lambda x: x, arrows={"x": From("s")}, executor="inline", publish="never")

    async def main() -> None:
        async with flowing(p) as flow:
            await asyncio.sleep(5.5)
            flow.unwatch()
            await asyncio.sleep(5)
            follower = await flow.engine.follow(flow.run)
            await asyncio.sleep(5)
            await flow.engine.cancel(flow.run, Cancellation("t", "t"))
            follower.close()
            events = await flow.engine.events(flow.run)
            assert values(events, "a") == list(range(16))
            assert values(events, "w") == [0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
            assert values(events, "n") == []
            document = await flow.engine.document(flow.run)
            assert document.result == {"w": 15, "a": 15}

    run_virtual(main())


def test_a_context_tells_and_knows_the_time():
    p = Pipeline("p", live=True)
    p.add("s", counting(3, pause=1), executor="inline")
    heard: list[float] = []

    @p.step(executor="inline")
    def alert(s: Each[int], ctx: Context) -> int:
        heard.append(ctx.now())
        if s == 1:
            ctx.emit("too.high", {"value": s})
        return s

    events = ended(p)
    assert [e.value for e in of(events, "too.high")] == [{"value": 1}]
    assert [round(b - a) for a, b in pairwise(heard)] == [1, 1]


def test_what_has_no_json_form_fails_its_message_alone():
    p = Pipeline("p", live=True)
    p.add("s", counting(3), executor="inline")
    p.add("f", lambda s: object() if s == 1 else s, executor="inline", publish="always")
    events = ended(p)
    assert values(events, "f") == [0, 2]
    assert of(events, "step.failed", "f")[0].value["code"] == "not_encodable"


def test_the_deadline_ends_it():
    p = Pipeline("p", live=True)
    p.add("s", counting(None, pause=1), executor="inline")
    p.add("f", lambda s: s, executor="inline")
    events = ended(p, timeout=3.5)
    assert events[-1].value["code"] == "deadline_exceeded"
    assert values(events, "f") == [0, 1, 2, 3]


def test_handed_back_it_begins_anew_elsewhere_and_its_log_goes_on():
    p = Pipeline("p", live=True)
    p.add("s", counting(4, pause=1), executor="inline")
    p.add("f", lambda s: s, executor="inline", publish="always")

    async def main() -> None:
        store = MemoryStore()
        async with flowing(p, store=store) as flow:
            await flow.seen(lambda event: event.value == 1)
        async with flowing(p, store=store, name="other") as other:
            follower = await other.engine.follow(flow.run)
            while (await follower.next()) is not None:
                pass
            follower.close()
            events = await other.engine.events(flow.run)
            await other.end()
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len(of(events, "run.started")) == 1
        assert values(events, "f") == [0, 1, 0, 1, 2, 3]
        assert events[-1].type == "run.completed"

    run_virtual(main())
