"""The native WebSocket, `WS /socket`: who may open one, and which are open.

One socket, many runs, a cursor for each: what is said over it is `conversation.py`'s.
"""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from millstream.errors import MillstreamError, RequestError
from millstream.server.connection import Connection, Send
from millstream.server.conversation import Conversation, Enter
from millstream.server.problems import problem
from millstream.server.request import header
from millstream.server.service import Service
from millstream.server.socket_writer import LATER, POLICY, SocketWriter

log = structlog.get_logger("millstream.sockets")


def same_origin(socket: WebSocket, allowed: tuple[str, ...]) -> bool:
    """Whether the page that opens the socket is ours, or allowed. Not from a page: fine."""
    origin = header(socket, "origin")
    if origin is None or origin in allowed or "*" in allowed:
        return True
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(netloc) and netloc == header(socket, "host")


class Sockets:
    """The open sockets of this process."""

    def __init__(self, service: Service, origins: tuple[str, ...], enter: Enter) -> None:
        self._service, self._origins, self._enter = service, origins, enter
        self._open: dict[Conversation, Callable[[], None]] = {}
        self._left = self._leave  # one bound method for all

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, websocket: WebSocket, send: Send | None = None) -> None:
        """One connection, from its handshake on: to its close, or until somebody else attends to
        it. `send`: the server's own, if it is at hand."""
        if not same_origin(websocket, self._origins):
            log.warning("origin_refused", origin=header(websocket, "origin"))
            await websocket.close(POLICY)
            return
        try:
            await self._enter(websocket)
            leave = self._service.places.take()
        except MillstreamError as error:
            log.warning("socket_refused", error=error.message)
            await _refuse(websocket, error)
            return
        connection = Connection(websocket.scope, send)
        writer = SocketWriter(connection, send or websocket.send, self._service.streams)
        scope = websocket.scope
        conversation = Conversation(scope, self._service, writer, self._enter, self._left)
        try:
            await websocket.accept()
        except BaseException:
            leave()
            raise
        self._open[conversation] = leave
        if not connection.attend(conversation):
            await _attend(websocket, conversation)

    def _leave(self, conversation: Conversation) -> None:
        self._open.pop(conversation)()

    async def drain(self) -> None:
        """Close every socket with 1012 ("service restart"): clients come again with cursors."""
        await asyncio.gather(*(each.writer.restart() for each in self._open))


async def _attend(websocket: WebSocket, conversation: Conversation) -> None:
    """Bring it the messages, until either side goes."""
    try:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            text: str | None = message.get("text")
            await conversation.obey(message.get("bytes", b"") if text is None else text)
    except WebSocketDisconnect:
        pass
    finally:
        await conversation.leave()


async def _refuse(websocket: WebSocket, error: MillstreamError) -> None:
    """Say no to a handshake; with a problem document where it is the client's to mend, and the
    server can send one."""
    theirs = isinstance(error, RequestError)
    if theirs and "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(problem(error))
    else:
        await websocket.close(POLICY if theirs else LATER)


def router(sockets: Sockets) -> APIRouter:
    """`WS /socket`."""
    routes = APIRouter()

    @routes.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await sockets.serve(websocket)

    return routes
