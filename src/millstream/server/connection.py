"""The connection under a response, as far as its server shows it: is anything taken, and the end.

Our own protocols show it by an ASGI extension. Under another server nothing is shown; then a send
that lasts too long counts as stalled, and the server itself closes the connection in the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

EXTENSION = "millstream.connection"
"""In a scope's `extensions`: `abort()` cuts the connection without waiting for its buffer,
`waiting()` is how many bytes there are in it, `full()` whether a send would have to wait, `room()`
waits until it would not."""


class Connection:
    """One client's connection."""

    def __init__(self, scope: Scope) -> None:
        shown = (scope.get("extensions") or {}).get(EXTENSION) or {}
        self._abort: Callable[[], None] | None = shown.get("abort")
        self._waiting: Callable[[], int] | None = shown.get("waiting")
        self._full: Callable[[], bool] | None = shown.get("full")
        self._room: Callable[[], Awaitable[object]] | None = shown.get("room")

    @property
    def clear(self) -> bool:
        """Whether it is certain that a send will not have to wait."""
        return self._full is not None and not self._full()

    async def room(self, patience: float) -> bool:
        """Wait until the client has taken what it was sent, so that nothing is got ready for one
        that takes nothing. False as `taken`."""
        if self._room is None or self.clear:
            return True
        return await self.taken(self._room, patience)

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
            if self._waiting is None or self._left_over() >= before:
                return False

    def _left_over(self) -> int:
        return 0 if self._waiting is None else self._waiting()

    def abort(self) -> bool:
        """Cut the connection. False where the server offers no way to."""
        if self._abort is None:
            return False
        self._abort()
        return True
