"""Connection: one way for messages from a node's port to another's, over a channel of the engine.

A message is written, waits, and is read once: by the connection's stream, its batches, or the
engine's `on_message` handlers. Whoever reads, handlers hear of each message.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from millstream import Conflict, DebugEvent, EdgeStatistics, Latencies, Pipe
from millstream_apps.nodeflow.streaming.backpressure import BackpressureHandler
from millstream_apps.nodeflow.streaming.messages import (
    MS,
    Counts,
    StreamConfig,
    StreamMessage,
    StreamMetrics,
    metrics,
)
from millstream_apps.nodeflow.streaming.recovery import DefaultErrorRecovery

REFUSED = "refused"
"""The cause of drops by a backpressure handler."""


class MessageBatch(Struct, frozen=True, rename="camel"):
    """`total_size`: how many messages; `timestamp`: when it was made, in ms since the epoch."""

    messages: tuple[StreamMessage, ...]
    total_size: int
    timestamp: float


class Owner(Protocol):
    """What a connection asks of its engine."""

    def tell(self, event: DebugEvent) -> None:
        """Something has happened."""
        ...

    async def deliver(self, connection: "Connection", message: StreamMessage) -> None:
        """Let handlers hear of a message that is read."""
        ...


class Connection:
    """Made by `StreamEngine.create_connection`; `writer.write(…)` and `write(…)` are the same."""

    def __init__(
        self,
        nodes: tuple[str, str],
        ports: tuple[str, str],
        config: StreamConfig,
        handler: BackpressureHandler | None,
        owner: Owner,
        now: Callable[[], float],
    ) -> None:
        self.source, self.target = nodes
        self.port, self.config = ports[1], config
        policy = config.buffer() if handler is None else handler.buffer(config)
        self.pipe = Pipe(*nodes, *ports, policy, now=now)
        self.counts = Counts()
        self._handler, self._owner, self._now = handler, owner, now
        self._base, self._before = self.pipe.statistics(), Counts()
        self._claimed, self._number = False, 0
        self.recovery = DefaultErrorRecovery(config.retry_attempts, config.retry_delay, now=now)
        """What the config says of failing handlers."""

    @property
    def id(self) -> str:
        """`source:port->target:port`."""
        return self.pipe.id

    # --- writing ----------------------------------------------------------------------------

    @property
    def writer(self) -> "Connection":
        """What is written with."""
        return self

    async def write(self, message: StreamMessage | Any) -> bool:
        """Send a message (or bare data). Waits where the buffer is full and may lose nothing.
        Whether it was sent: False where it was turned away, and counted as dropped. Raises
        Conflict once the connection is closed."""
        sent = self._filled(message)
        if self._handler is not None and not await self._admitted(self._handler, sent):
            self.pipe.refuse(sent, REFUSED)
            return False
        await self.pipe.put(sent)
        adapted, tell = self.pipe.adapted, getattr(self._handler, "adapted", None)
        if adapted is not None and tell is not None:
            tell(adapted)
        self._tell("message", {"id": sent.id, "value": sent.data})
        return True

    async def _admitted(self, handler: BackpressureHandler, message: StreamMessage) -> bool:
        fill = self.pipe.fill
        if fill < self.config.backpressure_threshold:
            return True
        self.counts.pressure += 1
        handler.on_backpressure(self.id, fill)
        self._tell("backpressure", {"fill": fill})
        if not handler.should_drop_message(message, fill):
            return True
        if handler.max_wait_time > 0:
            await self.pipe.room(fill, handler.max_wait_time / MS)
        return not handler.should_drop_message(message, self.pipe.fill)

    def _filled(self, message: StreamMessage | Any) -> StreamMessage:
        """The message with what it does not say itself."""
        if not isinstance(message, StreamMessage):
            message = StreamMessage(data=message)
        self._number += 1
        return msgspec.structs.replace(
            message,
            id=message.id or f"{self.id}#{self._number}",
            timestamp=message.timestamp or self._now() * MS,
            source_node_id=message.source_node_id or self.source,
            target_node_id=message.target_node_id or self.target,
            port=message.port or self.port,
        )

    # --- reading ----------------------------------------------------------------------------

    def claim(self) -> None:
        """Be the one who reads. Raises Conflict where somebody does already."""
        if self._claimed:
            raise Conflict(f"connection {self.id} is read already; each message is read once")
        self._claimed = True

    @property
    def claimed(self) -> bool:
        """Whether somebody reads it."""
        return self._claimed

    @property
    def stream(self) -> AsyncIterator[StreamMessage]:
        """Its messages, each once, until it is closed and nothing waits. Raises Conflict where
        somebody reads it already."""
        self.claim()
        return self._messages()

    async def _messages(self) -> AsyncIterator[StreamMessage]:
        try:
            async for message in self.pipe.messages():
                await self._owner.deliver(self, message)
                yield message
        finally:
            self._claimed = False

    def batches(self) -> AsyncIterator[MessageBatch]:
        """Its messages in batches: of `max_batch_size`, or what came within `batch_timeout` ms of
        the first; every one, to the last. Raises Conflict."""
        self.claim()
        return self._batches()

    async def _batches(self) -> AsyncIterator[MessageBatch]:
        try:
            while values := await self.pipe.batch():
                for message in values:
                    await self._owner.deliver(self, message)
                batch = MessageBatch(tuple(values), len(values), self._now() * MS)
                self._tell("batch", {"size": batch.total_size})
                yield batch
        finally:
            self._claimed = False

    # --- looking ----------------------------------------------------------------------------

    def metrics(self) -> StreamMetrics:
        """Since it was made, or last reset."""
        now, moment = self.pipe.statistics(), self._now()
        return metrics(now, self._base, self.counts, self._before, moment)

    def reset_metrics(self) -> None:
        """Count from here on."""
        self._base, self._before = self.pipe.statistics(), msgspec.structs.replace(self.counts)

    def statistics(self) -> EdgeStatistics:
        """All that is counted of its channel: sent = delivered + dropped + waiting, always."""
        return self.pipe.statistics()

    def latencies(self) -> Latencies:
        """Of all messages read so far."""
        return self.pipe.latencies()

    def failed(self, error: Exception) -> None:
        """A handler has failed for good at one of its messages."""
        self.counts.errors += 1
        self._tell("error", {"error": type(error).__name__, "message": str(error)})

    def _tell(self, type: Any, data: dict[str, Any]) -> None:
        self._owner.tell(DebugEvent(type, self._now() * MS, self.id, data))

    def __repr__(self) -> str:
        return f"<Connection {self.pipe!r}>"
