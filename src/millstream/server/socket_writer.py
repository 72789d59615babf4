"""SocketWriter: frames to one WebSocket's client, one sender at a time.

A sender waits for its turn and for room, and only then takes what it sends: a socket that takes
nothing costs one batch, however many runs it follows, and slows nothing but its own cursors.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from functools import partial

import structlog
from fastapi import WebSocketDisconnect

from millstream.engine.crowd import Form
from millstream.engine.follow import Follower
from millstream.server.connection import Connection, Send
from millstream.server.delivery import Streams
from millstream.wire import websocket as wire

log = structlog.get_logger("millstream.sockets")

RESTART, LATER, POLICY = 1012, 1013, 1008  # RFC 6455, section 7.4, and its IANA registry

FORM = Form("websocket", wire.segment)
"""How what is published becomes frames."""

GONE = (WebSocketDisconnect, OSError, RuntimeError)
"""How a server, or Starlette, says that a frame can no longer be sent."""


class SocketWriter:
    """What goes over one socket. Raises WebSocketDisconnect when its client has gone, or is cut
    off because it took nothing for `stall_timeout`."""

    __slots__ = ("_connection", "_send", "_streams", "_turn")

    def __init__(self, connection: Connection, send: Send, streams: Streams) -> None:
        """`send`: ASGI's."""
        self._connection, self._send, self._streams = connection, send, streams
        self._turn = asyncio.Lock()

    async def say(self, *texts: str) -> None:
        """Answers."""
        frames = [text.encode() for text in texts]
        async with self._turn:
            if not self._connection.write(wire.frames(frames)):
                await self._send_each(frames)

    def at_once(self, ready: bytes) -> bool:
        """Write frames past ASGI. False where somebody else is sending, or that cannot be."""
        return not self._turn.locked() and self._connection.write(ready)

    async def pass_on(self, follower: Follower) -> bool:
        """Send the next batch, when its turn has come. False where the log has ended."""
        async with self._turn:
            await self._kept_up(self._connection.room(self._streams.stall_timeout))
            if not follower.ready:
                return True
            batch = await follower.next()
            if batch is None:
                return False
            if not self._connection.write(batch.framed(*FORM, wire.frames)):
                await self._send_each(batch.events)
            return True

    async def _send_each(self, frames: Iterable[bytes]) -> None:
        try:
            for frame in frames:
                message = {"type": "websocket.send", "text": frame.decode()}
                sending = partial(self._send, message)
                await self._kept_up(self._connection.taken(sending, self._streams.stall_timeout))
        except GONE as error:
            raise WebSocketDisconnect(1006) from error

    async def _kept_up(self, waiting: Awaitable[bool]) -> None:
        if not await waiting:
            self._streams.stalled += 1
            log.info("socket_stalled")
            await self._cut()
            raise WebSocketDisconnect(POLICY)

    async def _cut(self) -> None:
        """A full connection takes no close frame either: let go of it, where the server can."""
        if self._connection.abort():
            return
        with suppress(TimeoutError, *GONE):
            async with asyncio.timeout(1.0):
                await self._close(POLICY, "took nothing for too long; resume with a cursor")

    async def restart(self) -> None:
        """Close with 1012, after the frames that are on their way."""
        try:
            async with asyncio.timeout(1.0), self._turn:
                await self._close(RESTART)
        except TimeoutError:
            await self._cut()
        except GONE:
            pass

    async def _close(self, code: int, reason: str = "") -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
