"""SocketProtocol: a WebSocket's connection, from the handshake to its end.

In the place of uvicorn's own, which keeps 20 kB for each open socket: here one that is silent holds
its transport, this object, and whoever attends to it. Frames are read by `reader.py`, the handshake
is judged by `handshake.py`, messages go to `socket_asgi.py` or `attending.py`, and whether clients
still answer is asked by `pings.py`.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

import uvicorn
from uvicorn.server import ServerState

from millstream.server.attending import Attending
from millstream.server.connection import EXTENSION, Attendant
from millstream.server.handshake import Fields, Handshake
from millstream.server.inbox import Message
from millstream.server.pings import Pings
from millstream.server.reader import Closed, Pong, Reader
from millstream.server.socket_asgi import AsgiSocket
from millstream.wire import websocket as wire

RESTART, UNANSWERED = 1012, 1011
CLOSE_SECONDS = 10.0
"""How long a client may take to answer our close frame."""


class Hearer(Protocol):
    """Whom messages go to."""

    def put(self, message: Message) -> None:
        """Something was heard. Nothing counts that comes behind the end."""


class House:
    """What all sockets of a server have in common."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        self.config, self.state = config, state
        self.pings = Pings(config.ws_ping_interval) if config.ws_ping_interval else None
        self.spawn = self._spawn  # one bound method for all

    def _spawn(
        self, coroutine: Coroutine[Any, Any, None], context: Context | None = None
    ) -> "asyncio.Task[None]":
        """A task that the server waits for when it shuts down."""
        task: asyncio.Task[None] = asyncio.create_task(coroutine, context=context)
        self.state.tasks.add(task)
        task.add_done_callback(self.state.tasks.discard)
        return task


