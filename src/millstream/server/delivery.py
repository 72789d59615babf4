"""Delivery: a log to one client, as bytes that are ready.

A stream takes the next batch when its client has taken the last one: a slow client costs a cursor
(law 5). A client that keeps up is written to the moment an event is published, past ASGI, where the
server shows its connection; anywhere else, and while a client lags, by plain ASGI.
It hears of three things besides events: the client left, nothing came for a while, the server is
shutting down. `send` after a disconnect says nothing, so it listens to `receive`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import structlog
from starlette.responses import Response

from millstream.engine.crowd import Form
from millstream.engine.follow import UNFRAMED, Follower
from millstream.engine.tail import Batch
from millstream.errors import MillstreamError
from millstream.server.connection import Connection, Receive, Scope, Send
from millstream.server.connection import chunk as in_chunk
from millstream.wire import Wire

log = structlog.get_logger("millstream.delivery")


BEATS = 5
"""How often in a heartbeat's time one round looks for streams that were silent."""


class Streams:
    """The open streams of this process. Draining ends each of them after what it is sending."""

    def __init__(self, *, heartbeat: float, stall_timeout: float) -> None:
        self.heartbeat, self.stall_timeout = heartbeat, stall_timeout
        self.draining = False
        self.stalled = 0
        self._open: set[EventStream] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._round: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, stream: "EventStream") -> None:
        """A stream begins."""
        self._open.add(stream)
        self._empty.clear()
        if self._round is None:
            self._next_round()

    def _next_round(self) -> None:
        loop = asyncio.get_running_loop()
        self._round = loop.call_later(self.heartbeat / BEATS, self._look_round)

    def _look_round(self) -> None:
        """One timer for all: a stream that was silent for so many rounds sends a heartbeat."""
        for stream in self._open:
            stream.look()
        self._round = None
        if self._open:
            self._next_round()

    def leave(self, stream: "EventStream") -> None:
        """It has ended."""
        self._open.discard(stream)
        if not self._open:
            self._empty.set()

    def drain(self) -> None:
        """Tell every stream to end; clients reconnect elsewhere, or later, with their cursor."""
        self.draining = True
        for stream in list(self._open):
            stream.poke()

    async def drained(self) -> None:
        """Until every stream has ended."""
        await self._empty.wait()


