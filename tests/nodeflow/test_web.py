"""HTTP nodes against a server on loopback, and what they refuse."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from millstream import Out, Outgoing, StepError
from tests.nodeflow.nodes import made, timed, values


class Answers:
    """A server that gives prepared answers (the last for ever), and keeps what it was sent."""

    def __init__(self, *answers):
        self.answers, self.bodies = list(answers), []

    async def __call__(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        body = await reader.readexactly(int(length[0].split(":")[1])) if length else b""
        self.bodies.append((head.split("\r\n")[0], head.lower(), body))
        status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        said = (
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
        )
        writer.write(said.encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(*answers):
    handler = Answers(*answers)
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Outgoing(allow=[f"127.0.0.1:{port}"]) as outgoing:
        yield f"http://127.0.0.1:{port}/x", outgoing, handler


async def polled(config, *answers, most):
    async with serving(*answers) as (url, outgoing, _):
        node = made("http-poll", {"url": url, "interval": 0.001, **config}, client=outgoing)
        return values(await timed(node(), most=most))


async def test_a_poll_gives_answers_and_tells_what_went_wrong():
    told = await polled({}, (200, '{"a": 1}'), (503, "later"), (200, "{"), (200, "[2]"), most=4)
    assert told[0] == Out("out", {"a": 1})
    assert [out.port for out in told] == ["out", "error", "error", "out"]
    assert (told[1].value["code"], told[1].value["retryable"]) == ("http_status", True)
    assert told[2].value["code"] == "not_json"
    assert told[3] == Out("out", [2])


async def test_a_poll_may_give_only_what_changed():
    answers = [(200, "a"), (200, "a"), (200, "b"), (200, "a"), (200, "a")]
    told = await polled({"read": "text", "changed": True, "count": 5}, *answers, most=9)
    assert told == [Out("out", "a"), Out("out", "b"), Out("out", "a")]
    told = await polled({"read": "status", "count": 1}, (200, ""), most=1)
    assert told[0].value["status"] == 200


async def test_a_webhook_posts_each_message():
    async with serving((200, ""), (404, ""), (500, "")) as (url, outgoing, handler):
        config = {"url": url, "body": "{'v': value}", "headers": {"X-Key": "k"}}
        hook = made("webhook", config, client=outgoing)
        assert (await hook(input=3)).status == 200
        with pytest.raises(StepError, match="404") as final:
            await hook(input=4)
        with pytest.raises(StepError, match="500") as passing:
            await hook(input=5)
    assert (final.value.retryable, passing.value.retryable) == (False, True)
    assert [json.loads(body)["v"] for _, _, body in handler.bodies] == [3, 4, 5]
    line, head, _ = handler.bodies[0]
    assert line.startswith("POST /x ")
    assert "x-key: k" in head
    assert "content-type: application/json" in head


@pytest.mark.parametrize("kind", ["http-poll", "webhook"])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://169.254.169.254/", "http://[::1]/", "http://10.0.0.1/"]
)
async def test_the_inside_of_the_network_is_refused_when_the_flow_is_made(kind, url):
    async with Outgoing() as outgoing:
        with pytest.raises(StepError) as told:
            made(kind, {"url": url}, client=outgoing)
    assert told.value.code == "address_refused"


def test_a_url_is_http_and_a_client_is_needed():
    with pytest.raises(ValueError, match="url"):
        made("http-poll", {"url": "file:///etc/passwd"})
    with pytest.raises(ValueError, match="no outgoing client"):
        made("webhook", {"url": "https://example.org/"})
