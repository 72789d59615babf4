"""Outgoing: connections for each origin. The library's own pool looks at all of its connections,
each against all others, whenever a request begins or ends: that is quick for one connection and
slow for a hundred. Here each connection has a pool of the library's to itself, and those that wait
lie on a pile: a request takes the one used last, or has a new one made. What may turn out to be
HTTP/2, where one connection carries many requests, is shared until it turns out otherwise.

Time is the event loop's. Knows no URLs beyond their origin, and nothing of what is sent.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final

import httpx
from msgspec import Struct

KEEP_ALIVE: Final = 15.0
"""Seconds for which a connection waits for the next request."""
UNUSED: Final = 20.0
"""Seconds after which the connections of an origin that nobody asks are closed."""
MOST: Final = 512
"""Origins whose connections are kept, at most, beside those in use."""


class Pool:
    """One origin's connections, and how many requests use them."""

    __slots__ = ("all", "idle", "shared", "since", "single", "users")

    def __init__(self, *, single: bool) -> None:
        self.all: set[httpx.AsyncHTTPTransport] = set()
        self.idle: deque[tuple[float, httpx.AsyncHTTPTransport]] = deque()
        self.shared: httpx.AsyncHTTPTransport | None = None
        self.single = single
        self.users = 0
        self.since = 0.0


class Lease(Struct, frozen=True, eq=False):
    """A connection for one request. Give it back when the answer has been closed."""

    transport: httpx.AsyncHTTPTransport
    pool: Pool
    shared: bool


class Pools:
    """Pools by origin; `make` makes what holds one connection. Of `most` origins they are kept."""

    def __init__(self, make: Callable[[], httpx.AsyncHTTPTransport], *, most: int = MOST) -> None:
        self._make, self._most = make, most
        self._pools: OrderedDict[Hashable, Pool] = OrderedDict()

    async def take(self, origin: Hashable, *, shareable: bool = False) -> Lease:
        """A connection to the origin. `shareable`: it may turn out to be HTTP/2."""
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(single=not shareable)
        pool.users += 1
        self._pools.move_to_end(origin)
        lease = self._lease(pool)
        await self._close_unused(pool)
        return lease

    def _lease(self, pool: Pool) -> Lease:
        if pool.single and pool.idle:
            return Lease(pool.idle.pop()[1], pool, shared=False)
        transport = pool.shared or self._make()
        pool.all.add(transport)
        if not pool.single:
            pool.shared = transport
        return Lease(transport, pool, shared=not pool.single)

    def give_back(self, lease: Lease, *, multiplexed: bool | None = None) -> None:
        """An answer has been closed. `multiplexed`: whether it came over HTTP/2 (None: there was
        none)."""
        pool, now = lease.pool, asyncio.get_running_loop().time()
        pool.users -= 1
        pool.since = now
        if not lease.shared:
            pool.idle.append((now, lease.transport))
        elif multiplexed is False and pool.shared is lease.transport:
            pool.single, pool.shared = True, None  # others that still share it do it no harm
            pool.idle.append((now, lease.transport))

    async def _close_unused(self, used: Pool) -> None:
        """Connections that waited for too long; then whole origins, from the one asked longest ago
        on, while there is cause. One in use stays, and those behind it wait for their turn."""
        now = asyncio.get_running_loop().time()
        while used.idle and used.idle[0][0] < now - KEEP_ALIVE:
            _, transport = used.idle.popleft()
            used.all.discard(transport)
            await transport.aclose()
        while self._pools:
            origin, pool = next(iter(self._pools.items()))
            if pool.users:
                if len(self._pools) > self._most:  # it may be in use for long: look behind it
                    self._pools.move_to_end(origin)
                return
            if pool.since > now - UNUSED and len(self._pools) <= self._most:
                return
            del self._pools[origin]
            await _close(pool)

    def __len__(self) -> int:
        return len(self._pools)

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, OrderedDict()
        for pool in pools.values():
            await _close(pool)


async def _close(pool: Pool) -> None:
    while pool.all:
        await pool.all.pop().aclose()
