"""Failures in live runs: what is tried again, what is spared, what is told, and what goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.engine.live.flows import counting, flowing, now, of, values

from millstream.annotations import Each, Stream
from millstream.errors import StepError
from millstream.pipeline import Pipeline
from millstream.policy import Breaker, Buffer, Retry
from millstream.testing.clock import run_virtual


def ended(pipeline: Pipeline) -> list[Any]:
    async def main() -> list[Any]:
        async with flowing(pipeline) as flow:
            return await flow.end()

    return run_virtual(main())


@pytest.mark.parametrize("form", ["fused", "async", "concurrent"])
def test_a_flood_of_errors_does_not_flood_the_log(form):
    p = Pipeline("p", live=True)
    p.add("s", counting(30_000), executor="inline")

    def plain(s: Each[int]) -> int:
        if s % 3:
            raise StepError("no", code=f"code_{s % 3}")
        return s

    async def later(s: Each[int]) -> int:
        if s % 3000 == 0:
            await asyncio.sleep(0.7)
        return plain(s)

    policies: dict[str, Any] = {"concurrency": 4} if form == "concurrent" else {}
    p.add("f", plain if form == "fused" else later, executor="inline", publish="never", **policies)
    events = ended(p)
    failed = of(events, "step.failed", "f")
    assert sum(e.value.get("count", 1) for e in failed) == 20_000
    assert len([e for e in failed if "count" not in e.value]) >= 5
    assert len(failed) <= 90
    assert {e.value["code"] for e in failed} == {"code_1", "code_2"}
    (told,) = events[-1].value["missing"]
    assert (told["step"], told["count"]) == ("f", 20_000)
    assert events[-1].value["stats"]["failed"] == 20_000


def test_order_holds_however_long_each_takes_and_however_often_it_is_tried():
    p = Pipeline("p", live=True)
    p.add("s", counting(60), executor="inline")
    tried: dict[int, int] = {}

    @p.step(
        concurrency=7,
        timeout=1,
        retry=Retry(attempts=3, base=0.1, budget=5, reserve=1000),
        publish="always",
    )
    async def f(s: Each[int]) -> int:
        tried[s] = tried.get(s, 0) + 1
        await asyncio.sleep(5 if s % 5 == 0 and tried[s] == 1 else (s * 7 % 10) / 20)
        if s % 20 == 3:
            raise ValueError("always")
        return s

    events = ended(p)
    assert values(events, "f") == [n for n in range(60) if n % 20 != 3]
    assert tried == {n: 2 if n % 5 == 0 else (3 if n % 20 == 3 else 1) for n in range(60)}
    assert events[-1].value["stats"]["retries"] == 12 + 6
    codes = [e.value["code"] for e in of(events, "step.failed", "f")]
    assert codes == ["step_error"] * 3


def test_retries_have_a_budget():
    p = Pipeline("p", live=True)
    p.add("s", counting(200), executor="inline")
    calls: list[int] = []

    @p.step(retry=Retry(attempts=10, base=0, budget=0.1, reserve=5))
    async def f(s: Each[int]) -> int:
        calls.append(s)
        raise ValueError("down")

    ended(p)
    assert 200 + 20 <= len(calls) <= 200 + 5 + 20 + 1


def test_an_open_breaker_spares_the_step_and_a_trial_closes_it():
    p = Pipeline("p", live=True)
    p.add("s", counting(120, pause=1), executor="inline")
    called: list[float] = []
    began: list[float] = []

    def cheap(s: Each[int]) -> int:
        return -1

    @p.step(breaker=Breaker(failures=3, per=60, open_for=30), fallback=cheap)
    async def f(s: Each[int]) -> int:
        began.append(began[0] if began else now())
        called.append(now() - began[0])
        if 10 <= s < 80:
            raise ConnectionError("down")
        return s

    events = ended(p)
    got = values(events, "f")
    assert len(got) == 120
    assert got[:10] == list(range(10))
    assert got[10:102] == [-1] * 92
    assert got[102:] == list(range(102, 120))
    assert [round(at) for at in called[:15]] == [*range(13), 42, 72]
    told = of(events, "step.degraded", "f")
    assert [e.value["code"] for e in told] == ["step_error"] * 3
    assert all(e.value["fallback"] and e.value["open_for"] == 30 for e in told)
    assert len(of(events, "step.recovered", "f")) == 1
    fallbacks = [e for e in of(events, "step.result", "f") if e.fallback]
    assert len(fallbacks) == 92
    assert events[-1].value["partial"] is False


def test_without_a_fallback_messages_fail_fast_while_the_breaker_is_open():
    p = Pipeline("p", live=True)
    p.add("s", counting(20, pause=1), executor="inline")

    @p.step(breaker=Breaker(failures=2, open_for=100))
    async def f(s: Each[int]) -> int:
        raise ConnectionError("down")

    failed = of(ended(p), "step.failed", "f")
    assert [e.value["code"] for e in failed] == ["step_error"] * 2 + ["breaker_open"] * 18


@pytest.mark.parametrize("kind", ["inline", "async"])
def test_a_source_begins_anew_and_its_numbers_go_on(kind):
    p = Pipeline("p", live=True)
    begun: list[int] = []

    def numbers() -> Iterator[int]:
        begun.append(1)
        yield from range(5)
        if len(begun) < 3:
            raise ConnectionError("cut")

    async def later() -> AsyncIterator[int]:
        for n in numbers():
            yield n

    source = numbers if kind == "inline" else later
    p.add("s", source, executor="inline", retry=Retry(attempts=3, base=1))
    p.add("f", lambda s: s, executor="inline", publish="always")
    events = ended(p)
    assert values(events, "f") == [0, 1, 2, 3, 4] * 3
    assert [e.item for e in of(events, "step.result", "f")] == list(range(1, 16))
    failed = of(events, "step.failed", "s")
    assert [e.value["will_retry"] for e in failed] == [True, True]
    assert events[-1].value["stats"]["retries"] == 2


@pytest.mark.parametrize("kind", ["inline", "async"])
@pytest.mark.parametrize("optional", [False, True])
def test_a_source_that_fails_for_good(kind, optional):
    p = Pipeline("p", live=True)

    def numbers() -> Iterator[int]:
        yield from range(3)
        raise StepError("cut", code="line_cut")

    async def later() -> AsyncIterator[int]:
        for n in numbers():
            yield n

    p.add("bad", numbers if kind == "inline" else later, executor="inline", optional=optional)
    p.add("good", counting(5, pause=1), executor="inline")
    p.add("f", lambda bad: bad, executor="inline", publish="always")
    p.add("g", lambda good: good, executor="inline", publish="always")
    events = ended(p)
    if optional:
        assert values(events, "f") == [0, 1, 2]
        assert values(events, "g") == [0, 1, 2, 3, 4]
        assert events[-1].type == "run.completed"
        assert events[-1].value["missing"] == [
            {"step": "bad", "code": "line_cut", "message": "cut", "count": 1}
        ]
    else:
        assert events[-1].type == "run.failed"
        assert (events[-1].value["code"], events[-1].value["step"]) == ("line_cut", "bad")


def test_a_transformer_goes_on_behind_the_message_that_it_fell_over():
    p = Pipeline("p", live=True)
    p.add("s", counting(10), executor="inline")

    @p.step(retry=Retry(attempts=2, base=0.1, cap=1))
    async def w(s: Stream[int]) -> AsyncIterator[int]:
        async for each in s:
            await asyncio.sleep(1)
            if each % 4 == 2:
                raise ValueError("two")
            yield each

    assert values(ended(p), "w") == [n for n in range(10) if n % 4 != 2]


def test_failures_in_a_row_use_up_the_attempts():
    p = Pipeline("p", live=True)
    p.add("s", counting(10), executor="inline")

    @p.step(retry=Retry(attempts=3, base=0.1, cap=10))
    async def w(s: Stream[int]) -> AsyncIterator[int]:
        async for _ in s:
            raise ValueError("each")
        yield 1

    events = ended(p)
    assert events[-1].type == "run.failed"
    assert [e.value["will_retry"] for e in of(events, "step.failed")] == [True, True, False]


def test_an_optional_step_gives_none_where_it_fails():
    for executor in ("inline", "async"):
        p = Pipeline("p", live=True)
        p.add("s", counting(4), executor="inline")

        def plain(s: Each[int]) -> int:
            return 10 // (s - 1)

        async def later(s: Each[int]) -> int:
            return plain(s)

        p.add("f", later if executor == "async" else plain, executor="inline", optional=True)
        p.add("g", lambda f: f, executor="inline", publish="always")
        assert values(ended(p), "g") == [-10, None, 10, 5]


def test_what_ends_a_process_only_fails_a_message():
    p = Pipeline("p", live=True)
    p.add("s", counting(3), executor="inline")

    def plain(s: Each[int]) -> int:
        raise SystemExit(3)

    async def later(s: Each[int]) -> int:
        raise asyncio.CancelledError

    p.add("f", plain, executor="inline")
    p.add("g", later)
    p.add("h", later, concurrency=2)
    events = ended(p)
    assert [len(of(events, "step.failed", name)) for name in "fgh"] == [3, 3, 3]
    assert events[-1].type == "run.completed"


def test_drops_are_told_once_a_second_at_most_and_in_full():
    p = Pipeline("p", live=True)
    p.add("s", counting(4000, pause=0.01), executor="inline")

    def classed(value: int) -> Any:
        return "error" if value % 100 == 0 else "ui-update"

    @p.step(buffer=Buffer(size=3, on_full="drop_lowest", priority=classed), publish="always")
    async def slow(s: Each[int]) -> int:
        await asyncio.sleep(0.1)
        return s

    events = ended(p)
    told = of(events, "flow.dropped", "slow")
    assert len(told) <= 43
    assert {(e.value["edge"], e.value["cause"]) for e in told} == {("s:out->slow:s", "full")}
    assert {e.value["class"] for e in told} == {"ui-update"}
    got = values(events, "slow")
    assert sum(e.value["count"] for e in told) + len(got) == 4000
    assert [n for n in got if n % 100 == 0] == list(range(0, 4000, 100))


def test_a_stream_knows_what_was_lost_before_it():
    p = Pipeline("p", live=True)
    p.add("s", counting(100), executor="inline")

    @p.step(buffer=Buffer(size=10, on_full="drop_oldest"))
    async def w(s: Stream[int]) -> AsyncIterator[tuple[int, int]]:
        async for each in s:
            yield each, s.lost

    got = values(ended(p), "w")
    assert got[-1][1] + len(got) == 100
