"""Conversation: one client's WebSocket, its requests and their answers. One socket, many runs.

Knows how requests become runs and subscriptions; nothing of how frames travel.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
from fastapi import WebSocketDisconnect
from fastapi.requests import HTTPConnection

from millstream.errors import MillstreamError, RequestError
from millstream.events import Position, encode
from millstream.server.connection import Scope
from millstream.server.service import Options, Service
from millstream.server.socket_writer import SocketWriter
from millstream.server.subscription import Subscription
from millstream.wire import websocket as wire

log = structlog.get_logger("millstream.sockets")

MAX_SUBSCRIPTIONS = 1000
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))

Enter = Callable[[HTTPConnection], Awaitable[None]]


class Conversation:
    """Hears a client's requests, one after another (an `Attendant`).

    `enter` is awaited before each request that an HTTP request could have made instead: a key may
    have been removed, or be used too much. `left` is called when it is over.
    """

    __slots__ = ("_asker", "_cancels", "_enter", "_followed", "_left", "_service", "writer")

    def __init__(
        self,
        scope: Scope,
        service: Service,
        writer: SocketWriter,
        enter: Enter,
        left: "Callable[[Conversation], None]",
    ) -> None:
        self._asker, self._service, self.writer = _asker(scope), service, writer
        self._enter, self._left = enter, left
        self._followed: dict[str, Subscription] = {}
        self._cancels: set[str] | None = None

    async def hear(self, message: str | bytes) -> None:
        """One request."""
        with suppress(WebSocketDisconnect):  # then `leave` is what comes next
            await self.obey(message)

    async def leave(self) -> None:
        """Either side has gone."""
        try:
            subscriptions, self._followed = self._followed, {}
            if tasks := [task for each in subscriptions.values() if (task := each.close())]:
                await asyncio.wait(tasks)
            if not self._service.draining:  # else we left, not the client
                await self._cancel_runs()
        finally:
            self._left(self)

    async def _cancel_runs(self) -> None:
        for run in self._cancels or ():
            with suppress(MillstreamError):
                await self._service.cancel(run, "the client that started it disconnected")

    # --- requests ---------------------------------------------------------------------------

    async def obey(self, frame: str | bytes) -> None:
        """One request, answered. Raises WebSocketDisconnect where nobody takes the answer."""
        try:
            request = wire.parse(frame)
        except RequestError as error:
            await self.writer.say(wire.refusal(error, wire.ref_of(frame)))
            return
        try:
            await self._obey(request)
        except MillstreamError as error:
            await self._refuse(request, error)
        except WebSocketDisconnect:
            raise
        except Exception:
            log.exception("socket_request_failed", request=type(request).__name__)
            told = MillstreamError("something went wrong here; it is in our log")
            await self._refuse(request, told)

    async def _refuse(self, request: wire.Request, error: MillstreamError) -> None:
        run = getattr(request, "run", None)
        about = {} if run is None else {"run": run}
        await self.writer.say(wire.refusal(error, request.ref, **about))

    async def _obey(self, request: wire.Request) -> None:
        if not isinstance(request, wire.Ping | wire.Unsubscribe):
            await self._enter(HTTPConnection(self._asker))
        match request:
            case wire.Ping():
                await self.writer.say(wire.answer("pong", request.ref))
            case wire.Subscribe():
                await self._subscribe(request)
            case wire.Unsubscribe():
                await self._stop(request.run)
                await self.writer.say(wire.answer("unsubscribed", request.ref, run=request.run))
            case wire.Start():
                await self._start(request)
            case wire.Cancel():
                stopping = await self._service.cancel(request.run, request.reason[:500])
                told = wire.answer("cancelling", request.ref, run=request.run, stopping=stopping)
                await self.writer.say(told)

    async def _start(self, request: wire.Start) -> None:
        self._check_room()
        document = self._service.document_from_json(request.pipeline, encode(request.input))
        options = Options(timeout=request.timeout, unwatched=request.unwatched, key=request.key)
        run = await self._service.start(request.pipeline, document, options)
        if request.on_disconnect == "cancel":
            self._cancels = {*(self._cancels or ()), run.id}
        await self._follow(run.id, 0, wire.answer("started", request.ref, run=run.id))

    async def _subscribe(self, request: wire.Subscribe) -> None:
        if request.run not in self._followed:
            self._check_room()
        told = wire.answer("subscribed", request.ref, run=request.run, after=request.after)
        await self._follow(request.run, request.after, told)

    def _check_room(self) -> None:
        if len(self._followed) >= MAX_SUBSCRIPTIONS:
            raise RequestError(f"a socket follows at most {MAX_SUBSCRIPTIONS} runs; open another")

    # --- subscriptions ----------------------------------------------------------------------

    async def _follow(self, run: str, after: Position, told: str) -> None:
        """Answer, then deliver. A subscription that there was to the same run is replaced."""
        follower = await self._service.follow(run, after)
        tail = self._service.engine.tails.get(run)
        assert tail is not None  # the follower holds it
        try:
            await self._stop(run)
            await self.writer.say(told)
        except BaseException:
            follower.close()
            raise
        subscription = Subscription(follower, tail, self.writer, self._ended)
        self._followed[run] = subscription
        subscription.begin()

    async def _stop(self, run: str) -> None:
        subscription = self._followed.pop(run, None)
        if subscription is not None:
            await subscription.stop()

    def _ended(self, subscription: Subscription, complete: bool) -> None:
        run = subscription.follower.run
        if complete and self._cancels:
            self._cancels.discard(run)
        if self._followed.get(run) is subscription:
            del self._followed[run]


def _asker(scope: Scope) -> dict[str, Any]:
    """What `enter` asks of whoever opened the socket: credentials and address. A handshake's other
    fields are not kept: they would be 2 kB for each open socket."""
    kept = {"type", "client", "root_path", "query_string"}
    fields = [field for field in scope["headers"] if field[0] in CREDENTIALS]
    return {**{name: scope[name] for name in kept if name in scope}, "headers": fields}
