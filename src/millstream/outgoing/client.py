"""Outgoing: the client itself. Each hop of a request is judged, sent and bounded here.

The story is `stream`: judge the URL, look its name up, send, follow, unpack. Knows no cache, no
robots.txt and no politeness; whoever needs them builds on this.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Self

import httpx

from millstream.errors import MillstreamError
from millstream.outgoing import redirects
from millstream.outgoing.addresses import Allowed
from millstream.outgoing.answers import THEIRS, OutgoingResponse, OutgoingStream
from millstream.outgoing.decoding import ACCEPT_ENCODING
from millstream.outgoing.errors import OutgoingError, OutgoingTimeout
from millstream.outgoing.failures import told
from millstream.outgoing.guard import Guard
from millstream.outgoing.limits import OutgoingLimits
from millstream.outgoing.pools import Lease, Pools
from millstream.outgoing.urls import Target, target
from millstream.version import __version__

USER_AGENT: Final = f"Millstream/{__version__}"


class Outgoing:
    """One guarded client: pooled connections, HTTP/1.1 and HTTP/2, no cookies kept between
    requests. Belongs to the event loop that first uses it.

    `allow` makes exceptions to what is refused, as `"127.0.0.1:8000"` or `"10.2.0.0/16"` (see
    `addresses.Allowed`). At most `connections` requests are under way at a time. Use it as
    `async with Outgoing() as outgoing`, or call `aclose`.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        limits: OutgoingLimits | None = None,
        user_agent: str = USER_AGENT,
        tls: ssl.SSLContext | None = None,
        http2: bool = True,
        connections: int = 256,
    ) -> None:
        self.allowed = Allowed(allow)
        self.limits = limits if limits is not None else OutgoingLimits()
        self.user_agent = user_agent
        self._guard = Guard(self.allowed)
        self._tls, self._http2 = tls, http2
        self._places = asyncio.Semaphore(connections)
        self._pools: Pools | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. It may be used again afterwards, with new ones."""
        pools, self._pools = self._pools, None
        if pools is not None:
            await pools.aclose()

    def check(self, url: str) -> str:
        """The URL in its one plain form, judged without looking its name up.

        Raises OutgoingRefused.
        """
        return target(url, self.allowed).url

    # --- requests ---------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limits: OutgoingLimits | None = None,
        admit: Callable[[OutgoingStream], None] | None = None,
    ) -> OutgoingResponse:
        """Send a request, follow its redirects, and take the whole body.

        `admit` sees the last answer before its body is read, and may raise to refuse it. Any
        status is an answer, not an error. Raises OutgoingError and its kinds, and no other.
        """
        async with self.stream(
            method, url, headers=headers, content=content, limits=limits
        ) as answer:
            if admit is not None:
                admit(answer)
            body = await answer.read()
            return OutgoingResponse(
                url=answer.url,
                status=answer.status,
                headers=answer.headers,
                body=body,
                redirects=answer.redirects,
                http_version=answer.http_version,
            )

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limits: OutgoingLimits | None = None,
        on_redirect: Callable[[str], Awaitable[None]] | None = None,
    ) -> AsyncIterator[OutgoingStream]:
        """As `request`, with the body still to come: read `chunks()` inside of the block.

        `limits.total` bounds the block as a whole. `on_redirect` is told each URL that a redirect
        leads to before it is asked, and may raise to refuse it.
        """
        bounds = limits if limits is not None else self.limits
        clock = asyncio.timeout(bounds.total)
        try:
            async with clock, self._places:
                chain = _Chain(self, method, headers or {}, content, bounds, on_redirect)
                try:
                    yield await chain.follow(url)
                finally:
                    await chain.close()
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise OutgoingTimeout(f"{url}: not done within {bounds.total:g} s") from error

    # --- one hop ----------------------------------------------------------------------------

    async def lease(self, asked: Target) -> Lease:
        """A connection to a target's origin."""
        if self._tls is None:  # reading all the certificates takes a tenth of a second
            self._tls = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
        if self._pools is None:
            tls, http2 = self._tls, self._http2
            self._pools = Pools(lambda: self._guard.transport(tls=tls, http2=http2))
        return await self._pools.take(
            asked.origin, shareable=self._http2 and asked.scheme == "https"
        )

    def give_back(self, lease: Lease, answer: httpx.Response | None) -> None:
        """An answer that came over this connection has been closed; None: none came."""
        if self._pools is not None:
            many = None if answer is None else answer.http_version == "HTTP/2"
            self._pools.give_back(lease, multiplexed=many)

    async def send(
        self, asked: Target, request: httpx.Request, lease: Lease, bounds: OutgoingLimits
    ) -> httpx.Response:
        """One hop: admit it, send it, wait for the head of its answer."""
        clock = asyncio.timeout(bounds.headers)
        try:
            async with clock:
                await self._guard.admit(asked)
                response = await lease.transport.handle_async_request(request)
                response.request = request
                return response
        except MillstreamError:
            raise
        except TimeoutError as error:
            if not clock.expired():
                raise
            told_by = f"{asked.url}: no answer within {bounds.headers:g} s"
            raise OutgoingTimeout(told_by) from error
        except THEIRS as error:
            raise told(asked.url, error) from error

    def __repr__(self) -> str:
        return f"<Outgoing with connections to {len(self._pools or ())} origins>"


