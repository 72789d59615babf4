"""Pipe: a live channel by itself, outside of any graph. One reader, any number of writers.

The same channels, policies and counters as between the steps of a live pipeline; for programs that
pass messages by hand. Knows no run.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from millstream.core.adaptive import Adapted
from millstream.core.graph import Arrow, Reading
from millstream.core.latency import Latencies
from millstream.engine.live.channel import Channel
from millstream.engine.live.inbox import Batches, Inbox, Single
from millstream.engine.live.lossy import LossyChannel
from millstream.engine.live.statistics import EdgeStatistics
from millstream.errors import Conflict
from millstream.policy import Buffer


class Pipe:
    """From `source:port` to `target:parameter`, by this policy. `now` gives seconds.

    sent = delivered + dropped + waiting, always; a full one stops its writers, or drops as its
    policy says, and counts it.
    """

    def __init__(
        self,
        source: str,
        target: str,
        port: str,
        parameter: str,
        policy: Buffer,
        *,
        now: Callable[[], float],
    ) -> None:
        arrow = Arrow(source, target, parameter, Reading.EACH, port=port)
        make = LossyChannel if policy.lossy else Channel
        self.policy = policy
        self._channel = make(arrow, policy, now=now)
        self._number = 0
        inbox = Inbox([self._channel], Single(self._channel))
        self._inbox = Batches(inbox, policy.batch, policy.linger)
        self._one = inbox
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def id(self) -> str:
        """`source:port->target:parameter`."""
        return self._channel.arrow.id

    @property
    def closed(self) -> bool:
        """Whether nothing more can be put."""
        return self._channel.closed

    @property
    def fill(self) -> float:
        """Messages waiting by its size, 0 to 1."""
        return len(self._channel) / self._channel.size

    @property
    def adapted(self) -> Adapted | None:
        """What an adaptive one goes by now."""
        return self._channel._adapted

    # --- writers ----------------------------------------------------------------------------

    async def put(self, value: Any) -> None:
        """Append a message; waits for room where the policy says so. Raises Conflict once it is
        closed. Cancelled while it waits, the message gets in all the same."""
        self._check_open()
        self._number += 1
        room = self._channel.put([self._number], [value], self._number)
        if room is not None:
            await asyncio.wait([room])  # several writers may wait for the same room

    def refuse(self, value: Any, cause: str) -> None:
        """Drop a message that was sent, and count it under this cause. Raises Conflict."""
        self._check_open()
        gauge = self._channel.gauge
        gauge.sent += 1
        gauge.drop(cause, self._channel.kind(value))

    async def room(self, below: float, seconds: float) -> bool:
        """Wait until it is filled to less than `below` (0 to 1), for up to so many seconds. Whether
        it is."""
        try:
            async with asyncio.timeout(seconds):
                while self.fill >= below and not self.closed:
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiting.append(waiter)
                    await waiter
        except TimeoutError:
            pass
        return self.fill < below

    def _check_open(self) -> None:
        if self.closed:
            raise Conflict(f"connection {self.id} is closed; nothing more can be sent by it")

    def close(self, *, discard: bool = False) -> None:
        """Nothing more will be put. What waits can still be read; with `discard` it is dropped,
        and counted."""
        if discard:
            self._channel.discard(True)
        self._channel.close()
        self._taken()

    # --- the reader -------------------------------------------------------------------------

    async def take(self, most: int = 1024) -> Sequence[Any]:
        """What waits, up to so many messages; waits for the first. Empty at the end."""
        return await self._next(self._one, most)

    async def batch(self) -> Sequence[Any]:
        """At most the policy's `batch` messages, or those that came within its `linger` seconds of
        the first. Empty at the end; none is lost between batches."""
        taken = await self._next(self._inbox, 1)
        return taken[0] if taken else ()

    async def _next(self, inbox: Inbox, most: int) -> Sequence[Any]:
        while True:
            taken = await inbox.take(most)
            if taken is None:
                return ()
            self._taken()
            if taken.values:
                return taken.values

    def _taken(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def messages(self) -> AsyncIterator[Any]:
        """Each message, to the last one."""
        while values := await self.take(1):
            for value in values:
                yield value

    def statistics(self) -> EdgeStatistics:
        """What is counted of it, now."""
        return self._channel.statistics()

    def latencies(self) -> Latencies:
        """Of all messages that were taken so far, from put to take."""
        return self._channel.gauge.latencies.copy()

    def __repr__(self) -> str:
        return f"<Pipe {self._channel!r}>"
