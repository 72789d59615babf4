"""AsgiSocket: a WebSocket's connection as ASGI applications see it (version 2.4 of its protocol for
WebSockets, with the extension `websocket.http.response`).

Knows messages and their order; nothing of frames.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from uvicorn.protocols.utils import ClientDisconnected, get_client_addr, get_path_with_query_string

from millstream.server.handshake import Fields, Handshake, refusal
from millstream.server.inbox import Inbox, Message, Tap
from millstream.server.reader import Closed
from millstream.wire import websocket as wire

log = logging.getLogger("uvicorn.error")

Told = dict[str, Any]
"""An ASGI message."""


class Line(Tap, Protocol):
    """The connection, as far as an application goes."""

    @property
    def over(self) -> bool:
        """Whether it was lost, or is closing: nothing can be said any more."""
        ...

    @property
    def closing(self) -> bool:
        """Whether we have sent a close frame, and wait for the client's."""
        ...

    async def room(self) -> None:
        """Wait until there is room."""

    def say(self, data: bytes) -> None:
        """Write."""

    def accept(self, handshake: Handshake, fields: Fields, subprotocol: str | None) -> None:
        """Open the socket."""

    def refuse(self, response: bytes) -> None:
        """Do not."""

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame."""

    def done(self, hearer: object) -> None:
        """The application has returned."""


class AsgiSocket:
    """One socket. `receive` and `send` are ASGI's."""

    __slots__ = ("_connected", "_handshake", "_waiters", "inbox", "line")

    def __init__(self, line: Line, handshake: Handshake) -> None:
        self.line = line
        self._handshake: Handshake | None = handshake
        """Until it is answered."""
        self.inbox = Inbox(line)
        self._connected = False
        self._waiters: list[asyncio.Future[None]] = []

    async def run(self, application: Callable[..., Awaitable[object]], scope: Told) -> None:
        """Ask the application. Does not raise."""
        try:
            await application(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            log.exception("Exception in ASGI application\n")
            self.fail()
        else:
            if self._handshake is not None and not self.line.over:
                log.error("ASGI callable returned without completing handshake.")
                self.fail()
        self.line.done(self)

    def fail(self) -> None:
        """Nobody answers this handshake."""
        if self._handshake is not None and not self._handshake.refusing:
            self._refuse(refusal(500, body=b"Internal Server Error"))

    # --- what comes -------------------------------------------------------------------------

    def put(self, message: Message) -> None:
        """Something was heard."""
        self.inbox.put(message)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def receive(self) -> Told:
        """What comes next."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        while (message := self.inbox.take()) is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if isinstance(message, Closed):
            said = {"code": message.code, "reason": message.reason}
            return {"type": "websocket.disconnect", **said}
        key = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", key: message}

    # --- what goes --------------------------------------------------------------------------

    async def send(self, message: Told) -> None:
        """Waits while the connection is full. Raises ClientDisconnected when the client has gone,
        RuntimeError for what may not be said now."""
        await self.line.room()
        kind = message["type"]
        if self.line.closing:
            raise RuntimeError(f"Unexpected ASGI message '{kind}', after sending a close.")
        if self.line.over:
            raise ClientDisconnected()
        if self._handshake is not None:
            self._answer(self._handshake, message)
        elif kind == "websocket.send":
            text = message.get("text")
            data: bytes = (message.get("bytes") or b"") if text is None else text.encode()
            opcode = wire.BINARY if text is None else wire.TEXT
            self.line.say(wire.head(len(data), opcode) + data)
        elif kind == "websocket.close":
            self.line.close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'."
            )

    def _answer(self, handshake: Handshake, message: Told) -> None:
        match message["type"]:
            case "websocket.accept":
                _note(handshake, "[accepted]")
                self._handshake = None
                fields, subprotocol = message.get("headers", ()), message.get("subprotocol")
                self.line.accept(handshake, fields, subprotocol)
            case "websocket.close":
                _note(handshake, "403")
                self._refuse(refusal(403))
            case "websocket.http.response.start" if not handshake.refusing:
                handshake.refuse(message["status"], message.get("headers", ()))
                _note(handshake, str(message["status"]))
            case "websocket.http.response.body" if handshake.refusing:
                more = message.get("more_body", False)
                response = handshake.refuse_body(message.get("body", b""), more=more)
                if response is not None:
                    self._refuse(response)
            case kind:
                raise RuntimeError(
                    "Expected ASGI message 'websocket.accept', 'websocket.close' or a response "
                    f"of 'websocket.http.response', but got '{kind}'."
                )

    def _refuse(self, response: bytes) -> None:
        self._handshake = None
        self.put(Closed(1006, ""))
        self.line.refuse(response)


def _note(handshake: Handshake, answer: str) -> None:
    scope: Any = handshake.scope
    where = get_client_addr(scope), get_path_with_query_string(scope)
    log.info('%s - "WebSocket %s" %s', *where, answer)