class _Chain:
    """One request and its redirects, up to the answer that is none. Cookies live as long as it."""

    def __init__(
        self,
        outgoing: Outgoing,
        method: str,
        headers: Mapping[str, str],
        content: bytes | None,
        bounds: OutgoingLimits,
        on_redirect: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        self._outgoing, self._bounds, self._on_redirect = outgoing, bounds, on_redirect
        self._method, self._headers, self._content = method.upper(), dict(headers), content
        self._cookies: httpx.Cookies | None = None
        self._seen: set[tuple[str, str, str]] = set()
        self._answer: httpx.Response | None = None
        self._lease: Lease | None = None

    async def follow(self, url: str) -> OutgoingStream:
        """Hop by hop. Raises OutgoingError (`redirect_loop`, `too_many_redirects`, …)."""
        passed: list[str] = []
        asked = target(url, self._outgoing.allowed)
        while True:
            response = await self._ask(asked, passed)
            answer = OutgoingStream(response, asked.url, tuple(passed), self._bounds)
            location = answer.headers.get("location")
            hop = redirects.next_hop(self._method, asked.url, answer.status, location)
            if hop is None:
                return answer
            await answer.discard()
            self._give_back()  # the next hop may well lead to the same server
            passed.append(asked.url)
            if len(passed) > self._bounds.redirects:
                raise _gives_up(
                    url, f"more than {self._bounds.redirects} redirects", "too_many_redirects"
                )
            following = target(hop.url, self._outgoing.allowed)
            if self._on_redirect is not None:
                await self._on_redirect(following.url)
            self._headers = redirects.headers_for(self._headers, hop, before=asked, after=following)
            self._content = self._content if hop.keeps_body else None
            self._method, asked = hop.method, following

    async def _ask(self, asked: Target, passed: list[str]) -> httpx.Response:
        request = self._request(asked)
        step = self._method, asked.url, request.headers.get("cookie", "")
        if step in self._seen:
            raise _gives_up(passed[0], f"its redirects come back to {asked.url}", "redirect_loop")
        self._seen.add(step)
        lease = self._lease = await self._outgoing.lease(asked)
        self._answer = answer = await self._outgoing.send(asked, request, lease, self._bounds)
        if "set-cookie" in answer.headers:
            if self._cookies is None:
                self._cookies = httpx.Cookies()
            self._cookies.extract_cookies(answer)
        return answer

    def _request(self, asked: Target) -> httpx.Request:
        bounds = self._bounds
        headers = httpx.Headers(
            {
                "user-agent": self._outgoing.user_agent,
                "accept": "*/*",
                "accept-encoding": ACCEPT_ENCODING,
            }
        )
        headers.update(self._headers)
        request = httpx.Request(
            self._method,
            asked.url,
            headers=headers,
            content=self._content,
            extensions={
                "timeout": {
                    "connect": bounds.connect,
                    "read": bounds.idle,
                    "write": bounds.idle,
                    "pool": None,
                }
            },
        )
        if self._cookies is not None and "cookie" not in request.headers:
            self._cookies.set_cookie_header(request)
        return request

    async def close(self) -> None:
        """Let go of the answer's connection."""
        try:
            if self._answer is not None:
                await self._answer.aclose()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        answer, self._answer = self._answer, None
        if lease is not None:
            self._outgoing.give_back(lease, answer)


def _gives_up(url: str, why: str, code: str) -> OutgoingError:
    return OutgoingError(f"{url}: {why}", code=code, retryable=False)
