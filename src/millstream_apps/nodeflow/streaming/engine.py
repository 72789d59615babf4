"""StreamEngine: connections by their ids, handlers, metrics and debug events of all of them."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from millstream import (
    Conflict,
    DebugEvent,
    Latencies,
    LiveStatistics,
    NotFound,
    StepStatistics,
    Tap,
)
from millstream_apps.nodeflow.streaming.backpressure import BackpressureHandler
from millstream_apps.nodeflow.streaming.connection import Connection, MessageBatch
from millstream_apps.nodeflow.streaming.messages import StreamConfig, StreamMessage, StreamMetrics
from millstream_apps.nodeflow.streaming.recovery import ErrorRecovery

OnMessage = Callable[[StreamMessage], Awaitable[object] | object]
OnError = Callable[[Exception, str], Awaitable[object] | object]
Unsubscribe = Callable[[], None]

BEHIND = 1_000
"""Debug events that may wait for a slow listener; it loses the oldest."""


class StreamEngine:
    """Within one event loop. `now` gives seconds since the epoch."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._connections: dict[str, Connection] = {}
        self._handler: BackpressureHandler | None = None
        self._recovery: ErrorRecovery | None = None
        self._on_message: list[OnMessage] = []
        self._on_error: list[OnError] = []
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._listeners: list[Callable[[DebugEvent], object]] = []
        self._destroyed = asyncio.Event()

    # --- connections ------------------------------------------------------------------------

    def create_connection(
        self,
        source: str,
        target: str,
        source_port: str = "output",
        target_port: str = "input",
        config: StreamConfig | None = None,
    ) -> str:
        """A connection, by the backpressure handler that is set now; its id is
        `source:port->target:port`. Raises Conflict where there is one of that id."""
        if self._destroyed.is_set():
            raise Conflict("this engine was destroyed; make a new one")
        made = Connection(
            (source, target),
            (source_port, target_port),
            config or StreamConfig(),
            self._handler,
            self,
            self.now,
        )
        if made.id in self._connections:
            raise Conflict(f"there is a connection {made.id} already; close it first")
        self._connections[made.id] = made
        self._pump(made)
        return made.id

    def get_connection(self, id: str) -> Connection:
        """A connection. Raises NotFound."""
        found = self._connections.get(id)
        if found is None:
            raise NotFound(f"there is no connection {id!r}")
        return found

    async def close_connection(self, id: str, *, discard: bool = False) -> None:
        """Let nothing more in. What waits is read to its end where somebody reads it; with
        `discard` it is dropped. Raises NotFound."""
        connection = self.get_connection(id)
        connection.pipe.close(discard=discard)
        pump = self._pumps.pop(id, None)
        if pump is not None:
            await asyncio.wait([pump])
        del self._connections[id]

    def create_batched_stream(
        self, id: str, config: StreamConfig | None = None
    ) -> AsyncIterator[MessageBatch]:
        """A connection's messages in batches, none lost. The size and time of batches are the
        connection's own; `config` must not say otherwise. Raises NotFound, Conflict."""
        connection = self.get_connection(id)
        if config is not None and config != connection.config:
            raise Conflict(f"connection {id} was made with another config; give that one there")
        return connection.batches()

    # --- handlers ---------------------------------------------------------------------------

    def set_backpressure_handler(self, handler: BackpressureHandler | None) -> None:
        """For connections that are made from now on. Without one nothing is ever lost: writers
        wait."""
        self._handler = handler

    def set_error_recovery(self, recovery: ErrorRecovery | None) -> None:
        """How failing `on_message` handlers are tried again; without one as each connection's
        config says."""
        self._recovery = recovery

    def on_message(self, handler: OnMessage) -> Unsubscribe:
        """Call this for each message that is read. Connections that nobody else reads are read for
        it. What comes back ends it."""
        self._on_message.append(handler)
        for connection in self._connections.values():
            self._pump(connection)
        return lambda: self._on_message.remove(handler)

    def on_error(self, handler: OnError) -> Unsubscribe:
        """Call this with each error of a handler, and the connection's id."""
        self._on_error.append(handler)
        return lambda: self._on_error.remove(handler)

    def _pump(self, connection: Connection) -> None:
        if self._on_message and not connection.claimed:
            reading = _read(connection.stream)
            self._pumps[connection.id] = asyncio.get_running_loop().create_task(reading)

    async def deliver(self, connection: Connection, message: StreamMessage) -> None:
        """See Owner. A handler that fails is told, and the next message goes on."""
        recovery = self._recovery or connection.recovery
        for handler in list(self._on_message):
            try:
                await recovery.run(connection.id, partial(_called, handler, message))
            except Exception as error:
                connection.failed(error)
                for listener in list(self._on_error):
                    with suppress(Exception):
                        await _called(listener, error, connection.id)

    # --- looking ----------------------------------------------------------------------------

    def get_metrics(self, id: str | None = None) -> dict[str, StreamMetrics]:
        """The metrics of one connection, or of all, by id. Raises NotFound."""
        chosen = self._connections if id is None else {id: self.get_connection(id)}
        return {id: connection.metrics() for id, connection in chosen.items()}

    def reset_metrics(self, id: str | None = None) -> None:
        """Count from here on. Raises NotFound."""
        for each in self._connections.values() if id is None else [self.get_connection(id)]:
            each.reset_metrics()

    async def metrics(self, every: float = 1.0) -> AsyncIterator[dict[str, StreamMetrics]]:
        """The metrics of all connections, every so many seconds, until the engine is destroyed."""
        while not self._destroyed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._destroyed.wait()
                    return
            found = self.get_metrics()
            self.tell(DebugEvent("metrics", self.now() * 1000, None, msgspec.to_builtins(found)))
            yield found

    async def debug(self) -> AsyncIterator[DebugEvent]:
        """What happens, from here on, until the engine is destroyed."""
        waiting: asyncio.Queue[DebugEvent] = asyncio.Queue(BEHIND)

        def put(event: DebugEvent) -> None:
            if waiting.full():
                waiting.get_nowait()
            waiting.put_nowait(event)

        self._listeners.append(put)
        over = asyncio.ensure_future(self._destroyed.wait())
        try:
            while not (over.done() and waiting.empty()):
                event = asyncio.ensure_future(waiting.get())
                await asyncio.wait([event, over], return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    continue
                yield event.result()
        finally:
            over.cancel()
            self._listeners.remove(put)

    def listen(self, listener: Callable[[DebugEvent], object]) -> Unsubscribe:
        """Call this with each debug event, at once."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, event: DebugEvent) -> None:
        """See Owner."""
        for listener in list(self._listeners):
            listener(event)

    # --- for debuggers ----------------------------------------------------------------------

    def statistics(self) -> LiveStatistics:
        """All connections, and their readers with what they failed at."""
        readers: dict[str, StepStatistics] = {}
        for each in self._connections.values():
            before = readers.get(each.target)
            failed = each.counts.errors + (before.failed if before else 0)
            made = each.statistics().delivered + (before.made if before else 0)
            readers[each.target] = StepStatistics(
                each.target, "reader", "running", failed=failed, made=made
            )
        edges = {id: each.statistics() for id, each in self._connections.items()}
        return LiveStatistics(self.now(), readers, edges)

    def latencies(self) -> dict[str, Latencies]:
        """Of all messages read so far, by connection."""
        return {id: each.latencies() for id, each in self._connections.items()}

    def tap(self, target: str, per_second: float = 10.0) -> Tap:
        """Not here: `debug` tells of every message."""
        raise NotFound(f"there are no taps on {target!r}; listen to debug()")

    async def destroy(self) -> None:
        """Close all connections; what nobody reads is dropped. Streams and listeners end."""
        for id, connection in list(self._connections.items()):
            await self.close_connection(id, discard=not connection.claimed)
        self._destroyed.set()

    def __repr__(self) -> str:
        return f"<StreamEngine of {len(self._connections)} connections>"


async def _read(messages: AsyncIterator[StreamMessage]) -> None:
    async for _ in messages:
        pass


async def _called(handler: Callable[..., Any], *arguments: Any) -> None:
    told = handler(*arguments)
    if inspect.isawaitable(told):
        await told
