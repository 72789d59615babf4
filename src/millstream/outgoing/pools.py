"""Outgoing: a pool of connections for each origin. The library's own pool looks at all of its
connections, each against all others, whenever a request begins or ends: that is quick for one host
and slow for a thousand. Here a request meets the connections of its own origin alone.

Time is the event loop's. Knows no URLs beyond their origin, and nothing of what is sent.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

import httpx

UNUSED: Final = 20.0
"""Seconds after which the connections of an origin that nobody asks are closed."""
MOST: Final = 512
"""Origins whose connections are kept, at most, beside those in use."""


class Pool:
    """One origin's connections, and how many requests use them."""

    __slots__ = ("since", "transport", "users")

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.users = 0
        self.since = 0.0


class Pools:
    """Pools by origin; `make` makes one. `most` are kept."""

    def __init__(self, make: Callable[[], httpx.AsyncHTTPTransport], *, most: int = MOST) -> None:
        self._make, self._most = make, most
        self._pools: OrderedDict[Hashable, Pool] = OrderedDict()

    async def take(self, origin: Hashable) -> Pool:
        """The origin's pool. Give it back when the answer has been closed."""
        found = self._pools.get(origin)
        if found is None:
            found = self._pools[origin] = Pool(self._make())
        found.users += 1
        self._pools.move_to_end(origin)
        await self._close_unused()
        return found

    def give_back(self, pool: Pool) -> None:
        """One user less."""
        pool.users -= 1
        pool.since = asyncio.get_running_loop().time()

    async def _close_unused(self) -> None:
        """From the one asked longest ago on, while there is cause. One in use stays, and those
        behind it wait for their turn."""
        before = asyncio.get_running_loop().time() - UNUSED
        while self._pools:
            origin, pool = next(iter(self._pools.items()))
            if pool.users:
                if len(self._pools) > self._most:  # it may be in use for long: look behind it
                    self._pools.move_to_end(origin)
                return
            if pool.since > before and len(self._pools) <= self._most:
                return
            del self._pools[origin]
            await pool.transport.aclose()

    def __len__(self) -> int:
        return len(self._pools)

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, OrderedDict()
        for pool in pools.values():
            await pool.transport.aclose()
