"""Looking into a live run and changing it while it goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.engine.live.flows import Flow, counting, flowing, of, until

from millstream.annotations import Each, From, Stream
from millstream.errors import NotFound, PipelineError, RequestError
from millstream.pipeline import Pipeline
from millstream.policy import Buffer
from millstream.store import Cancellation
from millstream.testing.clock import run_virtual


def chain(form: str, got: dict[str, list[Any]], **last: Any) -> Pipeline:
    """s -> a -> b -> c, and s -> d: fused with its source, behind one, or of async steps."""
    p = Pipeline("p", live=True)
    p.add("s", counting(None, pause=1), executor="inline")
    if form == "with source":
        p = Pipeline("p", live=True)

        def s() -> Iterator[int]:
            yield from range(1_000_000)

        p.add("s", s, executor="inline")
    for name, source in (("a", "s"), ("b", "a"), ("c", "b"), ("d", "s")):

        def note(x: Each[int], name: str = name) -> int:
            got.setdefault(name, []).append(x)
            return x

        async def later(x: Each[int], name: str = name) -> int:
            return note(x, name)

        function = later if form == "async" else note
        policies = last if name == "c" else {}
        p.add(name, function, arrows={"x": From(source)}, executor="inline", **policies)
    if form == "with source":  # which no clock holds up

        async def pacing(d: int) -> None:
            await asyncio.sleep(0.001)

        p.add("pace", pacing, buffer=1)
    return p


def controlled(p: Pipeline, story: Any) -> None:
    async def main() -> None:
        async with flowing(p) as flow:
            flow.unwatch()
            await flow.begun()
            await story(flow)
            check(flow)
            await flow.engine.cancel(flow.run, Cancellation("t", "t"))

    run_virtual(main())


def check(flow: Flow) -> None:
    """Nothing is lost but what is counted, in whatever was taken apart."""
    for edge in flow.live.statistics().edges.values():
        assert edge.sent == edge.delivered + edge.dropped + edge.waiting, edge


FORMS = pytest.mark.parametrize("form", ["with source", "behind one", "async"])


@FORMS
def test_a_paused_step_holds_up_those_before_it_alone(form):
    got: dict[str, list[Any]] = {}

    async def story(flow: Flow) -> None:
        await asyncio.sleep(3.5)
        await flow.live.pause("b")
        await asyncio.sleep(0)
        held, others = len(got.get("b", [])), len(got["d"])
        await asyncio.sleep(20)
        assert len(got["b"]) == held == len(got["c"])
        assert len(got["d"]) > others
        told = flow.live.statistics()
        assert told.steps["b"].state == "paused"
        assert told.edges["a:out->b:x"].waiting > 0
        await flow.live.resume("b")
        await asyncio.sleep(2)
        assert len(got["b"]) > held
        assert flow.live.statistics().steps["b"].state == "running"
        for name in "abcd":
            assert got[name] == list(range(len(got[name])))

    controlled(chain(form, got), story)


@FORMS
def test_what_comes_to_a_stopped_step_is_dropped_and_counted(form):
    got: dict[str, list[Any]] = {}

    async def story(flow: Flow) -> None:
        await asyncio.sleep(3.5)
        await flow.live.stop("b")
        before = len(got["b"])
        await asyncio.sleep(10)
        edge = flow.live.statistics().edges["a:out->b:x"]
        assert edge.dropped == edge.drops["stopped"]["data-flow"] > 0
        assert len(got["b"]) == before
        await flow.live.start("b")
        await asyncio.sleep(2)
        lost = sorted(set(range(got["b"][-1])) - set(got["b"]))
        assert len(lost) == flow.live.statistics().edges["a:out->b:x"].dropped
        assert lost == list(range(lost[0], lost[-1] + 1))
        assert sum(e.value["count"] for e in of(await flow.engine.events(flow.run), "flow.dropped"))

    controlled(chain(form, got), story)


def test_a_stopped_source_gives_nothing_and_begins_anew():
    for form in ("with source", "behind one"):
        got: dict[str, list[Any]] = {}

        async def story(flow: Flow, got: dict[str, list[Any]] = got) -> None:
            await asyncio.sleep(3.5)
            await flow.live.stop("s")
            await asyncio.sleep(0.1)
            count = len(got["a"])
            await asyncio.sleep(10)
            assert len(got["a"]) == count
            await flow.live.start("s")
            await asyncio.sleep(2.5)
            assert got["a"][count:][:2] == [0, 1]

        controlled(chain(form, got), story)


@FORMS
def test_one_step_is_exchanged_and_the_others_go_on(form):
    got: dict[str, list[Any]] = {}

    async def story(flow: Flow) -> None:
        await asyncio.sleep(3.5)
        if form == "async":

            async def later(x: int) -> int:
                return -x - 1

            negative: Any = later
        else:

            def now(x: int) -> int:
                return -x - 1

            negative = now
        before = flow.live.statistics().steps["b"].segment
        await flow.live.configure("b", negative)
        await asyncio.sleep(5)
        assert flow.live.statistics().steps["b"].segment == before
        turned = next(at for at, x in enumerate(got["c"]) if x < 0)
        assert got["c"][:turned] == list(range(turned))
        assert got["c"][turned:] == [-x - 1 for x in range(turned, len(got["c"]))]

    controlled(chain(form, got), story)


def test_a_transformer_is_exchanged_and_reads_on():
    got: list[Any] = []
    p = Pipeline("p", live=True)
    p.add("s", counting(None, pause=1), executor="inline")

    @p.step
    async def w(s: Stream[int]) -> AsyncIterator[int]:
        async for each in s:
            yield each

    @p.step(executor="inline")
    def c(w: Each[int]) -> None:
        got.append(w)

    async def story(flow: Flow) -> None:
        async def tenfold(s: Stream[int]) -> AsyncIterator[int]:
            async for each in s:
                yield each * 10

        await asyncio.sleep(3.5)
        await flow.live.configure("w", tenfold)
        await asyncio.sleep(3)
        assert got == [0, 1, 2, 3, 40, 50, 60]
        await flow.live.stop("w")
        await asyncio.sleep(2)
        await flow.live.start("w")
        await asyncio.sleep(2)
        assert got[-2:] == [90, 100]

    controlled(p, story)


def test_a_function_of_another_form_is_refused():
    async def story(flow: Flow) -> None:
        with pytest.raises(PipelineError, match="take the same parameters"):
            await flow.live.configure("b", lambda y: y)
        with pytest.raises(PipelineError, match="a generator, and the step a plain function"):
            await flow.live.configure("b", _yielding)
        with pytest.raises(NotFound, match="did you mean"):
            await flow.live.pause("bb")

    def _yielding(x: int) -> Iterator[int]:
        yield x

    controlled(chain("behind one", {}), story)


def test_two_steps_of_a_blocked_segment_are_taken_apart():
    """Neither waits for the other, nor for a reader that is paused."""
    got: dict[str, list[Any]] = {}

    async def story(flow: Flow) -> None:
        await flow.live.pause("c")
        await asyncio.sleep(10)
        for step in ("b", "a", "s", "d"):
            await flow.live.pause(step)
        assert all(flow.live.statistics().steps[s].state == "paused" for s in "abcds")
        for step in ("s", "a", "b", "c", "d"):
            await flow.live.resume(step)
        await asyncio.sleep(20)
        assert len(got["c"]) > 15
        assert got["c"] == list(range(len(got["c"])))

    controlled(chain("with source", got, buffer=Buffer(size=4)), story)


@FORMS
def test_taps_sample_what_flows_and_cost_nothing_when_closed(form):
    got: dict[str, list[Any]] = {}

    async def story(flow: Flow) -> None:
        tap = flow.live.tap("b", per_second=0.5)
        edge = flow.live.tap("s:out->a:x")
        await asyncio.sleep(6.5)
        samples = tap.take()
        assert 3 <= len(samples) <= 5
        assert all(sample.value == sample.number - 1 for sample in samples)
        assert tap.seen > 0
        await edge.wait()
        assert edge.take()
        tap.close()
        seen = tap.seen
        await asyncio.sleep(3)
        assert tap.seen == seen
        with pytest.raises(NotFound):
            flow.live.tap("b:nowhere")
        with pytest.raises(RequestError):
            flow.live.tap("b", per_second=0)

    controlled(chain(form, got), story)


def test_before_it_has_begun_and_after_its_end():
    p = Pipeline("p", live=True)
    p.add("s", counting(3, pause=1), executor="inline")

    async def main() -> None:
        async with flowing(p) as flow:
            live = await flow.begun()
            await flow.end()
            await until(lambda: flow.engine.live(flow.run) is None)
            assert flow.engine.live("nobody") is None
            assert live.statistics().steps["s"].state == "ended"
            await live.pause("s")
            assert live.statistics().steps["s"].state == "ended"

    run_virtual(main())


def test_statistics_of_fused_steps():
    async def story(flow: Flow) -> None:
        await asyncio.sleep(5)
        told = flow.live.statistics()
        count = told.steps["s"].made
        assert count > 1000
        assert [told.steps[name].made for name in "abcd"] == [count] * 4
        assert {told.steps[name].segment for name in "sabcd"} == {1}
        assert told.steps["pace"].segment is None
        edge = told.edges["a:out->b:x"]
        assert (edge.fused, edge.sent, edge.delivered) == (True, count, count)
        assert told.steps["a"].seconds.count >= count // 2048
        assert told.edges["d:out->pace:d"].latency.p50 > 0.0005

    controlled(chain("with source", {}), story)
