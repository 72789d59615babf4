"""Subscription: one run's log over a WebSocket that may carry many.

At the live edge it is a place in the crowd, and what is published is written by whoever
publishes it. Only while it lags is there a task, which sends batch after batch until it has caught
up: a run that is silent costs its cursor.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from fastapi import WebSocketDisconnect

from millstream.engine.follow import Follower
from millstream.engine.tail import Tail
from millstream.errors import MillstreamError
from millstream.server.socket_writer import FORM, SocketWriter
from millstream.wire import websocket as wire

log = structlog.get_logger("millstream.sockets")


class Subscription:
    """A `Listener` in the crowd. `ended` is called when it is over by itself, with whether the log
    was told to its end; not where it was stopped."""

    __slots__ = ("_ended", "_tail", "_task", "_writer", "cursor", "follower", "form", "write")

    def __init__(
        self,
        follower: Follower,
        tail: Tail,
        writer: SocketWriter,
        ended: "Callable[[Subscription, bool], None]",
    ) -> None:
        """`follower` is open, and follows `tail`."""
        self.follower, self._tail, self._writer, self._ended = follower, tail, writer, ended
        self._task: asyncio.Task[None] | None = None
        self.cursor, self.form = follower.cursor, FORM
        self.write: Callable[[bytes], bool] | None = writer.at_once

    def begin(self) -> None:
        """Deliver what there is, and wait for more."""
        if self.follower.ready:
            self.wake()
        else:
            self._listen()

    async def stop(self) -> None:
        """End it. When this returns nothing more is sent."""
        task = self.close()
        if task is not None:
            await asyncio.wait([task])

    def close(self) -> "asyncio.Task[None] | None":
        """Begin to end it; the task that is still to be waited for."""
        self._tail.unlisten(self)
        self.follower.close()
        if self._task is not None:
            self._task.cancel()
        return self._task

    # --- at the live edge -------------------------------------------------------------------

    def _listen(self) -> None:
        """From here to `_read_on` the cursor is this one's: the crowd moves it."""
        self.cursor = self.follower.cursor
        self._tail.listen(self)

    def _read_on(self) -> Follower:
        """The follower, behind what was written at the live edge."""
        self._tail.unlisten(self)
        self.follower.cursor = self.cursor
        return self.follower

    def wake(self) -> None:
        """There is something else to do than to write what is published."""
        if self._task is not None:
            return
        if self._tail.ended and self.cursor >= self._tail.last:
            asyncio.get_running_loop().call_soon(self._finish)  # when the crowd has gone on
        else:
            self._task = asyncio.create_task(self._deliver())

    def _finish(self) -> None:
        """The last event was written at once."""
        if self._task is None and self._read_on().at_end:
            self.close()
            self._ended(self, True)

    # --- behind it --------------------------------------------------------------------------

    async def _deliver(self) -> None:
        self._read_on()
        complete = await self._catch_up()  # cancelled by `close` alone, which sees to the rest
        self._task = None
        if complete is None:
            self._listen()
        else:
            self.follower.close()
            self._ended(self, complete)

    async def _catch_up(self) -> bool | None:
        """Send batches until there are no more: None at the live edge, True at the log's end, False
        where it broke off."""
        follower = self.follower
        try:
            while follower.ready:
                if not await self._writer.pass_on(follower):
                    return True
        except MillstreamError as error:
            log.warning("subscription_broke_off", run=follower.run, error=error.message)
            with suppress(WebSocketDisconnect):
                await self._writer.say(wire.refusal(error, run=follower.run))
            return False
        except WebSocketDisconnect:
            return False  # whoever listens to the socket hears of it too
        except Exception:
            log.exception("subscription_failed", run=follower.run)
            return False
        return None
