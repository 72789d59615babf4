"""A WebSocket's connection under any ASGI application, and under an attendant of ours."""

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
import websockets
from serving import PATIENCE, heard, until
from test_reader import frame

from millstream.server import socket_protocol
from millstream.server.attending import Attending
from millstream.server.connection import Connection
from millstream.server.pings import PARTS
from millstream.server.protocol import Server, StreamProtocol, listen
from millstream.server.socket_protocol import SocketProtocol


async def nothing():
    pass


@asynccontextmanager
async def hosted(application, *, quiet=True, **more):
    """An ASGI application under our protocols; yields its server and address."""
    with heard(quiet) as noise:
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(
            application,
            http=StreamProtocol,
            ws=SocketProtocol,
            lifespan="off",
            log_config=None,
            ws_max_size=1000,
            timeout_graceful_shutdown=5,
            **more,
        )
        server: Any = Server(config, nothing, nothing)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        server.noise = noise
        port = listener.getsockname()[1]
        try:
            async with asyncio.timeout(PATIENCE):
                yield server, f"ws://127.0.0.1:{port}/a%20b?c=d"
        finally:
            await server.shutdown([listener])


def connections(server):
    return [each for each in server.server_state.connections if isinstance(each, SocketProtocol)]


def inbox(connection):
    """What waits to be heard."""
    hearer = connection._hearer
    return hearer._inbox if isinstance(hearer, Attending) else hearer.inbox


HEAD = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def port_of(url):
    return urlsplit(url).port


class Echo:
    """Accepts, sends back what it hears, and notes everything."""

    def __init__(self, **accept):
        self.accept, self.heard = accept, []
        self.scope: Any = None

    async def __call__(self, scope, receive, send):
        self.scope = scope
        assert (await receive()) == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", **self.accept})
        while (message := await receive())["type"] == "websocket.receive":
            self.heard.append(message.get("text", message.get("bytes")))
            await send({**message, "type": "websocket.send"})
        self.heard.append(message)


async def test_what_is_said_is_heard_and_comes_back(tmp_path):
    echo = Echo(subprotocol="b", headers=[(b"x-told", b"yes")])
    async with hosted(echo) as (server, url):
        names: Any = ["a", "b"]
        async with websockets.connect(url, subprotocols=names) as client:
            assert client.subprotocol == "b"
            assert client.response is not None
            assert client.response.headers["x-told"] == "yes"
            for said in ("", "text é語", b"", b"\xff" * 1000, "x" * 1000):
                await client.send(said)
                assert await client.recv() == said
            await client.send(iter(["in ", "é", "parts"]))
            assert await client.recv() == "in éparts"
            await client.close(3000, "enough")
        await until(lambda: not connections(server))
    assert echo.heard[-1] == {"type": "websocket.disconnect", "code": 3000, "reason": "enough"}
    assert (echo.scope["path"], echo.scope["query_string"]) == ("/a b", b"c=d")
    assert (echo.scope["type"], echo.scope["subprotocols"]) == ("websocket", ["a", "b"])


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [
        (frame(1, b"x" * 1001), 1009),
        (frame(1, b"x" * 600, fin=False) + frame(0, b"x" * 401), 1009),
        (frame(1, b"\xff"), 1007),
        (frame(1, b"x", mask=b""), 1002),
        (frame(3), 1002),
        (frame(1, rsv=4), 1002),
        (frame(9, fin=False), 1002),
        (frame(0, b"x"), 1002),
        (frame(1, fin=False) + frame(1), 1002),
        (frame(8, b"\x03"), 1002),
        (frame(8, b"\x03\xed"), 1002),
    ],
)
async def test_what_a_client_must_not_send_ends_the_socket(bytes_, code):
    echo = Echo()
    async with hosted(echo) as (server, url):
        client = await websockets.connect(url)
        await client.send("good")
        assert await client.recv() == "good"
        client.transport.write(bytes_ + frame(1, b"never heard"))
        await client.wait_closed()
        assert client.close_code == code
        await until(lambda: not connections(server))
    assert echo.heard[0] == "good"
    assert echo.heard[1]["code"] == code
    assert len(echo.heard) == 2


