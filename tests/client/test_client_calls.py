"""The client's single calls and its bodies, against a real server; and answers of no server of
ours, against a scripted transport."""

import asyncio
from pathlib import Path

import httpx
import pytest
from client_network import no_sleep, served

from millstream.client import Client, ConnectionLost, File, LogBroken, Pause, ServerError
from millstream.errors import InputError, SettingsError
from millstream.events import Event, encode


@pytest.fixture
async def server(tmp_path):
    async with served(tmp_path) as (app, url):
        yield app, url


@pytest.fixture
async def client(server):
    async with Client(server[1], sleep=no_sleep) as client:
        yield client


async def result_of(client, stream):
    async for _ in stream:
        pass
    return (await client.run(stream.run))["result"]


async def test_a_run_from_start_to_outcome(client, tmp_path):
    plan = {"to": 3, "folder": str(tmp_path), "gates": [1]}
    run = await client.start("count", input=plan, timeout=60)
    assert (await client.run(run))["state"] in ("queued", "running")
    waiting = asyncio.create_task(client.outcome(run))
    (tmp_path / "1").touch()
    assert (await waiting)["result"] == 5
    assert (await client.outcome(run))["state"] == "completed"
    (listed,) = await client.runs(pipeline="count", state="completed")
    assert listed["id"] == run
    assert await client.runs(before=run) == []


async def test_cancel_tells_the_reason(client, tmp_path):
    plan = {"to": 3, "folder": str(tmp_path), "gates": [1]}
    stream = client.stream("count", input=plan)
    events = []
    async for event in stream:
        events.append(event)
        if event.type == "step.partial":
            await client.cancel(event.run, "changed my mind")
    assert events[-1].type == "run.cancelled"
    assert events[-1].value["reason"] == "changed my mind"
    assert (await client.cancel(stream.run))["state"] == "cancelled"


async def test_the_same_key_is_the_same_run(client):
    runs = {await client.start("count", input={"to": 2}, key="mine") for _ in range(3)}
    assert len(runs) == 1
    with pytest.raises(ServerError) as caught:
        await client.start("count", input={"to": 3}, key="mine")
    assert (caught.value.code, caught.value.status) == ("conflict", 409)


async def test_files_of_every_kind_for_the_one_field(client, tmp_path):
    path = tmp_path / 'a "b"\n.jpg'
    path.write_bytes(b"x" * 600_000)
    named = tmp_path / "c.bin"
    named.write_bytes(b"yy")
    files: list[File] = [path, ("m.jpg", b"zzz", "image/jpeg"), ("牌.png", named), str(named)]
    result = await result_of(client, client.stream("weigh", files=files))
    assert [(r["size"], r["type"]) for r in result] == [
        (600_000, "image/jpeg"),
        (3, "image/jpeg"),
        (2, "image/png"),
        (2, "application/octet-stream"),
    ]
    assert [r["name"] for r in result[1:]] == ["m.jpg", "牌.png", "c.bin"]


async def test_files_by_field_with_other_fields(client):
    files = {"left": ("a", b"12345"), "right": [("b", b"123")]}
    stream = client.stream(
        "compare", files=files, fields={"factor": 0.5}, input={"note": "hi", "factor": 2}
    )
    assert await result_of(client, stream) == {"side": "right", "note": "hi"}


async def test_fields_without_files(client):
    assert await result_of(client, client.stream("count", fields={"to": 4, "gates": None})) == 14


async def test_files_that_cannot_be_placed(client, tmp_path):
    with pytest.raises(InputError, match=r"several fields for files \(left, right\).*'left'"):
        await client.start("compare", files="a.jpg")
    with pytest.raises(InputError, match="'count' takes no files"):
        await client.start("count", files=["a.jpg"])
    with pytest.raises(FileNotFoundError):
        await client.start("weigh", files=[tmp_path / "nothing.jpg"])
    with pytest.raises(IsADirectoryError):
        await anext(client.stream("weigh", files=[tmp_path]))


