"""HEAD (RFC 9110, section 9.3.2): what GET would answer, without its body.

A stream is let go as soon as its headers are there; no run is followed for a HEAD.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from millstream.server.connection import Receive, Scope, Send


class Head:
    """One HEAD request, shown to the application as a GET whose client leaves after the headers."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope: Scope = {**scope, "method": "GET", "extensions": {}}  # to hear of us alone
        self._receive, self._send = receive, send
        self._answered = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        """The request's messages, and a disconnect when it is answered."""
        if self._answered.is_set():
            return {"type": "http.disconnect"}
        heard = asyncio.ensure_future(self._receive())
        answered = asyncio.create_task(self._answered.wait())
        try:
            await asyncio.wait({heard, answered}, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else {"type": "http.disconnect"}
        finally:
            heard.cancel()
            answered.cancel()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """The headers; nothing after them."""
        if self._answered.is_set():
            return
        await self._send(message)
        if message["type"] == "http.response.start":
            self._answered.set()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
