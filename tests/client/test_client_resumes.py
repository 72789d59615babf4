"""Each event exactly once, in order, whatever happens to connections and servers (law 4)."""

import asyncio
import random

import pytest
from client_network import Proxy, ServerProcess, free_port, no_sleep, served

from millstream.client import Client, ConnectionLost


def patient(url, **more):
    """A client that neither sleeps nor gives up."""
    return Client(url, **{"sleep": no_sleep, "now": lambda: 0.0, **more})


async def collect(following):
    return [event async for event in following]


async def log_of(app, run):
    return await app.engine.events(run)


def lasting(events):
    """What no server may merge or leave out."""
    return [event for event in events if event.type not in ("step.progress", "log.merged")]


def check(seen, log):
    """Each event of the log exactly once, in order, up to its end; but progress that a later one
    superseded may have been merged, and said so."""
    positions = []
    for event in seen:
        if event.type == "log.merged":
            merged = range(event.value["from"], event.value["to"] + 1)
            assert all(log[seq - 1].type == "step.progress" for seq in merged)
            positions += merged
        else:
            assert event == log[event.seq - 1]
            positions.append(event.seq)
    assert positions == list(range(1, len(log) + 1))
    assert seen[-1].terminal


@pytest.mark.parametrize("seed", range(8))
async def test_a_connection_cut_anywhere_changes_nothing(tmp_path, seed):
    chance = random.Random(seed)
    async with (
        served(tmp_path) as (app, url),
        Proxy(url, lambda: chance.randint(0, 3000), abort=lambda: chance.random() < 0.5) as proxy,
        patient(proxy.url) as client,
    ):
        events = await collect(client.stream("count", input={"to": 60}))
        check(events, await log_of(app, events[0].run))
        assert len(await app.engine.store.runs(limit=10)) == 1
        assert proxy.connections > 5


async def test_a_lost_answer_starts_no_second_run(tmp_path):
    limits = iter([0])
    async with (
        served(tmp_path) as (app, url),
        Proxy(url, lambda: next(limits, None)) as proxy,
        patient(proxy.url) as client,
    ):
        files = {"pictures": [("a.png", b"x" * 70_000)]}
        events = await collect(client.stream("weigh", files=files))
        assert events[-1].type == "run.completed"
        assert proxy.connections == 2
        (run,) = await app.engine.store.runs(limit=10)
        assert run.id == events[0].run


async def test_start_repeats_itself_safely_too(tmp_path):
    limits = iter([0, 0])
    async with (
        served(tmp_path) as (app, url),
        Proxy(url, lambda: next(limits, None)) as proxy,
        patient(proxy.url) as client,
    ):
        run = await client.start("count", input={"to": 2})
        assert [r.id for r in await app.engine.store.runs(limit=10)] == [run]


async def test_kill_9_of_the_server_in_mid_run(tmp_path):
    server = ServerProcess(tmp_path, free_port())
    await asyncio.to_thread(server.start)
    plan = {"to": 40, "folder": str(tmp_path), "gates": [20, 30]}
    pauses, events = [], []
    try:
        async with Client(server.url, on_retry=pauses.append) as client:
            stream = client.stream("count", input=plan)
            async for event in stream:
                events.append(event)
                if event.type == "step.partial" and event.value in (19, 29):
                    await asyncio.to_thread(server.kill)
                    (tmp_path / str(event.value + 1)).touch()
                    await asyncio.to_thread(server.start)
            assert len(pauses) >= 2
            again = await collect(client.follow(events[0].run))
            assert lasting(events) == lasting(again)
            assert [e.value for e in events if e.type == "step.partial"] == list(range(40))
            document = await client.run(events[0].run)
            assert document["result"] == sum(n * n for n in range(40))
    finally:
        server.kill()


async def test_a_server_that_shuts_down_hands_over(tmp_path):
    """A drained server ends its streams in order; that is not the run's end."""
    settings = {"store": f"sqlite:///{tmp_path}/runs.db", "drain": 0}
    plan = {"to": 4, "folder": str(tmp_path), "gates": [2]}
    reached, restarted = asyncio.Event(), asyncio.Event()
    events = []

    async def read(url):
        async with patient(url, sleep=lambda _: restarted.wait()) as client:
            async for event in client.stream("count", input=plan):
                events.append(event)
                if event.type == "step.partial" and event.value == 1:
                    reached.set()

    async with Proxy() as proxy:
        async with served(tmp_path, **settings) as (_, proxy.target):
            reading = asyncio.create_task(read(proxy.url))
            await reached.wait()
        assert not events[-1].terminal
        (tmp_path / "2").touch()
        async with served(tmp_path, **settings) as (app, proxy.target):
            restarted.set()
            await reading
            check(events, await log_of(app, events[0].run))


async def test_giving_up_says_where_to_come_back(tmp_path):
    plan = {"to": 4, "folder": str(tmp_path), "gates": [2]}
    clock, limit, seen = [0.0], iter([None]), []

    async def sleep(seconds):
        clock[0] += seconds

    async def read(url):
        async with Client(url, now=lambda: clock[0], sleep=sleep, give_up_after=30) as client:
            async for event in client.stream("count", input=plan):
                seen.append(event)
                if event.type == "step.partial" and event.value == 1:
                    await proxy.cut_all()

    async with served(tmp_path) as (app, url):
        async with Proxy(url, lambda: next(limit, 0)) as proxy:
            with pytest.raises(ConnectionLost) as caught:
                await read(proxy.url)
        lost = caught.value
        assert clock[0] == pytest.approx(30)
        assert (lost.run, lost.cursor) == (seen[0].run, seen[-1].seq)
        assert lost.details() == {"run": lost.run, "cursor": lost.cursor}
        (tmp_path / "2").touch()
        async with patient(url) as client:
            rest = await collect(client.follow(seen[0].run, after=lost.cursor))
        check(seen + rest, await log_of(app, seen[0].run))


@pytest.mark.parametrize(
    ("wish", "ending"), [("detach", "run.completed"), ("cancel", "run.cancelled")]
)
async def test_leaving_is_not_cancelling_unless_it_was_asked_for(tmp_path, wish, ending):
    plan = {"to": 4, "folder": str(tmp_path), "gates": [2]}
    async with served(tmp_path) as (_, url), patient(url) as client:
        async with client.stream("count", input=plan, on_disconnect=wish) as stream:
            async for event in stream:
                if event.type == "step.partial":
                    break
        assert stream.run
        if wish == "detach":
            (tmp_path / "2").touch()
        rest = await collect(client.follow(stream.run, after=stream.cursor))
        assert rest[-1].type == ending
