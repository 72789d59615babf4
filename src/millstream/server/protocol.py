"""uvicorn, made ready for streams: a listening socket, and protocols of our own that let a full
connection be felt early and cut at once."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from millstream.server.app import Millstream
from millstream.server.connection import EXTENSION
from millstream.server.socket_protocol import House, SocketProtocol

NOTSENT_BYTES = 16_384
"""TCP_NOTSENT_LOWAT: how much unsent data the kernel takes per connection. A slow client is felt
at about 100 kB in all, not at the 4 MB to which the kernel would let its buffer grow."""

BUFFER_BYTES = 16_384
"""From how much in a connection's own buffer on its writer has to wait."""


class Flow(FlowControl):
    """uvicorn's, without an Event for each connection: that would be 0.8 kB where nobody waits."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = self.write_paused = False
        self._waiters: list[asyncio.Future[None]] = []

    async def drain(self) -> None:
        """Wait until there is room."""
        while self.write_paused:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def pause_writing(self) -> None:
        """There is none."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """There is, or the connection has gone."""
        self.write_paused = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Settled(asyncio.Event):
    """In the place of the event by which a request's body is awaited, when there is no more."""

    def __init__(self) -> None:
        pass

    def set(self) -> None:
        """Nobody waits."""

    async def wait(self) -> Literal[True]:
        """Nobody may."""
        raise RuntimeError("this request has been settled: nothing more is received of it")


_SETTLED = _Settled()
_BARE: Mapping[str, Any] = {method: {"method": method} for method in ("GET", "POST")}


class _Queue(list[Any]):
    """Of pipelined requests, of which there are next to never any. A deque takes 0.8 kB empty."""

    def appendleft(self, request: Any) -> None:
        """The newest one."""
        self.insert(0, request)


class HttpConnection:
    """What is shown of the connection under one request (see `connection.Shown`)."""

    __slots__ = ("_call", "_cycle", "_flow", "_protocol", "_transport")

    def __init__(self, protocol: "StreamProtocol") -> None:
        self._protocol, self._flow, self._transport = protocol, protocol.flow, protocol.transport
        self._cycle: RequestResponseCycle | None = None
        self._call: Callable[[], None] | None = None

    def begin(self, cycle: RequestResponseCycle) -> None:
        """The request's head is complete, and this answers it."""
        self._cycle = cycle

    def full(self) -> bool:
        """Whether a send would have to wait."""
        return self._flow.write_paused

    async def room(self) -> None:
        """Wait until it would not."""
        await self._flow.drain()

    def waiting(self) -> int:
        """Bytes in the connection's buffer."""
        return self._transport.get_write_buffer_size()

    def sends_by(self, send: object) -> bool:
        """Whether `send` is this connection's own."""
        return self._cycle is not None and getattr(send, "__self__", None) is self._cycle

    def write(self, data: bytes) -> bool:
        """Chunks of the body, past ASGI."""
        transport = self._transport
        if self._flow.write_paused or transport.is_closing():
            return False
        transport.write(data)
        return True

    def writer(self) -> Callable[[bytes], bool] | None:
        """`write`, of a response that came to its body by ASGI, and is sent in chunks."""
        cycle = self._cycle
        begun = cycle is not None and cycle.chunked_encoding and not cycle.response_complete
        return self.write if begun else None

    def settle(self) -> None:
        """Let go of what reading the request took."""
        cycle = self._cycle
        if cycle is not None:
            cycle.message_event = _SETTLED
            scope: dict[str, Any] = cycle.scope  # type: ignore[assignment]
            cycle.scope = _BARE[scope["method"]]  # all that the rest of the answer asks for
            scope.clear()

    def on_lost(self, call: Callable[[], None] | None) -> bool:
        """Call it when the client has gone."""
        protocol = self._protocol
        if protocol.transport.is_closing():
            return False
        if call is not None or protocol.lost is self._call:  # else the next request's, by now
            protocol.lost = call
        self._call = call
        return True

    def abort(self) -> None:
        """Cut the connection."""
        self._protocol.transport.abort()


class StreamProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a small buffer, and the ASGI extension `EXTENSION`."""

    __slots__ = ("_shown", "lost")  # with 30 names or more, Python keeps 1.3 kB more a connection

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.lost: Callable[[], None] | None = None
        """What is told when the connection ends. (One response is under way at a time.)"""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        super().connection_made(transport)
        self.flow = Flow(transport)
        self.pipeline = _Queue()  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        lost, self.lost = self.lost, None
        if lost is not None:
            lost()

    def handle_websocket_upgrade(self) -> None:
        """The request asks for a WebSocket: from here on the connection is one."""
        self.connections.discard(self)
        state: Any = self.server_state
        transport, request, target = self.transport, self.scope, self.url
        socket = SocketProtocol(state.house, transport)
        transport.set_protocol(socket)
        self.parser = self.scope = None  # type: ignore[assignment]
        del self._shown  # it holds on to this, and this is over
        socket.begin(request, target, self.app_state.copy())  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        """A request begins: its scope gets the extension."""
        super().on_message_begin()
        self._shown = HttpConnection(self)
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope.setdefault("extensions", {})[EXTENSION] = self._shown

    def on_headers_complete(self) -> None:
        """Its answer can begin."""
        super().on_headers_complete()
        if self.cycle is not None:
            self._shown.begin(self.cycle)


def listen(host: str, port: int) -> socket.socket:
    """A bound and listening TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # accepted sockets inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class HouseState(ServerState):
    """uvicorn's state of a server, and that of its sockets."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__()
        self.house = House(config, self)


class Server(uvicorn.Server):
    """Tells the application first when it shall shut down, so that open streams end; uvicorn by
    itself would wait for them."""

    def __init__(
        self,
        config: uvicorn.Config,
        open: Callable[[], Awaitable[None]],
        drain: Callable[[], Awaitable[None]],
        started: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self.server_state = HouseState(config)
        self._open, self._drain, self._on_started = open, drain, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. What the application cannot open is raised as it is; within the lifespan
        uvicorn would make a traceback of it."""
        await self._open()
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop as ever."""
        await asyncio.gather(self._drain(), super().shutdown(sockets))


def make_server(
    app: Millstream,
    drain: Callable[[], Awaitable[None]],
    *,
    started: Callable[[], None] | None = None,
) -> Server:
    """A uvicorn server for an application on sockets from `listen`. `drain` may take as long as
    the application's settings say, before connections are closed that are still open."""
    config = uvicorn.Config(
        app,
        http=StreamProtocol,
        ws=SocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=app.settings.json_bytes,
        loop="auto",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(app.settings.drain) + 5,
    )
    return Server(config, app.open, drain, started)
