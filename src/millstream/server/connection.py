"""The connection under a response, as far as its server shows it: room, writing past ASGI, the end.

Our own protocols show it by an ASGI extension. Under another server nothing is shown; then a send
that lasts too long counts as stalled, and the server itself closes the connection in the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

EXTENSION = "millstream.connection"
"""In a scope's `extensions`: what the server shows of the connection, a `Shown`."""


def chunk(data: bytes) -> bytes:
    """A part of a body in chunked transfer coding (RFC 9112, section 7.1). An empty one, which
    would end the body, is nothing."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class Shown(Protocol):
    """What a server of ours shows of one connection."""

    def full(self) -> bool:
        """Whether a send would have to wait."""
        ...

    async def room(self) -> object:
        """Wait until it would not."""

    def waiting(self) -> int:
        """Bytes in the connection's buffer."""
        ...

    def sends_by(self, send: object) -> bool:
        """Whether `send` is this connection's own, with nothing in between."""
        ...

    def write(self, data: bytes) -> bool:
        """Write at once what is ready for this connection: a chunk of the response's body, or a
        socket's frames. False, and nothing is written, where that is not possible now: full, gone,
        or not begun."""
        ...

    def writer(self) -> Callable[[bytes], bool] | None:
        """`write`, where it is possible at all."""
        ...

    def on_lost(self, call: Callable[[], None] | None) -> bool:
        """Call it when the client has gone. False where it has."""
        ...

    def settle(self) -> None:
        """The request has been read; only its answer goes on, and nothing more is received."""

    def abort(self) -> None:
        """Cut the connection without waiting for its buffer."""


class Attendant(Protocol):
    """Who takes a socket over from the application that opened it."""

    async def hear(self, message: str | bytes) -> None:
        """One message. The next one is brought when this has returned."""

    async def leave(self) -> None:
        """The socket has gone, or is closing. Called once, after the last `hear`."""


class Connection:
    """One client's connection."""

    __slots__ = ("_direct", "_shown")

    def __init__(self, scope: Scope, send: Send | None = None) -> None:
        """`send` is how the response is sent; where it is not the server's own (a middleware may
        compress what passes), nothing is written past it."""
        self._shown: Shown | None = (scope.get("extensions") or {}).get(EXTENSION)
        self._direct = self._shown is not None and self._shown.sends_by(send)

    @property
    def clear(self) -> bool:
        """Whether it is certain that a send will not have to wait."""
        return self._shown is not None and not self._shown.full()

    def write(self, data: bytes) -> bool:
        """Write at once; False where only `send` can."""
        return self._direct and self._shown is not None and self._shown.write(data)

    def writer(self) -> Callable[[bytes], bool] | None:
        """`write` itself, for many calls; None where only `send` can. Of a response, once it has
        begun."""
        if self._shown is None or not self._direct:
            return None
        return self._shown.writer()

    def on_lost(self, call: Callable[[], None] | None) -> bool:
        """Call it (or nothing, from now on) when the client goes. False where it has gone."""
        return self._shown is not None and self._shown.on_lost(call)

    def attend(self, attendant: Attendant) -> bool:
        """Bring a socket's messages to the attendant; the application may return then, and no task
        waits for them. False where they come by `receive` alone."""
        attend = getattr(self._shown, "attend", None)
        if attend is None or not self._direct:
            return False
        attend(attendant)
        return True

    def settle(self) -> None:
        """Nothing more will be received: let go of what is held for that (2 kB)."""
        if self._direct and self._shown is not None:
            self._shown.settle()

    async def room(self, patience: float) -> bool:
        """Wait until the client has taken what it was sent, so that nothing is got ready for one
        that takes nothing. False as `taken`."""
        if self._shown is None or self.clear:
            return True
        return await self.taken(self._shown.room, patience)

    async def taken(self, send: Callable[[], Awaitable[object]], patience: float) -> bool:
        """Send, which waits for the client to take what it was sent before. False where it took
        nothing at all for `patience` seconds; slow is not stalled."""
        if self.clear:
            await send()
            return True
        while True:
            before = self._left_over()
            limit = asyncio.timeout(patience)
            try:
                async with limit:
                    await send()
                    return True
            except TimeoutError:
                if not limit.expired():
                    raise
            if self._shown is None or self._left_over() >= before:
                return False

    def _left_over(self) -> int:
        return 0 if self._shown is None else self._shown.waiting()

    def abort(self) -> bool:
        """Cut the connection. False where the server offers no way to."""
        if self._shown is None:
            return False
        self._shown.abort()
        return True
