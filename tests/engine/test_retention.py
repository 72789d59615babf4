"""Logs that forget their beginning: short in the store, told to readers, no harm to recovery."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.engine.engine import Engine, EngineOptions, Start
from millstream.engine.follow import Follower
from millstream.engine.journal import Clock, Journal
from millstream.engine.observer import Observer
from millstream.engine.retention import Keeper
from millstream.engine.tails import Tails
from millstream.errors import PipelineError
from millstream.events import LOG_GAP, Event, Segment, decode, encode, flatten
from millstream.pipeline import Pipeline
from millstream.policy import Retain
from millstream.store import ENDED, Cancellation, Run, Store
from millstream.stores.memory import MemoryStore
from millstream.stores.sqlite import SqliteStore
from millstream.stores.sqlite_file import connect_reader
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import FaultyStore, drawn


class Desk:
    """A journal behind a keeper, on a run that is running."""

    def __init__(self, store: Store, policy: Retain, now: Any = virtual_now) -> None:
        self.store, self.policy, self.now = store, policy, now
        self.tails = Tails(now)

    async def open(self) -> None:
        first = Segment(1, (encode(Event("r", 1, "run.queued")),))
        made = await self.store.create(
            Run("r", "mill", self.now()), first, worker="w", now=self.now(), ttl=1e9
        )
        assert made.lease is not None
        self.tail = self.tails.begin("r", last=1)
        self.keeper = Keeper(self.store, made.lease, self.tail, self.policy, now=self.now)
        self.journal = Journal(
            self.store, made.lease, self.keeper, clock=Clock(self.now), observer=Observer()
        )
        self.journal.append("run.started")

    async def write(self, count: int, data: Any = None) -> None:
        """So many events, durable when this returns, and no trim under way."""
        for number in range(count):
            self.journal.append("x.own", data=number if data is None else data)
        await self.journal.flush()
        await self.settled()

    async def settled(self) -> None:
        trimming = self.keeper._trimming
        if trimming is not None:
            await asyncio.wait([trimming])

    async def kept(self) -> list[int]:
        page = await self.store.read("r", 0, max_bytes=10**9)
        return [decode(line).seq for line in flatten(page.segments)]

    async def close(self) -> None:
        await self.journal.close()
        await self.settled()

    def follower(self, after: int = 0) -> Follower:
        return Follower(self.store, self.tails, "r", after, now=self.now)


def at_a_desk(work: Any, policy: Retain, store: Store | None = None) -> None:
    async def main() -> None:
        desk = Desk(store or MemoryStore(), policy)
        await desk.open()
        try:
            await work(desk)
        finally:
            await desk.close()

    run_virtual(main())


def test_retention_is_for_live_pipelines():
    with pytest.raises(PipelineError, match=r"needs live=True.*kept whole"):
        Pipeline("p", keep=Retain(events=10))
    assert Pipeline("p", live=True, keep=Retain(events=10)).keep == Retain(events=10)


def test_a_log_is_as_long_as_its_policy_says():
    async def work(desk: Desk) -> None:
        for _ in range(100):
            await desk.write(10)
        kept = await desk.kept()
        assert kept[-1] == desk.journal.seq == 1002
        assert 100 <= len(kept) <= 100 + 100 // 8 + 10  # an eighth, and one record
        assert desk.tail.first == kept[0]

    at_a_desk(work, Retain(events=100))


def test_old_events_go():
    async def work(desk: Desk) -> None:
        for _ in range(200):
            await desk.write(5)
            await asyncio.sleep(1)
        kept = await desk.kept()
        assert 60 * 5 <= len(kept) <= 70 * 5

    at_a_desk(work, Retain(seconds=60))


def test_a_reader_who_falls_off_the_end_is_told_and_goes_on_live():
    async def work(desk: Desk) -> None:
        await desk.write(20)
        reader = desk.follower(5)
        await reader.open()
        batch = await reader.next()
        assert batch is not None
        cursor = batch.last
        assert cursor >= 22
        for _ in range(60):  # the reader takes nothing meanwhile
            await desk.write(10, data="x" * 1000)
        gap, *after = await through(reader, desk.journal.seq)
        assert gap.type == LOG_GAP
        assert gap.data == {"from": cursor + 1, "to": after[0].seq - 1}
        assert gap.seq == after[0].seq - 1
        assert [e.seq for e in after] == list(range(desk.tail.first, desk.journal.seq + 1))
        waiting = asyncio.ensure_future(reader.next())
        await asyncio.sleep(1)
        desk.journal.append("x.own", data="live")
        live = await waiting
        assert live is not None
        assert [decode(line).data for line in live.events] == ["live"]
        reader.close()

    at_a_desk(work, Retain(events=50))


async def through(reader: Follower, last: int) -> list[Event]:
    """Everything up to a position."""
    found: list[Event] = []
    while reader.cursor < last:
        batch = await reader.next()
        assert batch is not None
        found += [decode(line) for line in batch.events]
    return found


def test_a_new_reader_learns_where_the_log_begins():
    async def work(desk: Desk) -> None:
        for _ in range(30):
            await desk.write(10)
        desk.tails.finish("r")
        desk.tails = Tails(virtual_now)  # as in a process that does not write it
        reader = desk.follower()
        await reader.open()
        gap, *after = await through(reader, desk.journal.seq)
        assert (gap.type, gap.data) == (LOG_GAP, {"from": 1, "to": after[0].seq - 1})
        assert [e.seq for e in after] == await desk.kept()
        reader.close()

    at_a_desk(work, Retain(events=50))


moves = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from([0, 0, 0.2, 5]), st.integers(0, 3)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(moves, st.integers(), st.integers(1, 120), st.booleans())
def test_every_position_is_handed_out_or_told_as_gone_once(moves, seed, events, faulty):
    """Writers write, the keeper trims, the store fails, readers come at any cursor and dawdle: what
    a reader is handed covers every position behind its cursor once, in order."""
    rng = random.Random(seed)
    faults = drawn(rng, before=0.2, after=0.2, methods={"trim", "append"})
    store = FaultyStore(MemoryStore(), faults) if faulty else MemoryStore()

    async def read(desk: Desk, last: int) -> None:
        cursor = rng.randint(0, 30)
        while cursor < last:
            reader = desk.follower(cursor)
            await reader.open()
            cursor = reader.cursor
            for _ in range(rng.randint(1, 5)):
                if cursor >= last:
                    break
                batch = await reader.next()
                assert batch is not None
                for event in map(decode, batch.events):
                    if event.type in ("log.gap", "log.merged"):
                        assert event.data["from"] == cursor + 1
                    else:
                        assert event.seq == cursor + 1
                    cursor = event.seq
                assert cursor == batch.last
                await asyncio.sleep(rng.choice([0, 0.1, 3]))
            reader.close()

    async def work(desk: Desk) -> None:
        await desk.write(0)
        last = 2 + sum(count for count, _, _ in moves)
        readers = [asyncio.ensure_future(read(desk, last)) for _ in range(3)]
        for count, pause, size in moves:
            await desk.write(count, data="x" * 10 ** (size + 1))
            await asyncio.sleep(pause)
        async with asyncio.timeout(3600):
            await asyncio.gather(*readers)
        kept = await desk.kept()
        assert kept == list(range(kept[0], last + 1))  # no hole, and the end is there
        assert len(kept) >= min(events, last)
        if not faulty:
            record = max((count for count, _, _ in moves), default=0)
            assert len(kept) <= events + max(1, events // 8) + record + 2

    at_a_desk(work, Retain(events=events), store)


async def test_the_file_of_an_endless_log_stops_growing(tmp_path):
    """SQLite uses the pages of what has gone again."""
    path = tmp_path / "runs.db"
    store = SqliteStore(path, durability="process")
    await store.open()
    desk = Desk(store, Retain(events=500), now=lambda: 1000.0)
    await desk.open()
    reader = connect_reader(path)  # sees what is not in the file yet, but in the WAL
    sizes = []
    for _ in range(60):
        for _ in range(5):
            await desk.write(50, data="x" * 400)
        sizes.append(reader.execute("PRAGMA page_count").fetchone()[0] * 4096)
    reader.close()
    assert 500 <= len(await desk.kept()) <= 500 + 62 + 50
    assert desk.journal.seq > 15_000  # 7 MB of events went through
    assert max(sizes[30:]) <= max(sizes[:30]) < 1_000_000
    await desk.close()
    await store.close()
    assert path.stat().st_size < 1_000_000


async def test_a_trimmed_run_is_taken_up_again(tmp_path):
    """Its positions go on, its end is known, and what was kept is still there."""
    path = tmp_path / "runs.db"
    store = SqliteStore(path)
    await store.open()
    desk = Desk(store, Retain(events=20), now=lambda: 1000.0)
    await desk.open()
    for _ in range(30):
        await desk.write(5)
    before = await desk.kept()
    await desk.close()
    await store.close()
    store = SqliteStore(path)
    await store.open()
    lease = await store.claim("w2", pipelines=["mill"], now=2000.0, ttl=9)
    assert lease is not None
    assert (lease.run.seq, lease.epoch, lease.run.state) == (before[-1], 2, "running")
    page = await store.read("r", 0)
    assert (page.first, page.last) == (before[0], before[-1])
    await store.append("r", 2, Segment(before[-1] + 1, (b"{}",)))
    assert await store.trim("r", 2, before[-1]) > before[0]
    await store.close()


# --- through the engine ---------------------------------------------------------------------------


def ticking(keep: Retain, count: int = 10**9) -> Pipeline:
    """A live pipeline that publishes whatever it yields."""
    pipeline = Pipeline("p", live=True, keep=keep)

    @pipeline.step(publish="always")
    async def tick() -> AsyncIterator[int]:
        for number in range(count):
            await asyncio.sleep(0.1)
            yield number

    return pipeline


def test_a_live_run_forgets_while_it_goes_on_and_is_taken_up_again():
    """Its log stays short; a reader is told of the gap; after a hand-over the positions go on, and
    nothing that went is needed."""

    async def main() -> None:
        store = MemoryStore()
        first, second = (engine_of(ticking(Retain(events=100)), store, name) for name in "ab")
        await first.open()
        run, _ = await first.start(Start("p", b"{}"))
        await asyncio.sleep(60)
        page = await store.read(run.id, 0, max_bytes=1)
        assert page.last > 500
        assert page.last - page.first < 100 + 12 + 10
        document = await first.document(run.id)
        assert (document.state, document.started is not None) == ("running", True)
        await first.aclose()  # hands it back
        before = await store.run(run.id)
        await second.open()
        reader = await second.follow(run.id, 0)
        gap, *after = await through(reader, before.seq + 50 if before else 0)
        assert (gap.type, gap.data["from"]) == (LOG_GAP, 1)
        assert [e.seq for e in after] == list(range(gap.seq + 1, after[-1].seq + 1))
        assert "run.started" not in {event.type for event in after}
        await asyncio.sleep(60)
        page = await store.read(run.id, 0, max_bytes=1)
        assert page.last > (before.seq if before else 0) + 400
        assert page.last - page.first < 100 + 12 + 10
        await second.cancel(run.id, Cancellation("test", "enough"))
        *_, last = await through(reader, (await ended(store, run.id)).seq)
        assert last.type == "run.cancelled"
        reader.close()
        await second.aclose()

    run_virtual(main())


async def ended(store: Store, run: str) -> Run:
    while True:
        found = await store.run(run)
        assert found is not None
        if found.state in ENDED:
            return found
        await asyncio.sleep(1)


def engine_of(pipeline: Pipeline, store: Store, name: str) -> Engine:
    return Engine(
        {"p": pipeline.build()},
        store,
        Blobs(),  # type: ignore[arg-type]
        now=virtual_now,
        chance=random.Random(1).random,
        new_id=lambda: f"{name}{next(IDS)}",
        options=EngineOptions(drain=0, housekeeping=1e9),
    )


IDS = itertools.count()


class Blobs:
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def delete(self, blobs: Any) -> None: ...