class EventStream(Response):
    """An ASGI response that follows a log to its end. `framer` turns events into bytes.

    `left` is awaited when the client went away before the end. Calls `follower.close` in any case.
    """

    def __init__(
        self,
        follower: Follower,
        wire: Wire,
        streams: Streams,
        *,
        framer: Callable[[Sequence[bytes]], bytes] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        heartbeat: bool = True,
        left: Callable[[], Awaitable[object]] | None = None,
        first: Callable[[bytes], bytes] | None = None,
        content_type: str | None = None,
    ) -> None:
        self._follower, self._wire, self._streams = follower, wire, streams
        self._framer, self._headers, self._left = framer, headers, left
        self._beats = wire.heartbeat if heartbeat else b""
        self._first = first
        self._content_type = content_type or wire.content_type
        self._form = _in_chunks(wire)
        self._write: Callable[[bytes], bool] | None = None
        self.release: Callable[[], object] = bool
        """Called at the end."""
        self.silent = 0
        """Rounds since the last write."""
        self._seen = follower.cursor
        self._gone = False
        self.status_code, self.background = 200, None  # what FastAPI looks at in a response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = self._connection = Connection(scope, send)
        watcher = None
        if not connection.on_lost(self._lost):
            watcher = asyncio.create_task(self._watch(receive))
        self._streams.enter(self)
        try:
            await send(self._start())
            self._write = connection.writer()
            if watcher is None:
                connection.settle()
            ended = await self._stream(send) and await self._taken(send, b"", more=False)
            if not ended and not self._gone:
                await self._cut()
        finally:
            self._streams.leave(self)
            self._follower.close()
            self.release()
            connection.on_lost(None)
            if watcher is not None:
                watcher.cancel()
        if self._gone and not ended and self._left is not None:
            await self._left()

    def _start(self) -> dict[str, Any]:
        headers = [
            (b"content-type", self._content_type.encode()),
            (b"cache-control", b"no-cache"),
            (b"vary", b"accept"),
            (b"x-accel-buffering", b"no"),
            *self._headers,
        ]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._lost()

    def _lost(self) -> None:
        self._gone = True
        self.poke()

    def look(self) -> None:
        """A round has passed. (What is written at the live edge moves nothing but the cursor.)"""
        cursor = self._follower.cursor
        self.silent = self.silent + 1 if cursor == self._seen else 1
        self._seen = cursor
        if self.silent >= BEATS:
            self.poke()

    def poke(self) -> None:
        """Whatever this stream waits for: look again now."""
        self._follower.wake()

    async def _stream(self, send: Send) -> bool:
        """Send until the log ends, or the server goes. False where the client left, or takes
        nothing any more."""
        while not self._gone:
            if self._streams.draining:
                return await self._taken(send, self._wire.farewell if self._first else b"")
            if not self._connection.clear and not await self._room():
                return False
            if not self._follower.ready and self.silent < BEATS:
                await self._follower.live(self._at_once, self._form)
                continue
            try:
                chunk = await self._next()
            except MillstreamError as error:  # the store: the client comes back with its cursor
                log.warning("stream_broke_off", run=self._follower.run, error=error.message)
                return True
            if chunk is None:
                return True
            if not await self._taken(send, chunk):
                return False
            del chunk  # while this waits for room, the connection's own copy is the only one
        return False

    async def _next(self) -> bytes | None:
        """What to send next: events, a heartbeat, or nothing; None where the log has ended.

        Holds on to nothing but those bytes: they are all that a slow client costs.
        """
        if not self._follower.ready:
            self.silent = 0
            return self._beats
        batch = await self._follower.next()
        return None if batch is None else self._framed(batch)

    @property
    def _at_once(self) -> Callable[[bytes], bool] | None:
        """What writes at the live edge; None where each batch has to be sent in turn."""
        keeps_state = self._framer is not None or self._first is not None
        return None if keeps_state else self._write

    def _framed(self, batch: Batch) -> bytes:
        if self._framer is not None:
            frames = self._framer(batch.events)
        else:
            frames = batch.framed(self._wire.name, self._wire.segment, self._wire.frames)
        if self._first is not None and frames:
            frames, self._first = self._first(frames), None
        return frames

    async def _taken(self, send: Send, chunk: bytes, *, more: bool = True) -> bool:
        """Write; False where the client took nothing for as long as `stall_timeout`."""
        if more and not chunk:
            return True
        self.silent = 0
        if more and self._write is not None and self._write(in_chunk(chunk)):
            return True
        message = {"type": "http.response.body", "body": chunk, "more_body": more}
        sending = self._connection.taken(lambda: send(message), self._streams.stall_timeout)
        try:
            if not await self._kept_up(sending):
                return False
        except OSError:  # how ASGI 2.4 servers say that the client has left
            self._gone = True
            return False
        return not (more and self._gone)

    async def _room(self) -> bool:
        return await self._kept_up(self._connection.room(self._streams.stall_timeout))

    async def _kept_up(self, waiting: Awaitable[bool]) -> bool:
        kept_up = await waiting
        if not kept_up:
            self._streams.stalled += 1
            log.info("reader_stalled", run=self._follower.run, cursor=self._follower.cursor)
        return kept_up

    async def _cut(self) -> None:
        """Let go of a connection whose client takes nothing: without waiting for its buffer."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heard = self._connection.on_lost(partial(gone.set_result, None))
        if self._connection.abort() and heard:
            await asyncio.wait([gone], timeout=1.0)  # until the server has noticed
            self._gone = True


@lru_cache(maxsize=16)
def _in_chunks(wire: Wire) -> Form:
    """How a wire's bytes are made ready for a connection, once for all who read by it."""
    segment = wire.segment
    return Form(f"{wire.name} in chunks", lambda events: in_chunk(segment(events)))


class OutcomeResponse(EventStream):
    """Waits for the log to end, then sends one JSON document. The headers leave at once."""

    def __init__(self, *args: Any, document: Callable[[], Awaitable[bytes]], **more: Any) -> None:
        super().__init__(*args, heartbeat=False, content_type="application/json", **more)
        self._document = document
        self._form = UNFRAMED

    @property
    def _at_once(self) -> Callable[[bytes], bool]:
        return lambda _: True  # and say nothing of it

    def _framed(self, batch: Batch) -> bytes:
        return b""

    async def _stream(self, send: Send) -> bool:
        if not await super()._stream(send):
            return False
        try:
            return await self._taken(send, await self._document())
        except MillstreamError as error:  # no half of a document looks like a whole one
            log.warning("outcome_broke_off", run=self._follower.run, error=error.message)
            return False