async def test_a_client_that_does_not_wait_for_the_answer_is_cut_off():
    going, raised = asyncio.Event(), []

    async def application(scope, receive, send):
        await going.wait()
        try:
            await send({"type": "websocket.accept"})
        except OSError as error:
            raised.append(error)

    async with hosted(application) as (server, url):
        client = socket.create_connection(("127.0.0.1", port_of(url)))
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, HEAD)
        await until(lambda: connections(server))
        await loop.sock_sendall(client, frame(1, b"early"))
        await until(lambda: not connections(server))
        going.set()
        await until(lambda: raised)
        client.close()


# --- what an application may answer ---------------------------------------------------------------


async def refused(url):
    with pytest.raises(websockets.InvalidStatus) as error:
        await websockets.connect(url)
    return error.value.response


async def test_a_close_before_accepting_is_403():
    async def application(scope, receive, send):
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.connect"
        assert (await receive())["type"] == "websocket.disconnect"

    async with hosted(application) as (_, url):
        assert (await refused(url)).status_code == 403


async def test_a_refusal_of_the_applications_own():
    async def application(scope, receive, send):
        begin = {"type": "websocket.http.response.start", "status": 418}
        await send({**begin, "headers": [(b"x-told", b"yes")]})
        await send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"pot"})

    async with hosted(application) as (_, url):
        response = await refused(url)
        assert (response.status_code, response.body) == (418, b"teapot")
        assert response.headers["x-told"] == "yes"


@pytest.mark.parametrize("fails", [True, False])
async def test_an_application_that_does_not_answer_is_500_and_logged(fails):
    async def application(scope, receive, send):
        if fails:
            raise ZeroDivisionError("inside")

    async with hosted(application, quiet=False) as (server, url):
        response = await refused(url)
        assert response.status_code == 500
        assert b"inside" not in response.body
        assert len(server.noise) == 1
        await until(lambda: not connections(server))


