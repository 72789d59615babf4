"""Limits on how much one asker may ask: requests in a time, and streams open at once.

Rates are moving windows of the library `limits`; a storage of our own (below) takes its clock from
outside, starts no threads and stays small. Another storage of that library can take its place.
An asker is an owner, or else a client's address. Knows no route.
"""

import ipaddress
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

from fastapi import Response
from fastapi.requests import HTTPConnection
from limits import RateLimitItemPerSecond
from limits.aio.storage import MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from millstream.errors import RateLimited
from millstream.policy import Rate
from millstream.server.auth import caller
from millstream.server.connection import Receive, Scope, Send

SWEEP: Final = 1024
"""After so many requests, windows in which nothing is counted any more are let go of."""


class Windows(Storage, MovingWindowSupport):
    """Counts in this process: for each key the times of the requests in its window."""

    STORAGE_SCHEME = None

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._windows: dict[str, tuple[float, deque[float]]] = {}  # seconds, times
        self._asked = 0

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request, unless its window is full. (No await: nothing comes between.)"""
        self._asked += 1
        if self._asked % SWEEP == 0:
            self._sweep()
        window = self._window(key, expiry)
        if len(window) + amount > limit:
            return False
        window.extend([self._now()] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window's oldest request came, and how many there are in it."""
        window = self._window(key, expiry)
        return (window[0] if window else self._now()), len(window)

    def _window(self, key: str, expiry: int) -> deque[float]:
        _, window = self._windows.setdefault(key, (float(expiry), deque()))
        over = self._now() - expiry
        while window and window[0] <= over:
            window.popleft()
        return window

    def _sweep(self) -> None:
        moment = self._now()
        for key, (seconds, window) in list(self._windows.items()):
            if not window or window[-1] <= moment - seconds:
                del self._windows[key]

    def __len__(self) -> int:
        return len(self._windows)

    # What else the library's base class asks for; moving windows use none of it but `clear`.

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may go wrong: nothing."""
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counters belong to fixed windows."""
        raise NotImplementedError("this storage holds moving windows alone")

    async def get(self, key: str) -> int:
        """How many requests there are in a window."""
        return len(self._windows[key][1]) if key in self._windows else 0

    async def get_expiry(self, key: str) -> float:
        """When nothing of a window will count any more."""
        seconds, window = self._windows.get(key, (0.0, ()))
        return window[-1] + seconds if window else self._now()

    async def check(self) -> bool:
        """It is there."""
        return True

    async def reset(self) -> int | None:
        """Forget everything; how many windows."""
        count = len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget one window."""
        self._windows.pop(key, None)


# --- who asks -------------------------------------------------------------------------------------


def asker(connection: HTTPConnection) -> str:
    """Whom a request is counted for: its owner, or else its client's address (of IPv6 the /64
    that a household or a machine has to itself)."""
    who = caller.get()
    if who is not None and who.owner is not None:
        return f"owner {who.owner}"
    host = connection.client.host if connection.client else "nowhere"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"address {host}"
    if address.version == 6 and address.ipv4_mapped is None:
        return f"address {ipaddress.ip_network((int(address) >> 64 << 64, 64))}"
    return f"address {host}"


def is_local(connection: HTTPConnection) -> bool:
    """Whether nobody in particular asks, and from this machine."""
    who = caller.get()
    if (who is not None and who.owner is not None) or connection.client is None:
        return False
    return _is_loopback(connection.client.host)


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- rates ----------------------------------------------------------------------------------------

Told = tuple[str, int, int, int, int]
"""Of one rate that a request met: name, requests, seconds, what is left, seconds to the reset."""

_told: ContextVar[tuple[Told, ...]] = ContextVar("millstream_limits", default=())


def limit_headers() -> dict[str, str]:
    """What the limits that this request met say of themselves, for its response.

    In both forms that clients know: `RateLimit` and `RateLimit-Policy` of
    draft-ietf-httpapi-ratelimit-headers-10, and `RateLimit-Limit`, `-Remaining` and `-Reset` of its
    drafts up to 06, of the tightest rate. Times are seconds from now.
    """
    told = _told.get()
    if not told:
        return {}
    _, limit, _, left, reset = min(told, key=lambda each: each[3])
    return {
        "RateLimit-Policy": ", ".join(f'"{name}";q={most};w={w}' for name, most, w, _, _ in told),
        "RateLimit": ", ".join(f'"{name}";r={rest};t={t}' for name, _, _, rest, t in told),
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(left),
        "RateLimit-Reset": str(reset),
    }


class RateGate:
    """One rate for one group of routes: await it with the request, or make it their dependency.

    Counts each asker apart. A rate with a burst is a moving window of the burst's size, as long as
    the rate needs to bring so many: `Rate(10, burst=20)` is at most 20 in any 2 seconds.
    """

    def __init__(self, name: str, rate: Rate, windows: Windows, now: Callable[[], float]) -> None:
        self.name, self.rate = name.replace('"', "'"), rate
        amount, self._seconds = rate.window()
        self._item = RateLimitItemPerSecond(amount, self._seconds, namespace="millstream")
        self._limiter = MovingWindowRateLimiter(windows)
        self._now = now

    async def __call__(self, connection: HTTPConnection) -> None:
        """Count this request. Raises RateLimited."""
        who = asker(connection)
        let_in = await self._limiter.hit(self._item, self.name, who)
        reset, left = await self._limiter.get_window_stats(self._item, self.name, who)
        seconds = max(0, math.ceil(reset - self._now()))
        told = (self.name, self._item.amount, self._seconds, max(0, left), seconds)
        others = (each for each in _told.get() if each[0] != self.name)  # of a socket's requests
        _told.set((*others, told))
        if not let_in:
            raise RateLimited(
                f"too many requests: {self.rate} for each client; try again in {max(1, seconds)} s",
                retry_after=seconds,
                told=limit_headers(),
            )

    def __repr__(self) -> str:
        return f"<RateGate {self.name!r} {self.rate}>"


# --- streams --------------------------------------------------------------------------------------

_who: ContextVar[str | None] = ContextVar("millstream_asker", default=None)
"""For whom streams of the request at hand are counted; None: for nobody in particular."""


def counted_for(who: str | None) -> None:
    """From here on, streams of this request are counted for `who`."""
    _who.set(who)


class Places:
    """At most `most` streams open at once, and `each` of one asker. Raises RateLimited (code
    `too_many_streams`) where there is no place."""

    def __init__(self, name: str, most: int, each: int | None = None) -> None:
        self.name, self.most, self.each = name, most, each
        self._taken: dict[str | None, int] = {}
        self._open = 0

    def __len__(self) -> int:
        return self._open

    def take(self, connection: HTTPConnection | None = None) -> Callable[[], None]:
        """A place; returns how to leave it. `connection` None: for whom streams of the request at
        hand are counted."""
        who = _who.get() if connection is None else asker(connection)
        self._check(who)
        self._taken[who] = self._taken.get(who, 0) + 1
        self._open += 1
        return lambda: self._leave(who)

    @contextmanager
    def place(self, connection: HTTPConnection | None = None) -> Iterator[None]:
        """A place for as long as the block lasts: for WebSockets."""
        leave = self.take(connection)
        try:
            yield
        finally:
            leave()

    async def holding(
        self, connection: HTTPConnection | None, make: Callable[[], Awaitable[Any]]
    ) -> Response:
        """The ASGI response that `make` gives, with a place until it is sent. Where there is no
        place, nothing is begun."""
        leave = self.take(connection)
        try:
            return Held(await make(), leave)
        except BaseException:
            leave()
            raise

    def check(self, connection: HTTPConnection | None = None) -> None:
        """Whether there is a place now: ask before something is begun for a stream."""
        self._check(_who.get() if connection is None else asker(connection))

    def _check(self, who: str | None) -> None:
        mine = self._taken.get(who, 0)
        if self._open >= self.most:
            raise self._full(f"{self.most} streams are open")
        if who is not None and self.each is not None and mine >= self.each:
            raise self._full(f"you have {mine} streams open, of {self.each}; close one")

    def _leave(self, who: str | None) -> None:
        self._open -= 1
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]

    @staticmethod
    def _full(said: str) -> RateLimited:
        return RateLimited(f"{said}; try again later", retry_after=1, code="too_many_streams")

    def __repr__(self) -> str:
        return f"<Places {self.name!r}: {self._open} of {self.most}>"


class Held(Response):
    """A response with a place among the open streams, which it gives back at its end."""

    def __init__(self, inner: Any, leave: Callable[[], None]) -> None:
        self._inner, self._leave = inner, leave
        self.status_code, self.background = inner.status_code, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self._inner(scope, receive, send)
        finally:
            self._leave()
