"""Outgoing: what comes back. A whole answer, or one whose body is still to come.

Unpacks under the request's limits; knows nothing of how it was asked for.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from millstream.outgoing.decoding import Body
from millstream.outgoing.failures import told
from millstream.outgoing.limits import OutgoingLimits

_SMALL: Final = 16_384
"""A body that nobody wants is read up to this size, so that its connection can serve again."""

THEIRS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ssl.SSLError)
"""What the libraries below raise where the other side, or the way to it, is at fault."""


@dataclass(frozen=True)
class OutgoingResponse:
    """A whole answer. `url` is where it came from in the end, `redirects` the URLs before it, in
    order; `body` is unpacked; `http_version` is "HTTP/1.1" or "HTTP/2"."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    redirects: tuple[str, ...]
    http_version: str


class OutgoingStream:
    """An answer whose body is still to come."""

    def __init__(
        self, response: httpx.Response, url: str, chain: tuple[str, ...], limits: OutgoingLimits
    ) -> None:
        self._response, self._limits = response, limits
        self.url, self.redirects = url, chain
        self.status, self.headers = response.status_code, response.headers
        self.http_version = response.http_version

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, unpacked, in pieces as they come.

        Raises OutgoingTooLarge, or OutgoingError (`body_undecodable`, `encoding_unknown`,
        `connection_broken`).
        """
        packed = self.headers.get("content-encoding")
        body = Body(self.url, packed, limit=self._limits.body)
        try:
            async for data in self._response.aiter_raw():
                for piece in body.feed(data):
                    yield piece
        except THEIRS as error:
            raise told(self.url, error) from error
        body.end()

    async def discard(self) -> None:
        """Do without the body. A small one is read, so that the connection may serve again."""
        length = self.headers.get("content-length", "")
        try:
            if length.isascii() and length.isdigit() and int(length) <= _SMALL:
                async with asyncio.timeout(1.0):
                    async for _ in self._response.aiter_raw():
                        pass
        except (TimeoutError, *THEIRS):
            pass  # it has said what matters
        finally:
            await self._response.aclose()

    async def read(self) -> bytes:
        """The whole body; raises as `chunks` does."""
        return b"".join([piece async for piece in self.chunks()])
