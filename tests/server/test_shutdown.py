"""Shutting down: streams end well, say when to come back, and nobody's run is cancelled by it."""

import asyncio
import time

import pytest
from serving import NDJSON, SSE, follow, make_app, serving, until

from millstream.engine.follow import Follower
from millstream.engine.tails import Tails
from millstream.server.delivery import EventStream, Streams
from millstream.stores.memory import MemoryStore
from millstream.wire.sse import SSE as SSE_WIRE


@pytest.mark.parametrize("headers", [SSE, NDJSON])
async def test_draining_ends_streams_after_what_is_in_flight(tmp_path, headers):
    app = make_app(tmp_path)
    async with serving(tmp_path, app=app) as served:
        run = await served.start()
        async with served.stream(f"/runs/{run}/events", headers=headers) as answer:
            text = answer.aiter_text()
            first = await anext(text)
            await app.drain()
            rest = first + "".join([chunk async for chunk in text])  # ends, and ends well
        told = rest.count('"seq":')
        assert told == len(await served.log(run))
        assert await served.state(run) == "running", "handed back, not ended"
        assert rest.count("retry: ") == (headers is SSE)


async def test_a_stream_that_said_nothing_yet_says_when_to_come_back(tmp_path):
    app = make_app(tmp_path)
    async with serving(tmp_path, app=app) as served:
        run = await served.start()
        await served.until(lambda: served.last(run) == 3)
        async with served.stream(f"/runs/{run}/events?after=3") as answer:
            await served.until(lambda: len(app.streams) == 1)
            app.streams.drain()
            assert await answer.aread() == b"retry: 1000\n\n"


async def test_shutting_down_cancels_nobodys_run(tmp_path):
    app = make_app(tmp_path)
    async with serving(tmp_path, app=app) as served:
        body = {"json": {"text": "one"}, "headers": SSE, "params": {"on_disconnect": "cancel"}}
        async with served.stream("/pipelines/talk/runs", "POST", **body) as answer:
            run = answer.headers["location"].removeprefix("/runs/")
            lines = answer.aiter_lines()
            await anext(lines)
            await app.drain()
            assert [line async for line in lines]
        await served.until(served.idle)
        assert await served.state(run) == "running"


async def test_draining_twice_and_leaving_meanwhile_breaks_nothing(tmp_path):
    app = make_app(tmp_path)
    async with serving(tmp_path, app=app) as served:
        run = await served.start()
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(follow(served, run))
            await served.until(lambda: len(app.streams) == 10)
            app.streams.drain()
            app.streams.drain()
        await app.streams.drained()
        app.streams.drain()


async def test_poking_at_any_moment_is_safe():
    """Its wait may just be over for another reason: the heartbeat, an event, a poke before."""

    tails = Tails(time.time)
    tails.begin("r", last=1)
    follower = Follower(MemoryStore(), tails, "r", 1, now=time.time)
    await follower.open()
    streams = Streams(heartbeat=0.0, stall_timeout=1.0)
    stream = EventStream(follower, SSE_WIRE, streams)
    sent = []

    async def send(message):
        sent.append(message)
        for _ in range(3):
            stream.poke()
            await asyncio.sleep(0)
            stream.poke()

    gone = asyncio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    serve = asyncio.create_task(stream({"type": "http"}, receive, send))
    await until(lambda: len(sent) > 5)
    for _ in range(100):
        stream.poke()
        stream.poke()
        await asyncio.sleep(0)
    gone.set()
    await serve
    assert len(streams) == 0
