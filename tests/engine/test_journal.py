"""Journals: group commit without a timer, visible only when durable, exact through any fault."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.lifecycle import IllegalTransition
from millstream.engine.journal import MAX_BYTES, Clock, Journal
from millstream.engine.observer import Observer
from millstream.engine.tail import Tail
from millstream.errors import StaleEpoch, StoreError
from millstream.events import STEP_PROGRESS, Event, Segment, decode, encode, flatten, iso
from millstream.store import Mark, Promise, Run, Store
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import FaultyStore, Plan, drawn, script


class Flushes(Observer):
    """How many events each flush had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def flushed(self, events: int, size: int) -> None:
        self.sizes.append(events)


class Watched(Tail):
    """A tail that fails where something is published that the store does not have yet."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__("r", first=1, last=1, ended=False)
        self.store = store
        self.published: list[bytes] = []

    def publish(self, segment: Segment, *, ended: bool) -> None:
        assert set(segment.events) <= set(_now(lines(self.store)))
        self.published += segment.events
        super().publish(segment, ended=ended)


def _now(awaitable: Any) -> Any:
    """The outcome of what a memory store does at once."""
    try:
        awaitable.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it did not do it at once")


async def lines(store: Store) -> list[bytes]:
    return flatten((await store.read("r", 0, max_bytes=10**9)).segments)


class Promising(FaultyStore):
    """Its appends are told by a plain call."""

    def append(  # type: ignore[override]
        self, run: str, epoch: int, segment: Segment, mark: Mark | None = None
    ) -> Promise:
        promise = Promise()

        def tell(done: asyncio.Future[None]) -> None:
            if not done.cancelled():
                promise.settle(done.exception())  # type: ignore[arg-type]

        work = asyncio.ensure_future(super().append(run, epoch, segment, mark))
        work.add_done_callback(tell)
        return promise


stores: list[type[FaultyStore]] = []


@pytest.fixture(scope="module", params=[FaultyStore, Promising], autouse=True)
def _either_way(request):
    """Every test here is of a store that is awaited, and of one that tells."""
    stores.append(request.param)
    yield
    stores.clear()


class Desk:
    """A journal on a run that has been queued, with its store and its tail."""

    def __init__(self, plan: Plan, kept: MemoryStore) -> None:
        self.kept = kept
        self.store = stores[0](self.kept, plan)
        self.flushes = Flushes()
        self.tail = Watched(self.kept)

    async def open(self) -> None:
        first = Segment(1, (encode(Event("r", 1, "run.queued")),))
        made = await self.kept.create(
            Run("r", "mill", virtual_now()), first, worker="w", now=virtual_now(), ttl=60
        )
        assert made.lease is not None
        self.journal = Journal(
            self.store, made.lease, self.tail, clock=Clock(virtual_now), observer=self.flushes
        )
        self.journal.append("run.started")

    async def close(self) -> list[bytes]:
        """Everything that the store has, once the journal has ended well."""
        await self.journal.close()
        assert self.journal.error is None
        return await lines(self.kept)


def at_a_desk(
    work: Callable[[Desk], Awaitable[Any]],
    plan: Plan = lambda *_: None,
    kept: MemoryStore | None = None,
) -> Any:
    async def main() -> Any:
        desk = Desk(plan, kept or MemoryStore())
        await desk.open()
        try:
            return await work(desk)
        finally:
            desk.store.let_go()
            desk.journal.lose()

    return run_virtual(main())


async def breathe() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_the_first_flush_begins_at_once_and_what_gathers_is_the_next():
    async def work(desk: Desk) -> None:
        await desk.store.holding(1)
        for n in range(5):
            desk.journal.append("x.own", data=n)
            await breathe()
        assert desk.store.statistics().calls == 1  # no second append beside the first
        desk.store.let_go()
        await desk.journal.flush()
        desk.journal.append("x.own")
        await desk.journal.flush()
        assert desk.flushes.sizes == [1, 5, 1]

    at_a_desk(work, script({("append", 1): "hold"}))


def test_no_timer_is_set():
    async def work(desk: Desk) -> float:
        for n in range(100):
            desk.journal.append("x.own", data=n)
            await breathe()
        await desk.close()
        return virtual_now()

    async def nothing() -> float:
        return virtual_now()

    assert at_a_desk(work) == run_virtual(nothing())


def test_nothing_is_visible_before_the_store_has_kept_it():
    async def work(desk: Desk) -> None:
        reader = asyncio.ensure_future(desk.tail.wait(1))
        waiter = asyncio.ensure_future(desk.journal.flush())
        await desk.store.holding(1)
        await breathe()
        assert (desk.tail.last, reader.done(), waiter.done()) == (1, False, False)
        desk.store.let_go()
        await asyncio.gather(reader, waiter)
        assert (desk.tail.last, desk.tail.since(1)[0].segment.events) == (
            2,
            tuple((await lines(desk.kept))[1:]),
        )

    at_a_desk(work, script({("append", 1): "hold"}))


moves = st.lists(st.sampled_from(["append", "append", "pen", "progress", "breathe", "flush"]))


@given(moves, st.integers(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_failure_of_unknown_outcome_neither_loses_nor_doubles(moves, seed, before, after):
    """Appends fail, before or after they were done."""
    faults = drawn(random.Random(seed), before=before, after=after * 0.9, methods={"append"})

    async def work(desk: Desk) -> tuple[list[bytes], Desk]:
        pen = desk.journal.pen("step.partial", step="s", item=1, attempt=1, fallback=False)
        for n, move in enumerate(moves):
            match move:
                case "append":
                    desk.journal.append("x.own", data=n)
                case "pen":
                    pen(n)
                case "progress":
                    desk.journal.append(STEP_PROGRESS, step="s", data=n)
                case "breathe":
                    await asyncio.sleep(0.01)
                case "flush":
                    await desk.journal.flush()
                    assert desk.tail.last == desk.journal.seq
        desk.journal.append("run.completed")
        return await desk.close(), desk

    kept, desk = at_a_desk(work, faults)
    told = [decode(line) for line in kept]
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    values = [event.data for event in told[2:-1]]
    assert values == [n for n, move in enumerate(moves) if move in ("append", "pen", "progress")]
    assert told[-1].type == "run.completed"
    assert desk.tail.published == kept[1:]
    assert desk.tail.ended


@pytest.mark.parametrize("last", ["x.own", "run.completed"])
def test_a_store_that_cannot_say_whether_it_kept_a_segment_is_asked_again(last):
    plan = script({("append", 1): "after", ("run", 1): "before", ("run", 2): "before"})

    async def work(desk: Desk) -> list[str]:
        desk.journal.append(last)
        return [decode(line).type for line in await desk.close()]

    assert at_a_desk(work, plan) == ["run.queued", "run.started", last]


class Late(MemoryStore):
    """Its first append is done only after the second one was sent."""

    late: tuple[Any, ...] | None = None
    calls = 0

    async def append(self, run, epoch, segment, mark=None):  # type: ignore[override]
        self.calls += 1
        if self.calls == 1:
            self.late = (run, epoch, segment, mark)
            raise StoreError("the connection broke")
        if self.calls == 2 and self.late:
            await super().append(*self.late)
        await super().append(run, epoch, segment, mark)


@pytest.mark.parametrize("last", ["x.own", "run.completed"])
def test_a_write_that_arrives_late_is_not_written_twice(last):
    async def work(desk: Desk) -> list[str]:
        desk.journal.append(last)
        return [decode(line).type for line in await desk.close()]

    assert at_a_desk(work, kept=Late()) == ["run.queued", "run.started", last]


@given(st.sampled_from(["before", "after"]), st.integers(1, 3))
def test_a_stolen_lease_ends_it_and_nothing_more_is_written(trouble, number):
    plan = script({("append", number): trouble, ("append", number + 1): "steal"})

    async def write(desk: Desk) -> None:
        for n in range(20):
            desk.journal.append("x.own", data=n)
            await desk.journal.flush()

    async def work(desk: Desk) -> None:
        with pytest.raises(StaleEpoch):
            await write(desk)
        before = await lines(desk.kept)
        with pytest.raises(StaleEpoch):
            desk.journal.append("x.own")
        with pytest.raises(StaleEpoch):
            await desk.journal.flush()
        assert await lines(desk.kept) == before

    at_a_desk(work, plan)


fields = st.fixed_dictionaries(
    {
        "step": st.text(min_size=1),
        "item": st.none() | st.integers(0, 99),
        "attempt": st.integers(1, 3),
        "fallback": st.booleans(),
    }
)


@given(fields, st.lists(st.none() | st.text() | st.lists(st.integers()), min_size=1, max_size=4))
def test_a_pen_writes_what_the_journal_would(fields, values):
    async def work(desk: Desk) -> list[bytes]:
        pen = desk.journal.pen("step.partial", **fields)
        for value in values:
            asyncio.get_running_loop()._virtual += 1.0123  # type: ignore[attr-defined]
            sizes.append(pen(value))
            sizes.append(desk.journal.append("step.partial", **fields, data=value))
        return await desk.close()

    sizes: list[int] = []
    kept = at_a_desk(work)[2:]
    assert all(abs(size - len(line)) < 2 for size, line in zip(sizes, kept, strict=True))
    for one, other in zip(kept[::2], kept[1::2], strict=True):
        event = decode(one)
        seq = b'"seq":%d,' % event.seq
        assert one.replace(seq, b'"seq":%d,' % (event.seq + 1), 1) == other


def test_events_bear_the_clocks_time():
    async def work(desk: Desk) -> tuple[list[bytes], float]:
        await asyncio.sleep(12.345)
        desk.journal.append("x.own")
        return await desk.close(), virtual_now()

    kept, now = at_a_desk(work)
    assert decode(kept[-1]).time == iso(now)


@pytest.mark.parametrize("data", ["", "x" * (MAX_BYTES // 8)])
def test_a_writer_that_is_ahead_waits_for_the_store(data):
    async def work(desk: Desk) -> None:
        await desk.store.holding(1)
        sizes: list[int] = []
        while not desk.journal.crowded:
            sizes.append(desk.journal.append("x.own", data=data))
        assert sum(sizes[:-1]) < MAX_BYTES <= sum(sizes)
        waiter = asyncio.ensure_future(desk.journal.room())
        await breathe()
        assert not waiter.done()
        desk.store.let_go()
        await waiter
        assert len(await desk.close()) == 2 + len(sizes)

    at_a_desk(work, script({("append", 1): "hold"}))


FILL = 16
bursts = st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=20)


@given(st.lists(bursts, max_size=3))
def test_progress_does_not_pile_up_while_the_store_lags(rounds):
    """In each round the store holds an append up, while the journal fills and more comes."""
    plan = script({("append", n): "hold" for n in range(1, len(rounds) + 1)})

    async def work(desk: Desk) -> list[bytes]:
        for number, burst in enumerate(rounds):
            await desk.store.holding(1)
            for n in range(FILL):
                desk.journal.append("x.own", data=[number, n, "x" * (MAX_BYTES // FILL)])
            assert desk.journal.crowded
            for n, (step, progress) in enumerate(burst):
                kind = STEP_PROGRESS if progress else "x.more"
                desk.journal.append(kind, step=step, data=[number, n])
            desk.store.let_go()
        return await desk.close()

    told = [decode(line) for line in at_a_desk(work, plan)]
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    sent = [([k, n], *each) for k, burst in enumerate(rounds) for n, each in enumerate(burst)]
    own = [event.data[:2] for event in told if event.type == "x.own"]
    assert own == [[k, n] for k in range(len(rounds)) for n in range(FILL)]
    others = [event.data for event in told if event.type == "x.more"]
    assert others == [data for data, _, progress in sent if not progress]
    left = [(e.data[0], e.step, e.data) for e in told if e.type == STEP_PROGRESS]
    newest = {(data[0], step): data for data, step, progress in sent if progress}
    assert sorted(left) == sorted((*key, data) for key, data in newest.items())


def test_what_cannot_be_told_is_not_appended():
    async def work(desk: Desk) -> None:
        for type, data, error in [
            ("x.own", object(), TypeError),
            ("run.completed", object(), TypeError),
            ("run.queued", None, IllegalTransition),
        ]:
            with pytest.raises(error):
                desk.journal.append(type, data=data)
        pen = desk.journal.pen("step.partial", step="s", item=None, attempt=1, fallback=False)
        with pytest.raises(TypeError):
            pen(object())
        assert (desk.journal.seq, desk.journal.state) == (2, "running")
        desk.journal.append("run.failed")
        assert desk.journal.ended
        with pytest.raises(IllegalTransition):
            desk.journal.append("x.own")
        assert len(await desk.close()) == 3

    at_a_desk(work)


def test_the_runs_state_changes_in_the_same_commit():
    async def work(desk: Desk) -> None:
        await desk.journal.flush()
        run = await desk.kept.run("r")
        assert run is not None
        assert (run.state, run.seq) == ("running", 2)
        desk.journal.append("run.completed")
        await desk.close()
        run = await desk.kept.run("r")
        assert run is not None
        assert (run.state, run.seq, run.ended) == ("completed", 3, virtual_now())

    at_a_desk(work)


def test_losing_the_lease_wakes_who_waits():
    async def work(desk: Desk) -> None:
        await desk.store.holding(1)
        waiter = asyncio.ensure_future(desk.journal.flush())
        await breathe()
        desk.journal.lose()
        with pytest.raises(StaleEpoch):
            await waiter
        with pytest.raises(StaleEpoch):
            desk.journal.append("x.own")

    at_a_desk(work, script({("append", 1): "hold"}))


def test_it_says_how_it_is():
    async def work(desk: Desk) -> None:
        assert repr(desk.journal) == "<Journal of r running at 2, 1 not yet durable>"
        await desk.journal.flush()
        assert repr(desk.journal) == "<Journal of r running at 2, 0 not yet durable>"

    at_a_desk(work)