async def test_an_application_that_fails_later_ends_the_connection():
    async def application(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    async with hosted(application, quiet=False) as (server, url):
        client = await websockets.connect(url)
        await client.wait_closed()
        assert client.close_code == 1006
        assert len(server.noise) == 1


@pytest.mark.parametrize(
    "said",
    [
        [{"type": "websocket.send", "text": "too early"}],
        [{"type": "websocket.accept"}, {"type": "websocket.accept"}],
        [
            {"type": "websocket.accept"},
            {"type": "websocket.close"},
            {"type": "websocket.send", "text": "too late"},
        ],
    ],
)
async def test_what_may_not_be_said_now_is_an_error(said):
    raised = []

    async def application(scope, receive, send):
        try:
            for message in said:
                await send(message)
        except RuntimeError as error:
            raised.append(str(error))
            raise

    async with hosted(application, quiet=False) as (server, url):
        with pytest.raises((websockets.InvalidStatus, websockets.ConnectionClosed)):
            await (await websockets.connect(url)).recv()
        await until(lambda: raised and not connections(server))
    assert len(raised) == 1


async def test_our_close_is_answered_and_the_application_hears_of_it_at_once():
    told = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": 3001, "reason": "because"})
        told.append(await receive())

    async with hosted(application) as (server, url):
        client = await websockets.connect(url)
        assert await client.recv() == "last"
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (3001, "because")
        await until(lambda: not connections(server))
    assert told == [{"type": "websocket.disconnect", "code": 3001, "reason": "because"}]


async def test_a_client_that_does_not_answer_our_close_is_let_go_of(monkeypatch):
    monkeypatch.setattr(socket_protocol, "CLOSE_SECONDS", 0.05)

    async def application(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async with hosted(application) as (server, url):
        client = await websockets.connect(url)
        client.transport.pause_reading()
        await until(lambda: not connections(server))
        client.transport.abort()


async def test_sending_to_a_client_that_has_gone_raises():
    left = asyncio.Event()
    raised = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send({"type": "websocket.send", "text": "hello?"})
        except OSError as error:
            raised.append(error)
        left.set()

    async with hosted(application) as (_, url):
        client = await websockets.connect(url)
        client.transport.abort()
        await left.wait()
    assert len(raised) == 1


async def test_a_slow_application_holds_its_client_up():
    """At most one message waits for it besides what a single read has brought."""
    going, peak = asyncio.Event(), 0

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await going.wait()
        for number in range(3000):
            assert (await receive())["text"] == f"{number:04d}" + "x" * 900
        await send({"type": "websocket.send", "text": "all"})

    async with hosted(application) as (server, url):
        narrow = socket.create_connection(("127.0.0.1", port_of(url)))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        client = await websockets.connect(url, sock=narrow)
        sending = asyncio.create_task(say(client, 3000))
        await until(lambda: connections(server)[0]._paused)
        waiting = inbox(connections(server)[0])
        peak = len(waiting)
        assert not sending.done()
        going.set()
        await sending
        assert await client.recv() == "all"
    assert peak < 300, "a read is 256 kB at most"


async def say(client, many):
    for number in range(many):
        await client.send(f"{number:04d}" + "x" * 900)


# --- pings ---------------------------------------------------------------------------------------


async def test_who_answers_pings_stays_and_who_does_not_is_ended():
    echo = Echo()
    async with hosted(echo) as (server, url):
        answers = await websockets.connect(url, ping_interval=None)
        (held,) = connections(server)
        for _ in range(3):
            held.ping()
            await until(lambda: held._pinged is None)
        assert answers.state is websockets.State.OPEN
        held.ping()
        pinged = held._pinged
        held.data_received(frame(10, b"stray"))
        assert held._pinged == pinged, "somebody else's pong"
        held.ping()
        await answers.wait_closed()
        assert answers.close_code == 1011
        await until(lambda: not connections(server))
    assert echo.heard[-1]["type"] == "websocket.disconnect"


async def test_sockets_are_asked_while_they_are_open():
    async with hosted(Echo()) as (server, url):
        house = server.server_state.house
        clients = [await websockets.connect(url) for _ in range(3)]
        for _ in range(PARTS):
            house.pings.turn()
        assert all(each._pinged is not None for each in connections(server))
        await until(lambda: all(each._pinged is None for each in connections(server)))
        for client in clients:
            await client.close()
        await until(lambda: not any(house.pings._parts))


# --- an attendant ---------------------------------------------------------------------------------


class Attendant:
    """Accepts, and lets the socket be attended to; `gate` holds each message up."""

    def __init__(self, gate=None):
        self.heard, self.left, self.busy = [], asyncio.Event(), 0
        self.gate: Any = gate

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        self.connection = Connection(scope, send)
        assert self.connection.attend(self)

    async def hear(self, message):
        self.busy += 1
        assert self.busy == 1, "one after another"
        if self.gate is not None:
            await self.gate.acquire()
        self.heard.append(message)
        self.busy -= 1
        if message == "break":
            raise ZeroDivisionError

    async def leave(self):
        assert not self.busy
        assert not self.left.is_set()
        self.left.set()


async def test_an_attendant_hears_one_message_after_another_and_the_end():
    attending = Attendant(asyncio.Semaphore(0))
    async with hosted(attending, proxy_headers=False) as (server, url):
        client = await websockets.connect(url)
        for said in ("a", b"b", "c"):
            await client.send(said)
        await until(lambda: attending.busy)
        closing = asyncio.create_task(client.close())
        assert not attending.heard
        assert not attending.left.is_set()
        for _ in range(3):
            attending.gate.release()
        await asyncio.gather(closing, attending.left.wait())
        assert attending.heard == ["a", b"b", "c"]
        await until(lambda: not connections(server) and not server.server_state.tasks)


async def test_no_task_waits_for_a_silent_socket():
    attending = Attendant()
    async with hosted(attending) as (server, url):
        client = await websockets.connect(url)
        await client.send("a")
        await until(lambda: attending.heard == ["a"])
        await until(lambda: not server.server_state.tasks)
        (held,) = connections(server)
        for name in ("_reader", "_waiters", "_close_timer"):
            assert getattr(held, name) is None
        assert inbox(held)._held is None
        assert client.state is websockets.State.OPEN
        await client.close()
        await attending.left.wait()


async def test_an_attendant_that_fails_is_logged_and_its_socket_ends():
    attending = Attendant()
    async with hosted(attending, quiet=False) as (server, url):
        client = await websockets.connect(url)
        await client.send("break")
        await client.wait_closed()
        await attending.left.wait()
        assert len(server.noise) == 1


async def test_a_server_that_stops_says_so_to_attended_sockets():
    attending = Attendant()
    async with hosted(attending) as (_, url):
        client = await websockets.connect(url)
        await client.send("a")
        await until(lambda: attending.heard == ["a"])
        closing = asyncio.create_task(client.wait_closed())
    await closing
    assert client.close_code == 1012
    assert attending.left.is_set()
