"""Following: no seam between catching up and the live edge, whatever happens between the two."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.crowd import Form
from millstream.engine.follow import Follower
from millstream.engine.replays import LAGGING_EVENTS
from millstream.engine.tails import Tails
from millstream.events import LOG_MERGED, STEP_PROGRESS, Event, Segment, decode, encode
from millstream.store import Mark, Run
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import FaultyStore, script


def line(seq: int, type: str = "x.own", **more) -> bytes:
    return encode(Event(run="r", seq=seq, type=type, **more))


async def created(store, *, worker: str | None = "w") -> int:
    found = await store.create(
        Run(id="r", pipeline="p", created=0),
        Segment(1, (line(1, "run.queued"),)),
        worker=worker,
        now=0,
        ttl=1e9,
    )
    return found.run.epoch


LINES = Form("lines", lambda segment: b"".join(b"%b\n" % each for each in segment.events))


def follower(store, tails: Tails, after: int = 0) -> Follower:
    return Follower(store, tails, "r", after, now=virtual_now)


def test_a_log_that_ends_while_its_reader_asks_the_store():
    async def main():
        calm = MemoryStore()
        store = FaultyStore(calm, script({("read", 1): "hold"}))
        tails = Tails(virtual_now)
        epoch = await created(calm)
        reader = follower(store, tails)
        opening = asyncio.create_task(reader.open())
        await store.holding()
        tail = tails.begin("r", last=1)
        last = Segment(2, (line(2, "run.started"), line(3, "run.completed")))
        await calm.append("r", epoch, last, Mark("completed", 0))
        tail.publish(last, ended=True)
        tails.finish("r")
        store.let_go()
        await opening
        async with asyncio.timeout(60):
            seen = [decode(each).seq async for batch in reader.batches() for each in batch.events]
        assert seen == [1, 2, 3]
        reader.close()
        assert len(tails) == 0

    run_virtual(main())


def test_a_second_reader_comes_while_the_first_asks_the_store():
    async def main():
        calm = MemoryStore()
        store = FaultyStore(calm, script({("read", 1): "hold"}))
        tails = Tails(virtual_now)
        epoch = await created(calm)
        await calm.append("r", epoch, Segment(2, tuple(line(n) for n in (2, 3, 4))))
        first, second = follower(store, tails), follower(store, tails, after=2)
        opening = asyncio.create_task(first.open())
        await store.holding()
        await second.open()
        assert second.cursor == 2
        batch = await second.next()
        assert batch is not None
        assert [decode(each).seq for each in batch.events] == [3, 4]
        store.let_go()
        await opening
        assert first.cursor == 0

    run_virtual(main())


def test_every_event_once_while_writers_change_and_readers_come_and_go():
    async def main(seed: int):
        rng = random.Random(seed)
        store, tails = MemoryStore(), Tails(virtual_now)
        epoch = await created(store)
        position = 1
        total = 120

        async def write() -> None:
            nonlocal position
            while position < total:
                here = rng.random() < 0.6
                tail = tails.begin("r", last=position) if here else None
                for _ in range(rng.randint(1, 4)):
                    count = min(rng.randint(1, 9), total - position)
                    if not count:
                        break
                    types = [rng.choice([STEP_PROGRESS, "x.own"]) for _ in range(count)]
                    found = Segment(
                        position + 1,
                        tuple(
                            line(position + 1 + n, type, step="s") for n, type in enumerate(types)
                        ),
                    )
                    await store.append("r", epoch, found)
                    position = found.last
                    if tail is not None:
                        tail.publish(found, ended=False)
                    await asyncio.sleep(rng.choice([0, 0.1]))
                if tail is not None:
                    tails.finish("r")
            end = Segment(total + 1, (line(total + 1, "run.completed"),))
            tail = tails.begin("r", last=position)
            await store.append("r", epoch, end, Mark("completed", 0))
            tail.publish(end, ended=True)
            tails.finish("r")

        async def read() -> None:
            cursor = rng.randint(0, 5)
            while cursor <= total:
                reader = follower(store, tails, cursor)
                await reader.open()
                cursor = reader.cursor
                for _ in range(rng.randint(1, 6)):
                    batch = await reader.next()
                    if batch is None:
                        break
                    for each in batch.events:
                        event = decode(each)
                        merged = event.type == LOG_MERGED
                        first = event.value["from"] if merged else event.seq
                        assert first == cursor + 1
                        cursor = event.seq
                    assert batch.last == cursor == reader.cursor
                    await asyncio.sleep(rng.choice([0, 0, 0.5]))
                reader.close()
            assert cursor == total + 1

        async with asyncio.timeout(600), asyncio.TaskGroup() as group:
            group.create_task(write())
            for _ in range(4):
                group.create_task(read())
        assert len(tails) == 0

    for seed in range(60):
        run_virtual(main(seed))


def test_a_batch_of_many_events_is_spared_its_superseded_progress():
    async def main():
        store, tails = MemoryStore(), Tails(virtual_now)
        epoch = await created(store)
        count = LAGGING_EVENTS + 10
        progress = tuple(line(n, STEP_PROGRESS, step="s") for n in range(2, count + 2))
        await store.append("r", epoch, Segment(2, progress))
        reader = follower(store, tails)
        await reader.open()
        batch = await reader.next()
        assert batch is not None
        told = [decode(each) for each in batch.events]
        assert [e.type for e in told] == ["run.queued", LOG_MERGED, STEP_PROGRESS]
        assert told[1].value == {"from": 2, "to": count}
        assert batch.last == count + 1

    run_virtual(main())


def test_readers_at_the_edge_share_one_segment():
    async def main():
        store, tails = MemoryStore(), Tails(virtual_now)
        epoch = await created(store)
        tail = tails.begin("r", last=1)
        readers = [follower(store, tails, 1) for _ in range(3)]
        for reader in readers:
            await reader.open()
        found = Segment(2, (line(2), line(3)))
        await store.append("r", epoch, found)
        tail.publish(found, ended=False)
        batches = [await reader.next() for reader in readers]
        shared = {id(each) for batch in batches if batch is not None for each in batch.shared}
        assert len(shared) == 1
        assert all(batch and len(batch.shared) == 1 for batch in batches)
        late = follower(store, tails, 2)
        await late.open()
        batch = await late.next()
        assert batch is not None
        assert not batch.shared
        assert [decode(each).seq for each in batch.events] == [3]

    run_virtual(main())


steps = st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=30)


@given(steps)
def test_at_the_live_edge_nothing_is_lost_or_told_twice(published):
    """Whatever is taken at once, refused, or published while the reader is elsewhere."""

    async def main():
        store, tails = MemoryStore(), Tails(virtual_now)
        epoch = await created(store)
        tail = tails.begin("r", last=1)
        reader = follower(store, tails, 1)
        await reader.open()
        told, takes = [], [True]

        def write(ready):
            if takes[0]:
                told.extend(decode(each).seq for each in ready.splitlines())
            return takes[0]

        async def read():
            while True:
                await reader.live(write, LINES)
                if reader.at_end:
                    return
                if reader.ready:
                    batch = await reader.next()
                    assert batch is not None
                    told.extend(decode(each).seq for each in batch.events)

        reading = asyncio.create_task(read())
        position = 1
        for count, taken, pause in published:
            takes[0] = taken
            found = Segment(position + 1, [line(position + n + 1) for n in range(count)])
            await store.append("r", epoch, found)
            position += count
            tail.publish(found, ended=False)
            if pause:
                await asyncio.sleep(1)
                reader.wake()
        tail.publish(Segment(position + 1, [line(position + 1)]), ended=True)
        await reading
        assert told == list(range(2, position + 2))

    run_virtual(main())