class SocketProtocol(asyncio.Protocol):
    """One WebSocket. Its application finds it in its scope as the extension `EXTENSION` (see
    `connection.Shown`). Its buffer is the one that `StreamProtocol` has set."""

    __slots__ = (
        "_close_timer",
        "_ended",
        "_full",
        "_hearer",
        "_house",
        "_open",
        "_part",
        "_paused",
        "_pinged",
        "_reader",
        "_waiters",
        "transport",
    )

    def __init__(self, house: House, transport: asyncio.Transport) -> None:
        self._house, self.transport = house, transport
        self._hearer: Hearer | None = None
        self._reader: Reader | None = None
        self._open = self._ended = self._full = self._paused = False
        """Whether frames may go: from the handshake's end to the first close frame of either side;
        whether neither will again; whether a write would have to wait; whether nothing is read."""
        self._waiters: list[asyncio.Future[None]] | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._part: set[Any] | None = None
        self._pinged: bytes | None = None
        house.state.connections.add(self)  # type: ignore[arg-type]

    # --- the opening handshake --------------------------------------------------------------

    def begin(self, request: dict[str, Any], target: bytes, state: dict[str, Any]) -> None:
        """The head of the request has been read: `request` is its scope, `target` its address."""
        handshake = Handshake(request, target, state=state)
        if handshake.refusal:
            self.refuse(handshake.refusal)
            return
        handshake.scope["extensions"][EXTENSION] = self
        self._hearer = asgi = AsgiSocket(self, handshake)
        application: Any = self._house.config.loaded_app
        self._house.spawn(asgi.run(application, handshake.scope))

    def accept(self, handshake: Handshake, fields: Fields, subprotocol: str | None) -> None:
        """Open the socket. Not where its client has gone."""
        if self.transport.is_closing():
            return
        fields = [*self._house.state.default_headers, *fields]
        self.transport.write(handshake.accepted(fields, subprotocol))
        self._open = True
        if self._house.pings is not None:
            self._part = self._house.pings.enter(self)

    def refuse(self, response: bytes) -> None:
        """Answer otherwise, and end the connection."""
        self._ended = True
        self.transport.write(response)
        self.transport.close()

    # --- what comes -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes, of frames that may be whole or not."""
        if not self._open and not self._ended:
            self.transport.abort()  # it has to wait for the answer (RFC 6455, section 4.1)
            return
        reader = self._reader or self._make_reader()
        heard = reader.feed(data)
        if output := reader.output():
            self.transport.write(output)
        for each in heard:
            if isinstance(each, Pong):
                self._pinged = None if each.payload == self._pinged else self._pinged
            elif isinstance(each, Closed):
                self._closed_by_client(each)
            elif self._open and self._hearer is not None:
                self._hearer.put(each)
        self._reader = None if reader.at_rest else reader

    def _make_reader(self) -> Reader:
        return Reader(self._house.config.ws_max_size)

    def _closed_by_client(self, said: Closed) -> None:
        self._end(said)
        self._stop_waiting()
        self.transport.close()

    def _end(self, said: Closed) -> None:
        """Nothing is heard or said any more."""
        self._open = False
        if not self._ended and self._hearer is not None:
            self._hearer.put(said)
        self._ended = True

    def read_no_further(self) -> None:
        """See `inbox.Tap`."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def read_on(self) -> None:
        """See `inbox.Tap`."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    # --- the end ----------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether nothing can be said any more."""
        return self._ended

    @property
    def closing(self) -> bool:
        """Whether a close frame of ours waits for the client's."""
        return self._close_timer is not None

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame; the connection ends when the client has answered it, or does not."""
        if not self._open or self.transport.is_closing():
            return
        self._send_close(code, reason)
        self.read_on()
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(CLOSE_SECONDS, self.transport.close)

    def _send_close(self, code: int, reason: str = "") -> None:
        self._reader = self._reader or self._make_reader()
        self.transport.write(self._reader.close(code, reason))
        self._end(Closed(code, reason))

    def _stop_waiting(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def done(self, hearer: object) -> None:
        """Whoever heard the messages hears no more, and nobody else has taken its place."""
        if hearer is not self._hearer:
            return
        self._hearer = None
        if self._close_timer is None:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops."""
        self._stop_waiting()
        if self._open:
            self._send_close(RESTART)
        elif isinstance(self._hearer, AsgiSocket):
            self._hearer.fail()
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        if self._part is not None:
            self._part.discard(self)
            self._part = None
        self._stop_waiting()
        self._house.state.connections.discard(self)  # type: ignore[arg-type]
        self._end(Closed(1005 if self._open else 1006, ""))
        self._reader = None
        self.resume_writing()

    def ping(self) -> None:
        """Ask whether the client is there; end the socket, if it has not answered the last time."""
        if not self._open or self.transport.is_closing():
            return
        if self._pinged is not None:
            self._send_close(UNANSWERED, "keepalive ping timeout")
            self.transport.close()
            return
        self._pinged = random.getrandbits(32).to_bytes(4, "big")  # so that no other pong answers it
        self.transport.write(wire.head(4, wire.PING) + self._pinged)

    # --- room -------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The connection's buffer is full."""
        self._full = True

    def resume_writing(self) -> None:
        """It is not any more, or nothing can be written ever again."""
        self._full = False
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def room(self) -> None:
        """Wait until there is."""
        while self._full:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters = [*(self._waiters or ()), waiter]
            await waiter

    def say(self, data: bytes) -> None:
        """Write, room or not."""
        if not self.transport.is_closing():
            self.transport.write(data)

    # --- for our own sockets: see `connection.Shown` ----------------------------------------

    def full(self) -> bool:
        """Whether a send would have to wait."""
        return self._full

    def waiting(self) -> int:
        """Bytes in the connection's buffer."""
        return self.transport.get_write_buffer_size()

    def sends_by(self, send: object) -> bool:
        """Whether `send` is this connection's own."""
        owner = getattr(send, "__self__", None)
        return isinstance(owner, AsgiSocket) and owner.line is self

    def write(self, data: bytes) -> bool:
        """Frames that are ready, past ASGI. Only while the socket is open."""
        if self._full or not self._open or self.transport.is_closing():
            return False
        self.transport.write(data)
        return True

    def writer(self) -> Callable[[bytes], bool] | None:
        """`write`."""
        return self.write

    def settle(self) -> None:
        """Nothing to let go of."""

    def on_lost(self, call: Callable[[], None] | None) -> bool:
        """Sockets hear of their end by `receive`, or by their attendant's `leave`."""
        return False

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def attend(self, attendant: Attendant) -> None:
        """From here on messages go to the attendant, and the application may return."""
        asgi = self._hearer
        assert isinstance(asgi, AsgiSocket)  # it was that one that accepted the socket
        self._hearer = attending = Attending(attendant, asgi.inbox, self, self._house.spawn)
        attending.next()