async def test_a_file_is_not_read_into_memory(client, tmp_path, monkeypatch):
    path = tmp_path / "large.bin"
    path.write_bytes(b"\0" * 5_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read whole"))
    (told,) = await result_of(client, client.stream("weigh", files=[path]))
    assert told["size"] == 5_000_000


async def test_refusals_are_raised_with_their_faults(client):
    with pytest.raises(ServerError) as caught:
        async for _ in client.stream("count", input={"to": "many"}):
            pass
    assert (caught.value.code, caught.value.status) == ("input_invalid", 422)
    assert caught.value.errors[0]["field"] == "to"
    for call in (client.run("nothing"), client.pipeline("x/y"), anext(client.follow("nothing"))):
        with pytest.raises(ServerError) as caught:
            await call
        assert caught.value.code == "not_found"


async def test_pipelines_are_described(client):
    assert [p["name"] for p in await client.pipelines()] == ["count", "weigh", "compare"]
    assert (await client.pipeline("weigh"))["fields"][0]["name"] == "pictures"


async def test_following_what_has_ended(client):
    stream = client.stream("count", input={"to": 2})
    events = [event async for event in stream]
    again = [event async for event in client.follow(stream.run, after=4)]
    assert again == events[4:]
    assert [event async for event in client.follow(stream.run, after=len(events))] == []
    assert repr(stream) == f"<Following run {stream.run} at {len(events)}>"


async def test_leaving_a_loop_leaves_nothing_behind(server, tmp_path):
    """The run waits at its gate; its reader goes, and takes the stream at the server along."""
    app, url = server
    async with Client(url) as client:
        stream = client.stream("count", input={"to": 2, "folder": str(tmp_path), "gates": [1]})
        async for _ in stream:
            assert len(app.service.streams) == 1
            break
    async with asyncio.timeout(30):
        await app.service.streams.drained()
    assert not app.service.streams.draining


# --- scripted answers ----------------------------------------------------------------------------


def ndjson(*events, location="/runs/r"):
    body = b"".join(encode(event) + b"\n" for event in events)
    headers = {"content-type": "application/x-ndjson", "location": location}
    return httpx.Response(200, headers=headers, content=body)


class Script(httpx.MockTransport):
    """Answers one after another; an exception is raised."""

    def __init__(self, *answers):
        self.requests = []
        self._answers = iter(answers)
        super().__init__(self._answer)

    def _answer(self, request):
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Time:
    def __init__(self):
        self.now, self.slept = 0.0, []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def scripted(*answers, **more):
    script, time = Script(*answers), Time()
    client = Client(
        "http://there/base",
        transport=script,
        now=lambda: time.now,
        sleep=time.sleep,
        **{"chance": lambda: 1.0, **more},
    )
    return client, script, time


FIRST = Event(run="r", seq=1, type="run.queued")
LAST = Event(run="r", seq=2, type="run.completed")
BUSY = httpx.Response(503, headers={"Retry-After": "7"}, json={"detail": "draining"})


async def test_retry_after_is_heeded_and_the_key_stays_the_same():
    pauses = []
    client, script, time = scripted(BUSY, BUSY, ndjson(FIRST, LAST), on_retry=pauses.append)
    assert [e async for e in client.stream("p")] == [FIRST, LAST]
    assert time.slept == [7.2, 7.4]
    assert len({r.headers["idempotency-key"] for r in script.requests}) == 1
    assert pauses[0] == Pause("the server answered 503: draining", 7.2, 1)


async def test_it_resumes_behind_the_last_event_under_the_same_base():
    client, script, _ = scripted(
        ndjson(FIRST), httpx.ConnectError("no"), httpx.Response(502), ndjson(LAST), chance=lambda: 0
    )
    assert [e async for e in client.stream("p")] == [FIRST, LAST]
    asked = [(r.method, r.url.raw_path) for r in script.requests]
    assert asked[0] == ("POST", b"/base/pipelines/p/runs?on_disconnect=detach")
    assert asked[1:] == [("GET", b"/base/runs/r/events?after=1")] * 3


async def test_the_run_is_known_before_its_first_event():
    client, script, _ = scripted(ndjson(location="/base/runs/a%20b"), httpx.Response(404))
    with pytest.raises(ServerError):
        await anext(client.stream("p"))
    assert script.requests[1].url.raw_path == b"/base/runs/a%20b/events?after=0"


async def test_a_jump_in_positions_is_an_error_of_its_own():
    jumped = Event(run="r", seq=3, type="run.completed")
    client, _, _ = scripted(ndjson(FIRST, jumped))
    with pytest.raises(LogBroken, match="position 3 came"):
        [e async for e in client.stream("p")]


async def test_an_end_without_an_end_is_broken():
    client, _, _ = scripted(ndjson(FIRST), httpx.Response(204))
    with pytest.raises(LogBroken, match="no end came"):
        [e async for e in client.stream("p")]


async def test_a_silent_connection_is_opened_anew_without_a_pause():
    time = Time()

    class Silent(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield encode(FIRST) + b"\n"
            time.now += 60
            raise httpx.ReadTimeout("", request=httpx.Request("GET", "http://there"))

    headers = {"content-type": "application/x-ndjson", "location": "/runs/r"}
    script = Script(httpx.Response(200, headers=headers, stream=Silent()), ndjson(LAST))
    client = Client("http://there", transport=script, now=lambda: time.now, sleep=time.sleep)
    assert [e async for e in client.stream("p")] == [FIRST, LAST]
    assert time.slept == []


async def test_calls_have_patience_too_and_lose_it():
    client, _, _ = scripted(BUSY, httpx.ReadError(""), httpx.Response(200, json={"pipelines": []}))
    assert await client.pipelines() == []
    errors = [httpx.ConnectError("")] * 99
    client, _, time = scripted(*errors, give_up_after=20)
    with pytest.raises(ConnectionLost, match="no connection to there"):
        await client.pipelines()
    assert time.now == pytest.approx(20)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<p>hello</p>"),
        httpx.Response(200, json={"result": 1}),
    ],
)
async def test_some_other_server_is_told_from_ours(answer):
    client, _, _ = scripted(answer)
    with pytest.raises(ServerError, match="no Millstream server") as caught:
        await anext(client.stream("p"))
    assert caught.value.code == "unexpected_answer"


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x", "http://", "http://[::"])
def test_an_address_is_checked_at_once(url):
    with pytest.raises(SettingsError, match="is no address"):
        Client(url)
