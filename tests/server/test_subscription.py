"""Subscriptions over one socket: each log from its cursor, in order, once, whoever lags."""

import asyncio
import json
import random

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.follow import Follower
from millstream.engine.tails import Tails
from millstream.events import Event, Segment, encode
from millstream.server.delivery import Streams
from millstream.server.socket_writer import SocketWriter
from millstream.server.subscription import Subscription
from millstream.store import Mark, Run
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.wire import websocket as wire


class Pipe:
    """A connection whose client takes what it is sent when chance says so. With `direct` it can be
    written to past ASGI."""

    def __init__(self, rng, *, direct):
        self._rng, self._direct = rng, direct
        self.full, self.told = False, []

    def hears(self, framed):
        """Our frames, read as a client reads them."""
        while framed:
            size, head = framed[1], 2
            if size == 126:
                size, head = int.from_bytes(framed[2:4], "big"), 4
            self.told.append(json.loads(framed[head : head + size]))
            framed = framed[head + size :]

    def write(self, data):
        if self.full or not self._direct:
            return False
        self.hears(data)
        self.full = self._rng.random() < 0.3
        return True

    async def room(self, patience):
        while self.full:
            await asyncio.sleep(self._rng.random())
            self.full = self._rng.random() < 0.5
        return True

    async def taken(self, send, patience):
        await send()
        return await self.room(patience)

    async def send(self, message):
        await self.room(0)
        self.hears(wire.frames([message["text"].encode()]))

    def abort(self):
        raise AssertionError("nobody stalls here")


async def log(store, tails, rng, run, events):
    """Writes a run's log, now and then with a pause, now and then where only the store sees it."""
    queued = Event(run=run, seq=1, type="run.queued")
    made = await store.create(
        Run(id=run, pipeline="p", created=0),
        Segment(1, (encode(queued),)),
        worker="w",
        now=0,
        ttl=1e9,
    )
    yield
    tail, last = tails.begin(run, last=1), 1
    while last < events:
        count = min(rng.randint(1, 5), events - last)
        ended = last + count == events
        numbers = range(last + 1, last + count + 1)
        types = ["run.completed" if n == events else "x.own" for n in numbers]
        lines = [
            encode(Event(run=run, seq=n, type=type, data="x" * rng.randint(0, 200)))
            for n, type in zip(numbers, types, strict=True)
        ]
        segment = Segment(last + 1, tuple(lines))
        mark = Mark("completed", 0) if ended else None
        await store.append(run, made.run.epoch, segment, mark)
        if ended or rng.random() < 0.8:
            tail.publish(segment, ended=ended)
        last += count
        if rng.random() < 0.7:
            await asyncio.sleep(rng.choice([0, 0, rng.random()]))
    tails.finish(run)


async def scene(seed, afters, *, direct):
    rng = random.Random(seed)
    store, tails, pipe = MemoryStore(), Tails(virtual_now), Pipe(rng, direct=direct)
    streams = Streams(heartbeat=1, stall_timeout=1)
    writer = SocketWriter(pipe, pipe.send, streams)  # type: ignore[arg-type]
    ends, writers, lengths = [], [], {}
    for number, after in enumerate(afters):
        run = f"r{number}"
        lengths[run] = rng.randint(2, 60)
        lines = log(store, tails, rng, run, lengths[run])
        await anext(lines)
        writers.append(asyncio.create_task(anext(lines, None)))
        for _ in range(rng.randint(0, 5)):
            await asyncio.sleep(0)
        follower = Follower(store, tails, run, after, now=virtual_now)
        await follower.open()
        tail = tails.get(run)
        assert tail is not None
        begun = follower.cursor
        over = lambda each, complete: ends.append((each.follower.run, complete))  # noqa: E731
        Subscription(follower, tail, writer, over).begin()
        lengths[run] = (begun, lengths[run])
    await asyncio.gather(*writers)
    async with asyncio.timeout(10_000):
        while len(ends) < len(afters):  # noqa: ASYNC110 - on a virtual clock
            await asyncio.sleep(1)
    await asyncio.sleep(100)
    assert sorted(ends) == [(run, True) for run in sorted(lengths)]
    for run, (begun, last) in lengths.items():
        told = [event["seq"] for event in pipe.told if event["run"] == run]
        assert told == list(range(begun + 1, last + 1))
    assert (len(tails), streams.stalled) == (0, 0)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 70), min_size=1, max_size=4), st.booleans())
def test_each_log_is_told_from_its_cursor_in_order_once(seed, afters, direct):
    run_virtual(scene(seed, afters, direct=direct))


@given(st.integers(0, 2**32), st.booleans())
def test_what_is_stopped_says_nothing_more_and_leaves_nothing_behind(seed, direct):
    async def main():
        rng = random.Random(seed)
        store, tails, pipe = MemoryStore(), Tails(virtual_now), Pipe(rng, direct=direct)
        writer = SocketWriter(pipe, pipe.send, Streams(heartbeat=1, stall_timeout=1))  # type: ignore[arg-type]
        lines = log(store, tails, rng, "r", 40)
        await anext(lines)
        follower = Follower(store, tails, "r", 0, now=virtual_now)
        await follower.open()
        tail, ends = tails.get("r"), []
        assert tail is not None
        subscription = Subscription(follower, tail, writer, lambda *told: ends.append(told))
        subscription.begin()
        writing = asyncio.create_task(anext(lines, None))
        for _ in range(rng.randint(0, 30)):
            await asyncio.sleep(rng.choice([0, 0, rng.random()]))
        await subscription.stop()
        told = list(pipe.told)
        await writing
        await asyncio.sleep(100)
        assert pipe.told == told
        assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
        assert (len(tails), tail._crowd) == (0, None)
        assert not ends or (len(told), len(ends)) == (40, 1)

    run_virtual(main())
