"""Attending: a WebSocket's messages brought to an attendant, each by a task of its own.

Between two messages there is no task, no coroutine and no future: a socket that is silent costs
the memory of its objects alone.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Protocol

from millstream.server.connection import Attendant
from millstream.server.inbox import Inbox, Message
from millstream.server.reader import Closed

log = logging.getLogger("uvicorn.error")

Spawn = Callable[[Coroutine[Any, Any, None], Context | None], "asyncio.Task[None]"]


class Line(Protocol):
    """The connection, as far as its attendant goes."""

    def abort(self) -> None:
        """Cut it."""

    def done(self, hearer: object) -> None:
        """Nothing is heard any more: the connection may end."""


class Attending:
    """One message after another. The attendant is called in the context in which this was made."""

    __slots__ = ("_attendant", "_busy", "_context", "_inbox", "_line", "_spawn")

    def __init__(self, attendant: Attendant, inbox: Inbox, line: Line, spawn: Spawn) -> None:
        self._attendant, self._inbox, self._line, self._spawn = attendant, inbox, line, spawn
        self._context = copy_context()
        self._busy = False

    def put(self, message: Message) -> None:
        """Something was heard."""
        self._inbox.put(message)
        self.next()

    def next(self) -> None:
        """Bring it what waits, if it is free."""
        message = None if self._busy else self._inbox.take()
        if message is not None:
            self._busy = True
            self._spawn(self._bring(message), self._context)

    async def _bring(self, message: Message) -> None:
        if isinstance(message, Closed):  # and busy for good
            try:
                await self._attendant.leave()
            finally:
                self._line.done(self)
            return
        try:
            await self._attendant.hear(message)
        except Exception:
            log.exception("a socket's attendant failed")
            self._line.abort()
        finally:
            self._busy = False
            self.next()
