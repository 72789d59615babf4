"""The WebSocket: many runs over one connection, each with a cursor of its own."""

import asyncio
import json

import pytest
import websockets
from serving import make_app, positions, serving, types

from millstream.errors import StoreError
from millstream.server import conversation
from millstream.stores.memory import MemoryStore


class Client:
    """A socket's JSON frames, told apart by what they are."""

    def __init__(self, connection):
        self.connection = connection

    async def say(self, **frame):
        await self.connection.send(json.dumps(frame))

    async def hear(self):
        async with asyncio.timeout(20):
            return json.loads(await self.connection.recv())

    async def ask(self, **frame):
        """Say, and hear the answer; events may come before it."""
        await self.say(ref="asked", **frame)
        while (told := await self.hear()).get("ref") != "asked":
            pass
        return told

    async def events(self, run, until=("run.completed", "run.failed", "run.cancelled")):
        told = []
        while not told or told[-1]["type"] not in until:
            frame = await self.hear()
            if frame.get("run") == run and "seq" in frame:
                told.append(frame)
        return told


def connected(served, **more):
    class Connected:
        async def __aenter__(self):
            self._connection = await served.socket(**more)
            return Client(self._connection)

        async def __aexit__(self, *error):
            await self._connection.close()

    return Connected()


async def test_ping_and_ref(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        await client.say(type="ping")
        assert await client.hear() == {"type": "pong"}
        for ref in ("r", 7):
            await client.say(type="ping", ref=ref)
            assert await client.hear() == {"type": "pong", "ref": ref}


async def test_start_and_follow(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        answer = await client.ask(type="start", pipeline="count", input={"n": 3})
        assert answer["type"] == "started"
        told = await client.events(answer["run"])
        assert told == await served.log(answer["run"])


async def test_several_runs_at_once_each_from_its_cursor(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        runs = [await served.start("count", n=n) for n in (2, 5, 9)]
        logs = [await served.ended(run) for run in runs]
        for after, run in enumerate(runs):
            await client.say(type="subscribe", run=run, after=after)
        frames = []
        while sum(frame["type"] == "run.completed" for frame in frames) < 3:
            frames.append(await client.hear())
        for after, (run, log) in enumerate(zip(runs, logs, strict=True)):
            events = [f for f in frames if f.get("run") == run and "seq" in f]
            assert events == log[after:]
            answer = next(f for f in frames if f["type"] == "subscribed" and f["run"] == run)
            assert answer["after"] == after


async def test_cancel(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        run = (await client.ask(type="start", pipeline="talk", input={"text": "held"}))["run"]
        answer = await client.ask(type="cancel", run=run, reason="enough")
        assert (answer["type"], answer["stopping"]) == ("cancelling", True)
        last = (await served.ended(run))[-1]
        assert last["data"] == {"by": "client", "reason": "enough"}
        assert (await client.ask(type="cancel", run=run))["stopping"] is False


async def test_unsubscribe_then_subscribe_again(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        run = await served.start(text="a b c")
        await client.say(type="subscribe", run=run)
        first = await client.events(run, until=("step.started",))
        assert (await client.ask(type="unsubscribe", run=run))["type"] == "unsubscribed"
        await served.until(lambda: served.app.engine.tails.watchers == 0)
        served.gate.let(3)
        await served.ended(run)
        assert (await client.ask(type="ping"))["type"] == "pong", "and nothing before it"
        await client.say(type="subscribe", run=run, after=first[-1]["seq"])
        assert first + await client.events(run) == await served.log(run)
        assert (await client.ask(type="unsubscribe", run="never was"))["type"] == "unsubscribed"


async def test_subscribing_twice_replaces_the_first(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        run = await served.start(text="a b c")
        for _ in range(5):
            await client.ask(type="subscribe", run=run, after=2)
        assert served.app.engine.tails.watchers == 1
        served.gate.let(3)
        told = await client.events(run)
        assert positions(told)[-1] == len(await served.log(run))
        assert len(positions(told)) - len(set(positions(told))) <= 4, "at most what was on its way"
        answer = await client.ask(type="ping")
        assert answer["type"] == "pong"


async def test_one_key_started_twice_is_followed_once(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        ask = {"type": "start", "pipeline": "talk", "input": {"text": "held"}, "key": "k"}
        first, second = await client.ask(**ask), await client.ask(**ask)
        assert first["run"] == second["run"]
        assert served.app.engine.tails.watchers == 1
        other = await client.ask(**{**ask, "input": {"text": "other"}})
        assert (other["type"], other["code"]) == ("error", "conflict")


@pytest.mark.parametrize(
    ("frame", "code", "said"),
    [
        ({"type": "subscribe", "run": "nope"}, "not_found", "nope"),
        ({"type": "subscribe", "run": "nope", "after": 10**17}, "not_found", "nope"),
        ({"type": "cancel", "run": "nope"}, "not_found", "nope"),
        ({"type": "start", "pipeline": "cuont"}, "not_found", "count"),
        ({"type": "start", "pipeline": "count", "input": {"nn": 1}}, "input_invalid", "'n'"),
        ({"type": "start", "pipeline": "count", "input": 7}, "bad_request", "input"),
        ({"type": "start", "pipeline": "count", "timeout": -1}, "bad_request", "timeout"),
        (
            {"type": "start", "pipeline": "measure", "input": {"files": [1]}},
            "input_invalid",
            "file",
        ),
        ({"type": "subscribe"}, "bad_request", "run"),
        ({"type": "subscribe", "run": "x", "after": -1}, "bad_request", "after"),
        ({"type": "explode"}, "bad_request", "explode"),
        ({}, "bad_request", "type"),
    ],
)
async def test_errors_bear_the_ref_and_the_socket_lives(tmp_path, frame, code, said):
    async with serving(tmp_path) as served, connected(served) as client:
        answer = await client.ask(**frame)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert said in answer["message"]
        assert (await client.ask(type="ping"))["type"] == "pong"


async def test_binary_frames_and_garbage(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        await client.connection.send(b'{"type":"ping","ref":1}')
        assert await client.hear() == {"type": "pong", "ref": 1}
        for garbage in (b"", "", b"\xff\x00", "[" * 100_000, "null", '{"type":"ping","ref":{}}'):
            await client.connection.send(garbage)
            assert (await client.hear())["code"] == "bad_request"


async def test_a_defect_of_ours_is_told_without_its_insides(tmp_path, monkeypatch):
    async with serving(tmp_path, quiet=False) as served, connected(served) as client:

        async def broken(*values, **more):
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(served.app.engine, "cancel", broken)
        answer = await client.ask(type="cancel", run="x")
        assert answer["code"] == "internal_error"
        assert "secret" not in json.dumps(answer)
        assert (await client.ask(type="ping"))["type"] == "pong"


class BrokenStore(MemoryStore):
    down = False

    async def read(self, *values, **more):
        if self.down:
            raise StoreError("out of reach")
        return await super().read(*values, **more)


async def test_a_store_that_breaks_off_is_told_and_the_socket_lives(tmp_path):
    store = BrokenStore()
    async with serving(tmp_path, store=store) as served, connected(served) as client:
        run = await served.start("count")
        await served.ended(run)
        await served.until(lambda: len(served.app.engine.tails) == 0)
        store.down = True
        answer = await client.ask(type="subscribe", run=run)
        assert answer["code"] == "store_unavailable"
        store.down = False
        await client.say(type="subscribe", run=run)
        assert (await client.events(run))[-1]["type"] == "run.completed"


async def test_at_most_so_many_subscriptions(tmp_path, monkeypatch):
    monkeypatch.setattr(conversation, "MAX_SUBSCRIPTIONS", 3)
    async with serving(tmp_path) as served, connected(served) as client:
        runs = [await served.start() for _ in range(4)]
        for run in runs[:3]:
            assert (await client.ask(type="subscribe", run=run))["type"] == "subscribed"
        refused = await client.ask(type="subscribe", run=runs[3])
        assert "at most 3 runs" in refused["message"]
        started = await client.ask(type="start", pipeline="count", input={"n": 1})
        assert started["type"] == "error"
        assert len((await served.http.get("/runs")).json()["runs"]) == 4, "nothing was started"
        assert (await client.ask(type="subscribe", run=runs[0]))["type"] == "subscribed", "again"
        await client.ask(type="unsubscribe", run=runs[0])
        assert (await client.ask(type="subscribe", run=runs[3]))["type"] == "subscribed"


async def test_many_runs_over_one_socket(tmp_path):
    async with serving(tmp_path) as served, connected(served) as client:
        runs = [await served.start(text="held") for _ in range(60)]
        for run in runs:
            await client.say(type="subscribe", run=run)
        await served.until(lambda: served.app.engine.tails.watchers == len(runs))
        served.gate.let(len(runs))
        seen: dict[str, list] = {run: [] for run in runs}
        ended = 0
        while ended < len(runs):
            frame = await client.hear()
            if "seq" in frame:
                seen[frame["run"]].append(frame["seq"])
                ended += frame["type"] == "run.completed"
        for run, told in seen.items():
            assert told == list(range(1, len(await served.log(run)) + 1))


async def test_leaving(tmp_path):
    async with serving(tmp_path) as served:
        async with connected(served) as client:
            ask = {"type": "start", "pipeline": "talk", "input": {"text": "held"}}
            stays = (await client.ask(**ask))["run"]
            goes = (await client.ask(**ask, on_disconnect="cancel"))["run"]
            done = await client.ask(
                type="start", pipeline="count", input={"n": 1}, on_disconnect="cancel"
            )
            await client.events(done["run"])
        last = (await served.ended(goes))[-1]
        assert last["type"] == "run.cancelled"
        assert "disconnected" in last["data"]["reason"]
        await served.until(served.idle)
        assert await served.state(stays) == "running"
        assert await served.state(done["run"]) == "completed"


async def test_a_client_that_is_cut_off_leaves_nothing_behind(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start()
        for _ in range(20):
            connection = await served.socket()
            await connection.send(json.dumps({"type": "subscribe", "run": run}))
            await connection.recv()
            connection.transport.abort()
        await served.until(served.idle)


# --- origins -------------------------------------------------------------------------------------


async def test_pages_of_other_origins_are_refused(tmp_path):
    allowed = "https://ours.example"
    async with serving(tmp_path, origins=(allowed,)) as served:
        for origin in (served.url, allowed, None):
            more = {"origin": origin} if origin else {}
            async with connected(served, **more) as client:
                assert (await client.ask(type="ping"))["type"] == "pong"
        for origin in ("https://evil.example", "null", "http://[", f"{served.url}.evil.example"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await served.socket(origin=origin)
            assert refused.value.response.status_code == 403


# --- stalls, and shutting down -------------------------------------------------------------------


async def test_a_stalled_socket_is_cut_and_lets_all_its_runs_go(tmp_path):
    async with serving(tmp_path, stall_timeout=0.5) as served:
        runs = [await served.start("count", n=3000) for _ in range(30)]
        await asyncio.gather(*map(served.ended, runs))
        connection = await served.socket(max_queue=1)
        for run in runs:
            await connection.send(json.dumps({"type": "subscribe", "run": run}))
        connection.transport.pause_reading()
        await served.until(lambda: served.app.streams.stalled == 1)
        await served.until(served.idle)
        connection.transport.abort()


async def test_draining_closes_with_1012_and_cancels_nothing(tmp_path):
    app = make_app(tmp_path)
    async with serving(tmp_path, app=app) as served, connected(served) as client:
        ask = {"type": "start", "pipeline": "talk", "input": {"text": "held"}}
        run = (await client.ask(**ask, on_disconnect="cancel"))["run"]
        await app.drain()
        await client.connection.wait_closed()
        assert client.connection.close_code == 1012
        await served.until(served.idle)
        assert await served.state(run) == "running"
        assert "run.cancelled" not in types(await served.log(run))


async def test_shutting_the_server_down_closes_with_1012_too(tmp_path):
    app = make_app(tmp_path)
    async with serving(tmp_path, app=app) as served:
        connection = await served.socket()
        client = Client(connection)
        ask = {"type": "start", "pipeline": "talk", "input": {"text": "held"}}
        run = (await client.ask(**ask, on_disconnect="cancel"))["run"]
        closing = asyncio.create_task(connection.wait_closed())
    await closing
    assert connection.close_code == 1012
    found = await app.engine.store.run(run)
    assert found is not None
    assert (found.state, found.cancel) == ("running", None)
