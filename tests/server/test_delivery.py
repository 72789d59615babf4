"""Delivery: what a stream does besides events: silence, durability, leaving, other transports."""

import asyncio
import json

import pytest
from serving import NDJSON, SSE, follow, positions, serving, sse, types

from millstream.stores.memory import MemoryStore

# --- silence -------------------------------------------------------------------------------------


async def test_a_silent_stream_has_a_heartbeat(tmp_path):
    async with serving(tmp_path, heartbeat=0.05) as served:
        run = await served.start()
        async with served.stream(f"/runs/{run}/events") as answer:
            lines = answer.aiter_lines()
            beats = 0
            while beats < 3:
                beats += (await anext(lines)).startswith(":")
            served.gate.let(3)
            told = [event async for _, event, _ in sse(lines)]
        assert told[-1]["type"] == "run.completed"


async def test_ndjson_and_json_stay_silent(tmp_path):
    async with serving(tmp_path, heartbeat=0.02) as served:
        run = await served.start(text="one")
        for accept, first in ((NDJSON, "{"), ({"Accept": "application/json"}, "{")):
            async with served.stream(f"/runs/{run}/events", headers=accept) as answer:
                chunks = answer.aiter_text()
                if accept is NDJSON:
                    assert (await anext(chunks))[0] == first
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await anext(chunks)


async def test_heartbeats_cost_no_event(tmp_path):
    """Each beat interrupts the wait for the next event; none is lost by that."""
    async with serving(tmp_path, heartbeat=0.001) as served:
        run = await served.start(text="a " * 50)
        reader = asyncio.create_task(follow(served, run))
        for _ in range(50):
            served.gate.let()
            await asyncio.sleep(0.002)
        assert await reader == await served.ended(run)


# --- durability ----------------------------------------------------------------------------------


class SlowStore(MemoryStore):
    """Keeps appends back until told."""

    def __init__(self):
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()

    async def append(self, *values, **more):
        await self.free.wait()
        await super().append(*values, **more)


async def test_nothing_is_visible_before_it_is_durable(tmp_path):
    store = SlowStore()
    async with serving(tmp_path, store=store) as served:
        run = await served.start(text="one")
        async with served.stream(f"/runs/{run}/events") as answer:
            events = sse(answer.aiter_lines())
            while (await anext(events))[1]["type"] != "step.started":
                pass
            store.free.clear()
            served.gate.let()
            following = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([following], timeout=0.2)
            assert not done
            document = (await served.http.get(f"/runs/{run}")).json()
            assert document["result"] is None
            store.free.set()
            assert (await following)[1]["type"] == "step.partial"


# --- leaving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [SSE, NDJSON, {}])
async def test_leaving_is_not_cancelling(tmp_path, headers):
    async with serving(tmp_path) as served:
        body = {"json": {"text": "one two"}, "headers": headers}
        async with served.stream("/pipelines/talk/runs", "POST", **body) as answer:
            run = answer.headers["location"].removeprefix("/runs/")
            assert not served.idle()
        await served.until(served.idle)
        assert await served.state(run) == "running"
        served.gate.let(2)
        assert (await served.ended(run))[-1]["type"] == "run.completed"


@pytest.mark.parametrize("headers", [SSE, NDJSON, {}])
async def test_leaving_cancels_where_that_was_asked_for(tmp_path, headers):
    async with serving(tmp_path) as served:
        body = {"json": {"text": "one"}, "headers": headers, "params": {"on_disconnect": "cancel"}}
        async with served.stream("/pipelines/talk/runs", "POST", **body) as answer:
            run = answer.headers["location"].removeprefix("/runs/")
        last = (await served.ended(run))[-1]
        assert last["type"] == "run.cancelled"
        assert last["data"] == {
            "by": "client",
            "reason": "the client that started it disconnected",
        }
        await served.until(served.idle)


async def test_a_run_that_ended_is_not_cancelled_by_leaving(tmp_path):
    async with serving(tmp_path) as served:
        body = {"json": {"n": 2}, "headers": SSE, "params": {"on_disconnect": "cancel"}}
        for _ in range(20):
            async with served.stream("/pipelines/count/runs", "POST", **body) as answer:
                told = [event async for _, event, _ in sse(answer.aiter_lines())]
            assert told[-1]["type"] == "run.completed"
        assert served.app.engine.worker.busy == 0


async def test_leaving_is_noticed_at_once_and_nothing_leaks(tmp_path):
    async with serving(tmp_path, heartbeat=3600) as served:
        run = await served.start()
        for _ in range(50):
            async with served.stream(f"/runs/{run}/events") as answer:
                await anext(answer.aiter_lines())
            await served.until(served.idle)
        assert len(served.app.engine.tails) == 1, "the writer's"
        await served.http.delete(f"/runs/{run}")
        await served.ended(run)
        await served.until(lambda: len(served.app.engine.tails) == 0)


# --- from one transport to another ---------------------------------------------------------------


async def test_a_reader_may_change_transports_in_mid_run(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start(text="a bb ccc dddd")
        seen = []
        async with served.stream(f"/runs/{run}/events", headers=SSE) as answer:
            served.gate.let()
            async for _, event, _ in sse(answer.aiter_lines()):
                seen.append(event)
                if event["type"] == "step.result":
                    break
        cursor = {"after": str(seen[-1]["seq"])}
        async with served.stream(f"/runs/{run}/events", headers=NDJSON, params=cursor) as answer:
            served.gate.let()
            async for line in answer.aiter_lines():
                seen.append(json.loads(line))
                if seen[-1]["type"] == "step.result":
                    break
        async with served.socket() as ws:
            ask = {"type": "subscribe", "run": run, "after": seen[-1]["seq"]}
            await ws.send(json.dumps(ask))
            assert json.loads(await ws.recv())["type"] == "subscribed"
            served.gate.let()
            while True:
                seen.append(json.loads(await ws.recv()))
                if seen[-1]["type"] == "step.result":
                    break
        served.gate.let()
        outcome = await served.http.get(
            f"/runs/{run}/events", headers={"Accept": "application/json"}
        )
        assert outcome.json()["result"] == 10
        seen += await follow(served, run, headers={"Last-Event-ID": str(seen[-1]["seq"])})
        assert seen == await served.log(run)
        assert positions(seen) == list(range(1, len(seen) + 1))
        assert types(seen).count("run.completed") == 1
