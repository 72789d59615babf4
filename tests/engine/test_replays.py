"""Replays: many readers of one log cost one reading of it; each gets all of it."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.follow import Follower
from millstream.engine.replays import BATCH_BYTES, KEPT_BYTES, Replays
from millstream.engine.tails import Tails
from millstream.events import Event, Segment, decode, encode
from millstream.store import Mark, Run
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now


class Counting(MemoryStore):
    """How often it was read, and how often at the same time at most."""

    reads = 0

    async def read(self, run, after, *, max_bytes=BATCH_BYTES):
        self.reads += max_bytes > 0
        await asyncio.sleep(0.01)
        return await super().read(run, after, max_bytes=max_bytes)


async def ended(store: MemoryStore, name: str, count: int, size: int) -> int:
    """A finished log of so many events; its bytes."""
    lines = [encode(Event(name, 1, "run.queued"))]
    for seq in range(2, count + 1):
        lines.append(encode(Event(name, seq, "x.own", data="x" * size)))
    run = Run(name, "p", virtual_now())
    made = await store.create(run, Segment(1, lines[:1]), worker="w", now=0, ttl=60)
    assert made.lease is not None
    last = encode(Event(name, count + 1, "run.completed"))
    await store.append(name, 1, Segment(2, [*lines[1:], last]), Mark("completed", 1.0))
    return sum(map(len, lines)) + len(last)


async def seqs(follower: Follower) -> list[int]:
    await follower.open()
    try:
        return [decode(e).seq async for batch in follower.batches() for e in batch.events]
    finally:
        follower.close()


@given(st.lists(st.integers(0, 400), min_size=2, max_size=20), st.integers(0, 3))
def test_readers_that_come_together_read_once_and_each_gets_all(cursors, leave):
    async def main():
        store, tails = Counting(), Tails(virtual_now)
        size = await ended(store, "r", 400, 1_000)
        begun = [
            asyncio.create_task(seqs(Follower(store, tails, "r", after, now=virtual_now)))
            for after in cursors
        ]
        await asyncio.sleep(0.005)
        for task in begun[: min(leave, len(begun) - 1)]:
            task.cancel()
        told = await asyncio.gather(*begun, return_exceptions=True)
        for task, after, found in zip(begun, cursors, told, strict=True):
            assert task.cancelled() or found == list(range(after + 1, 402))
        pages = size // BATCH_BYTES + 2
        assert store.reads <= pages * len(set(cursors))
        before = store.reads
        assert await seqs(Follower(store, tails, "r", cursors[-1], now=virtual_now))
        assert store.reads - before <= 2, "all but the log's end is still at hand"

    run_virtual(main())


def test_what_is_kept_is_bounded_and_the_oldest_used_goes():
    async def main():
        store, replays = Counting(), Replays(virtual_now)
        await ended(store, "a", 200, 60_000)
        for after in range(200):
            found = await replays.read(store, "a", after)
            assert found.batch is not None
        before = store.reads
        await replays.read(store, "a", 190)
        assert store.reads == before
        await replays.read(store, "a", 0)
        assert store.reads == before + 1
        held = int(repr(replays).split(" kept, ")[1].split()[0])
        assert 0 < held <= KEPT_BYTES

    run_virtual(main())


def test_the_end_of_a_log_that_grows_is_read_anew():
    async def main():
        store, replays = Counting(), Replays(virtual_now)
        run = Run("r", "p", 0.0)
        first = Segment(1, [encode(Event("r", 1, "run.queued"))])
        await store.create(run, first, worker="w", now=0, ttl=60)
        assert (await replays.read(store, "r", 0)).last == 1
        await store.append("r", 1, Segment(2, [encode(Event("r", 2, "x.own"))]))
        found = await replays.read(store, "r", 0)
        assert found.batch is not None
        assert (found.last, found.batch.last) == (2, 2)

    run_virtual(main())
