"""The WebSocket: one socket, many runs, a cursor for each.

Every subscription is one small task. It waits until there is something behind its cursor, then for
its turn at the socket, and only then takes what it sends: a socket that takes nothing costs one
batch, however many runs it follows, and slows nothing but its own cursors.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.requests import HTTPConnection

from millstream.engine.crowd import Form
from millstream.engine.follow import Follower
from millstream.engine.tail import Batch
from millstream.errors import MillstreamError, RequestError
from millstream.events import Position, encode
from millstream.server.connection import Connection, Send
from millstream.server.problems import problem
from millstream.server.service import Options, Service
from millstream.wire import websocket as wire

log = structlog.get_logger("millstream.sockets")

RESTART, LATER, POLICY = 1012, 1013, 1008  # RFC 6455, section 7.4, and its IANA registry
MAX_SUBSCRIPTIONS = 1000

GONE = (WebSocketDisconnect, OSError, RuntimeError)
"""How a server, or Starlette, says that a frame can no longer be sent."""


class Socket:
    """One client's connection. `enter` is awaited before each request that an HTTP request could
    have made instead: a key may have been removed, or be used too much."""

    def __init__(
        self,
        socket: WebSocket,
        service: Service,
        send: Send | None,
        enter: Callable[[HTTPConnection], Awaitable[None]],
    ) -> None:
        """`send` is the server's own, where it is known."""
        self._socket, self._service, self._enter = socket, service, enter
        self._connection = Connection(socket.scope, send)
        self._turn = asyncio.Lock()
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._cancels: set[str] = set()

    async def serve(self) -> None:
        """Until either side goes."""
        try:
            while (frame := await self._receive()) is not None:
                await self._hear(frame)
        except WebSocketDisconnect:
            pass
        finally:
            await self._leave()

    async def _receive(self) -> str | bytes | None:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return message.get("bytes", b"") if text is None else text

    async def _leave(self) -> None:
        tasks = list(self._followed.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._service.draining:  # we left, not the client
            return
        for run in self._cancels:
            with suppress(MillstreamError):
                await self._service.cancel(run, "the client that started it disconnected")

    # --- sending ----------------------------------------------------------------------------

    async def _say(self, *frames: str) -> None:
        async with self._turn:
            await self._send([frame.encode() for frame in frames])

    async def _send(self, frames: Sequence[bytes]) -> None:
        """Send frames, as text, the turn being ours. Cuts off a client that takes nothing for
        `stall_timeout`; raises WebSocketDisconnect when it has gone."""
        patience = self._service.streams.stall_timeout
        try:
            for frame in frames:
                send = partial(self._socket.send_text, frame.decode())
                await self._kept_up(self._connection.taken(send, patience))
        except GONE as error:
            raise WebSocketDisconnect(1006) from error

    async def _kept_up(self, waiting: Awaitable[bool]) -> None:
        if not await waiting:
            self._service.streams.stalled += 1
            log.info("socket_stalled", subscriptions=len(self._followed))
            await self._cut()
            raise WebSocketDisconnect(POLICY)

    async def _cut(self) -> None:
        """A full connection takes no close frame either: let go of it, where the server can."""
        if self._connection.abort():
            return
        with suppress(TimeoutError, *GONE):
            async with asyncio.timeout(1.0):
                await self._socket.close(POLICY, "took nothing for too long; resume with a cursor")

    async def restart(self) -> None:
        """Close with 1012, after the frames that are on their way."""
        try:
            async with asyncio.timeout(1.0), self._turn:
                await self._socket.close(RESTART)
        except TimeoutError:
            await self._cut()
        except GONE:
            pass

    # --- requests ---------------------------------------------------------------------------

    async def _hear(self, frame: str | bytes) -> None:
        try:
            request = wire.parse(frame)
        except RequestError as error:
            await self._say(wire.refusal(error, wire.ref_of(frame)))
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
        await self._say(wire.refusal(error, request.ref, **about))

    async def _obey(self, request: wire.Request) -> None:
        if not isinstance(request, wire.Ping | wire.Unsubscribe):
            await self._enter(self._socket)
        match request:
            case wire.Ping():
                await self._say(wire.answer("pong", request.ref))
            case wire.Subscribe():
                await self._subscribe(request)
            case wire.Unsubscribe():
                await self._stop(request.run)
                await self._say(wire.answer("unsubscribed", request.ref, run=request.run))
            case wire.Start():
                await self._start(request)
            case wire.Cancel():
                stopping = await self._service.cancel(request.run, request.reason[:500])
                told = wire.answer("cancelling", request.ref, run=request.run, stopping=stopping)
                await self._say(told)

    async def _start(self, request: wire.Start) -> None:
        self._check_room()
        document = self._service.document_from_json(request.pipeline, encode(request.input))
        options = Options(timeout=request.timeout, unwatched=request.unwatched, key=request.key)
        run = await self._service.start(request.pipeline, document, options)
        if request.on_disconnect == "cancel":
            self._cancels.add(run.id)
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
        try:
            await self._stop(run)
            await self._say(told)
        except BaseException:
            follower.close()
            raise
        task = asyncio.create_task(self._deliver(follower))
        self._followed[run] = task
        task.add_done_callback(lambda _: self._delivered(run, follower, task))

    async def _stop(self, run: str) -> None:
        task = self._followed.pop(run, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _delivered(self, run: str, follower: Follower, task: "asyncio.Task[None]") -> None:
        follower.close()
        if self._followed.get(run) is task:
            del self._followed[run]

    async def _deliver(self, follower: Follower) -> None:
        try:
            while await self._pass_on(follower):
                pass
            self._cancels.discard(follower.run)
        except MillstreamError as error:
            log.warning("subscription_broke_off", run=follower.run, error=error.message)
            with suppress(WebSocketDisconnect):
                await self._say(wire.refusal(error, run=follower.run))
        except WebSocketDisconnect:
            pass  # `serve` hears of it too

    async def _pass_on(self, follower: Follower) -> bool:
        """Send what is published at once, while the client keeps up; else the next batch, when its
        turn has come. False where the log has ended."""
        await follower.live(self._at_once, _FRAMED)
        async with self._turn:
            await self._kept_up(self._connection.room(self._service.streams.stall_timeout))
            if not follower.ready:
                return True
            batch = await follower.next()
            if batch is None:
                return False
            await self._send_batch(batch)
            return True

    def _at_once(self, ready: bytes) -> bool:
        """Write past ASGI. False where somebody else is sending, or that cannot be."""
        return not self._turn.locked() and self._connection.write(ready)

    async def _send_batch(self, batch: Batch) -> None:
        if not self._connection.write(_framed(batch)):
            await self._send(batch.events)


_FRAMED = Form("websocket", wire.segment)


def _framed(batch: Batch) -> bytes:
    return batch.framed(*_FRAMED, wire.frames)


def same_origin(socket: WebSocket, allowed: tuple[str, ...]) -> bool:
    """Whether the page that opens the socket is ours, or allowed. Not from a page: fine."""
    origin = socket.headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return True
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(netloc) and netloc == socket.headers.get("host")


class Sockets:
    """The open sockets of this process."""

    def __init__(
        self,
        service: Service,
        origins: tuple[str, ...],
        enter: Callable[[HTTPConnection], Awaitable[None]],
    ) -> None:
        self._service, self._origins, self._enter = service, origins, enter
        self._open: set[Socket] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, websocket: WebSocket, send: Send | None = None) -> None:
        """One connection, from handshake to close. `send`: the server's own, if it is at hand."""
        if not same_origin(websocket, self._origins):
            log.warning("origin_refused", origin=websocket.headers.get("origin"))
            await websocket.close(POLICY)
            return
        try:
            await self._enter(websocket)
            leave = self._service.places.take()
        except MillstreamError as error:
            log.warning("socket_refused", error=error.message)
            await _refuse(websocket, error)
            return
        socket = Socket(websocket, self._service, send, self._enter)
        try:
            await websocket.accept()
            self._open.add(socket)
            await socket.serve()
        finally:
            self._open.discard(socket)
            leave()

    async def drain(self) -> None:
        """Close every socket with 1012 ("service restart"): clients come again with cursors."""
        await asyncio.gather(*(socket.restart() for socket in self._open))


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
