"""The engine from outside: starting, ends, cancelling, draining, leases."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engines import WISH, Shared, engine, events, napping, sleeper, virtual

from millstream.annotations import Each
from millstream.context import Context
from millstream.engine.engine import Start
from millstream.engine.runner import STOP_GRACE
from millstream.errors import Conflict, NotFound, StepError, Unavailable
from millstream.events import encode
from millstream.pipeline import Pipeline
from millstream.store import Cancellation
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import FaultyStore, script

# --- starting -------------------------------------------------------------------------------------


@virtual
async def test_a_key_starts_one_run_and_another_input_is_refused():
    found = engine(sleeper())
    await found.open()
    first, known = await found.start(napping(1, key="k", fingerprint="a"))
    again, known_again = await found.start(napping(1, key="k", fingerprint="a"))
    assert (first.id, known, known_again) == (again.id, False, True)
    with pytest.raises(Conflict, match="use a new key"):
        await found.start(napping(2, key="k", fingerprint="b"))
    with pytest.raises(NotFound, match="there are: p"):
        await found.start(Start("q", b"{}"))
    await found.aclose()
    with pytest.raises(Unavailable):
        await found.start(napping(1))


@virtual
async def test_more_runs_than_places_wait_their_turn():
    found = engine(sleeper(), max_runs=2)
    await found.open()
    runs = [await found.start(napping(10)) for _ in range(5)]
    assert found.worker.busy == 2
    ended = [(await events(found, run.id))[-1] for run, _ in runs]
    assert {e.type for e in ended} == {"run.completed"}
    began = virtual_now()
    assert [round(began - e.timestamp) for e in ended] == [20, 20, 10, 10, 0]
    await found.aclose()


@virtual
async def test_many_starts_at_once_never_take_more_places_than_there_are():
    held = FaultyStore(MemoryStore(), script({("create", n): "hold" for n in range(1, 11)}))
    found = engine(sleeper(), held, max_runs=3)
    await found.open()
    starts = [asyncio.create_task(found.start(napping(10))) for _ in range(10)]
    await held.holding(10)
    held.let_go()
    await asyncio.gather(*starts)
    assert found.worker.busy <= 3
    await found.aclose()


@virtual
async def test_an_input_that_no_longer_fits_ends_the_run():
    found = engine(sleeper())
    await found.open()
    run, _ = await found.start(Start("p", encode({"seconds": "soon"})))
    log = await events(found, run.id)
    assert log[-1].type == "run.failed"
    assert log[-1].value["code"] == "input_invalid"
    await found.aclose()


# --- ends -----------------------------------------------------------------------------------------


@virtual
async def test_a_deadline_that_has_passed_begins_no_step():
    found = engine(sleeper(), max_runs=1)
    await found.open()
    await found.start(napping(100))
    late, _ = await found.start(napping(1, timeout=5))
    log = await events(found, late.id)
    assert [e.type for e in log] == ["run.queued", "run.started", "run.failed"]
    assert log[-1].value["code"] == "deadline_exceeded"
    await found.aclose()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no"), "ValueError: no"),
        (KeyboardInterrupt, None),
        (SystemExit(3), "raised SystemExit"),
        (asyncio.CancelledError(), "raised CancelledError"),
        (StopAsyncIteration(), "StopAsyncIteration"),
        (StepError("broken", code="own"), "broken"),
    ],
)
def test_whatever_a_step_raises_the_run_ends(error, said):
    pipeline = Pipeline("p")

    @pipeline.step
    async def raises(start: str) -> str:
        raise error

    async def main():
        found = engine(pipeline)
        await found.open()
        run, _ = await found.start(Start("p", encode({"start": "a"})))
        log = await events(found, run.id)
        assert log[-1].type == "run.failed"
        assert said in log[-1].value["message"]
        assert log[-1].value["step"] == "raises"
        await found.aclose()

    if said is None:
        with pytest.raises(KeyboardInterrupt):
            run_virtual(main())
    else:
        run_virtual(main())


def test_what_has_no_json_form_fails_its_step_and_says_the_way_out():
    pipeline = Pipeline("p")

    @pipeline.step
    async def returns(start: str) -> Any:
        return object()

    @pipeline.step
    async def yields(start: str) -> AsyncIterator[Any]:
        yield 1
        yield object()

    @pipeline.step
    async def tells(start: str, ctx: Context) -> int:
        ctx.emit("own.event", object())
        return 1

    for name in ("returns", "yields", "tells"):
        alone = Pipeline("p")
        alone.step(pipeline.build().steps[name].function)

        async def main(alone=alone):
            found = engine(alone)
            await found.open()
            run, _ = await found.start(Start("p", encode({"start": "a"})))
            log = await events(found, run.id)
            assert log[-1].value["code"] == "not_encodable"
            assert "internal=True" in log[-1].value["message"]
            await found.aclose()

        run_virtual(main())


def test_a_result_of_megabytes_goes_through_whole():
    pipeline = Pipeline("p")

    @pipeline.step
    async def big(start: str) -> list[str]:
        return [start * 1000 for _ in range(3000)]

    @pipeline.step
    async def count(big: Each[str]) -> int:
        return len(big)

    @pipeline.step
    async def total(count: list[int]) -> int:
        return sum(count)

    async def main():
        found = engine(pipeline)
        await found.open()
        run, _ = await found.start(Start("p", encode({"start": "x"})))
        log = await events(found, run.id)
        assert log[-1].type == "run.completed"
        assert (await found.document(run.id)).result == 3_000_000
        await found.aclose()

    run_virtual(main())


# --- cancelling -----------------------------------------------------------------------------------


@virtual
async def test_cancelling_before_at_and_after_the_start_twice_and_too_late():
    found = engine(sleeper(), max_runs=1)
    await found.open()
    running, _ = await found.start(napping(100))
    queued, _ = await found.start(napping(100))
    assert await found.cancel(queued.id, WISH)
    assert await found.cancel(running.id, WISH)
    await found.cancel(running.id, Cancellation(by="other", reason="later"))
    for run in (running, queued):
        log = await events(found, run.id)
        assert log[-1].type == "run.cancelled"
        assert log[-1].value == {"by": "test", "reason": "enough"}
        assert not await found.cancel(run.id, WISH)
    with pytest.raises(NotFound):
        await found.cancel("nobody", WISH)
    await found.aclose()


@virtual
async def test_a_run_with_an_owner_is_cancelled_by_its_owner_alone():
    found = engine(sleeper())
    await found.open()
    run, _ = await found.start(napping(100, owner="ann"))
    for owner in (None, "bob"):
        with pytest.raises(NotFound):
            await found.cancel(run.id, WISH, owner=owner)
    assert await found.cancel(run.id, WISH, owner="ann")
    assert (await events(found, run.id))[-1].type == "run.cancelled"
    await found.aclose()


@virtual
async def test_what_nobody_watches_is_cancelled_and_what_is_watched_is_not():
    found = engine(sleeper(), max_runs=2)
    await found.open()
    left, _ = await found.start(napping(1000, unwatched=10, owner="ann"))
    watched, _ = await found.start(napping(200, unwatched=10))
    queued, _ = await found.start(napping(1000, unwatched=10))
    log = await events(found, watched.id)
    assert log[-1].type == "run.completed"
    for run in (left, queued):
        last = (await found.events(run.id))[-1]
        assert last.type == "run.cancelled"
        assert last.value["reason"] == "nobody has watched it for 10 s"
        assert last.timestamp - run.created < 13
    await asyncio.sleep(1)
    assert found._unwatched == {}
    await found.aclose()


@virtual
async def test_another_engine_hears_of_a_cancellation():
    store = Shared(MemoryStore())
    one, other = engine(sleeper(), store), engine(sleeper(), store, name="o")
    await one.open()
    await other.open()
    run, _ = await one.start(napping(1000))
    follower = asyncio.create_task(events(other, run.id))
    await asyncio.sleep(1)
    assert await other.cancel(run.id, WISH)
    log = await follower
    assert log[-1].type == "run.cancelled"
    assert log[-1].timestamp - run.created < 10
    await one.aclose()
    await other.aclose()


def stubborn() -> tuple[Pipeline, list[str]]:
    """A step that takes no notice of being cancelled."""
    pipeline, told = Pipeline("p"), []

    @pipeline.step
    async def deaf(seconds: float, ctx: Context) -> AsyncIterator[int]:
        for number in itertools.count():
            try:
                await asyncio.sleep(seconds)
                yield number
            except asyncio.CancelledError:
                told.append("cancelled")
            ctx.progress(0.5)
            if len(told) > 3:
                return

    return pipeline, told


@virtual
async def test_a_step_that_does_not_stop_is_left_behind_and_cut_off():
    pipeline, _ = stubborn()
    found = engine(pipeline, drain=0)
    await found.open()
    run, _ = await found.start(Start("p", encode({"seconds": 30.0})))
    await asyncio.sleep(35)
    asked = virtual_now()
    await found.cancel(run.id, WISH)
    log = await events(found, run.id)
    assert log[-1].type == "run.cancelled"
    assert log[-1].timestamp - asked <= STOP_GRACE + 1
    await asyncio.sleep(200)
    assert len(await found.events(run.id)) == len(log)
    await found.aclose()


# --- draining, leases -----------------------------------------------------------------------------


@virtual
async def test_draining_waits_then_hands_back_and_another_engine_goes_on():
    store = Shared(MemoryStore())
    one = engine(sleeper(), store, drain=5.0)
    await one.open()
    short, _ = await one.start(napping(3))
    long, _ = await one.start(napping(50))
    began = virtual_now()
    await one.aclose()
    assert 5 <= virtual_now() - began < 7
    assert (await one.events(short.id))[-1].type == "run.completed"
    last = (await one.events(long.id))[-1]
    assert (last.type, last.value["code"]) == ("step.failed", "interrupted")
    other = engine(sleeper(), store, name="o")
    await other.open()
    log = await events(other, long.id)
    assert log[-1].type == "run.completed"
    assert [e.attempt for e in log if e.type == "step.started"] == [1, 2]
    await other.aclose()


@virtual
async def test_draining_ends_though_the_store_is_out_of_reach():
    store = FaultyStore(MemoryStore(), lambda method, n: "before" if method == "append" else None)
    found = engine(sleeper(), store, drain=1.0, lease_ttl=6.0)
    await found.open()
    await found.start(napping(50))
    await asyncio.sleep(1)
    began = virtual_now()
    await found.aclose()
    assert virtual_now() - began < 60
    assert found.worker.busy == 0


@virtual
async def test_an_engine_that_slept_through_its_lease_takes_its_own_run_up_again():
    class Sleepy(Shared):
        awake = asyncio.Event()

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._store, name)

            async def call(*args: Any, **kwargs: Any) -> Any:
                await self.awake.wait()
                return await method(*args, **kwargs)

            return call

    pipeline, at_once = Pipeline("p"), [0, 0]

    @pipeline.step
    async def nap(seconds: float) -> float:
        at_once[0] += 1
        at_once[1] = max(at_once)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(2)  # it takes its time to end
            at_once[0] -= 1
        return seconds

    store = Sleepy(MemoryStore())
    store.awake.set()
    found = engine(pipeline, store, lease_ttl=6.0, poll=1.0)
    await found.open()
    run, _ = await found.start(napping(60))
    await asyncio.sleep(1)
    store.awake.clear()
    await asyncio.sleep(30)
    store.awake.set()
    log = await events(found, run.id)
    assert log[-1].type == "run.completed"
    assert [e.seq for e in log] == list(range(1, len(log) + 1))
    assert at_once == [0, 1], "the old attempt was still under way when the new one began"
    await asyncio.sleep(20)
    assert found.worker.busy == 0
    assert len(found.tails) == 0
    await found.aclose()
