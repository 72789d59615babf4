"""The load client's streams that take two requests: an id out of the first answer, then the stream,
on the same connection; and blocks of other kinds beside the log's events."""

import asyncio
import json
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.client import Asked, Load, Then, get, post
from bench.programs import compiler
from bench.server import Broken

from tests.bench.test_bench_runs import Blocks, event

needs_cc = pytest.mark.skipif(compiler() is None, reason="the load client is C: needs cc")
pytestmark = [needs_cc, pytest.mark.skipif(sys.platform != "linux", reason="epoll, /proc")]

CONNECTIONS, ANSWERS = 3, 9
END = event(3, "run.completed")
TOLD_AGAIN = "event: heartbeat\ndata: null\n\nevent: complete\n" + END
ASKED = Asked(
    "sse",
    post("/join/{i}", {"data": [2]}, "application/json", "sse").request,
    then=Then("ticket", get("/follow/{id}").request),
    only="generating",
)


def block(seq: int, type: str = "step.partial", kind: str = "generating") -> str:
    return f"event: {kind}\n{event(seq, type)}"


STREAM = block(1) + block(2) + block(3, "run.completed") + TOLD_AGAIN


@pytest.mark.parametrize("cut", [1, 7, 4096])
@pytest.mark.parametrize("chunked", [True, False])
def test_the_stream_of_each_id_is_followed_on_its_connection(
    cut: int, chunked: bool, tmp_path: Path
) -> None:
    server = Joined(STREAM, cut, chunked=chunked)
    told = loaded(server, tmp_path)

    assert (told["answered"], told["events"], told["messages"]) == (ANSWERS, 18, 27)
    assert told["first_event_count"] == told["done_count"] == ANSWERS
    assert server.connections == CONNECTIONS
    assert set(server.numbers) == {f"{each}" for each in range(CONNECTIONS)}
    assert len(server.followed) == len(set(server.followed)) == ANSWERS


WRONG = {
    "no id": (STREAM, ASKED, {"ticket": ""}, "no id"),
    "an id elsewhere": (STREAM, ASKED, {"id": "a"}, "no id"),
    "an id that does not fit": (STREAM, ASKED, {"ticket": "a" * 64}, "no id"),
    "an id that nobody gave": (STREAM, ASKED, {"ticket": "b"}, "status 404"),
    "told again": (STREAM, replace(ASKED, only=None), None, "gaps"),
    "the end is of another kind": (block(1) + block(2) + TOLD_AGAIN, ASKED, None, "terminal"),
    "an event is of another kind": (
        block(1) + block(2, kind="error") + block(3, "run.completed"),
        ASKED,
        None,
        "number",
    ),
    "a block without a kind": (
        block(1) + event(2) + block(3, "run.completed"),
        ASKED,
        None,
        "number",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_seen(fault: str, tmp_path: Path) -> None:
    stream, asked, ticket, complaint = WRONG[fault]
    with pytest.raises(Broken, match=complaint):
        loaded(Joined(stream, 4096, ticket=ticket), tmp_path, asked)


def test_a_server_that_hangs_up_between_the_two_is_seen(tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"closed although|send failed|reset by peer"):
        loaded(Joined(STREAM, 4096, hangs_up=True), tmp_path)


def test_all_have_begun_when_the_second_answers_have(tmp_path: Path) -> None:
    server = Joined(
        STREAM, 1, chunked=True
    )  # so that a first answer's head comes long before its end
    with (
        server as port,
        Load(
            ASKED, port, tmp_path, connections=CONNECTIONS, events=2, gate=True, timeout=20
        ) as load,
    ):
        load.wait("ready")
        assert len(server.followed) == CONNECTIONS
        assert load.finish()["events"] == 2 * CONNECTIONS


def loaded(server: "Joined", folder: Path, asked: Asked = ASKED) -> dict[str, Any]:
    with (
        server as port,
        Load(
            asked, port, folder, connections=CONNECTIONS, events=2, repeat=ANSWERS, timeout=20
        ) as load,
    ):
        return load.finish()


class Joined(Blocks):
    """POST /join/N answers a ticket, another one each time (or always the one that is given here);
    GET /follow/TICKET the stream, once. Connections stay open."""

    def __init__(
        self,
        stream: str,
        cut: int,
        *,
        chunked: bool = False,
        ticket: dict[str, str] | None = None,
        hangs_up: bool = False,
    ) -> None:
        super().__init__(stream.encode(), cut)
        self._cut, self._chunked, self._ticket, self._hangs_up = cut, chunked, ticket, hangs_up
        self.connections = 0
        self.numbers: list[str] = []
        self.followed: list[str] = []

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError):  # the client has what it wanted
            goes_on = True
            while goes_on:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                _, place, name = head.split()[1].split("/")
                goes_on = await (self._join if place == "join" else self._follow)(writer, name)
        writer.close()

    async def _join(self, writer: asyncio.StreamWriter, number: str) -> bool:
        self.numbers.append(number)
        ticket = self._ticket or {"place": "1", "ticket": f"t-{len(self.numbers)}"}
        body = json.dumps(ticket, indent=1).encode()  # of several lines, none of which is a message
        if self._chunked:
            await self._send(
                writer, [body[at : at + self._cut] for at in range(0, len(body), self._cut)]
            )
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return not self._hangs_up

    async def _follow(self, writer: asyncio.StreamWriter, ticket: str) -> bool:
        if ticket in self.followed or ticket not in {
            f"t-{n + 1}" for n in range(len(self.numbers))
        }:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return False
        self.followed.append(ticket)
        await self._send(writer, self._chunks)
        return True
