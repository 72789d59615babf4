"""Outgoing: the guard at the connection. Names are looked up and judged before anybody is asked;
then httpx-secure, which connects, shows the address of that very connection, and it is judged too.

The first look spares the inside of the network even a connection attempt; the second holds when a
name answers differently the next time (DNS rebinding).
"""

import asyncio
import socket
import ssl
import time
from collections import OrderedDict
from typing import Final

import httpx
from httpx_secure import httpx_ssrf_protection

from millstream.outgoing.addresses import Address, Allowed, read
from millstream.outgoing.errors import OutgoingError
from millstream.outgoing.pools import KEEP_ALIVE
from millstream.outgoing.urls import Target, refusal

LOOKUP_TTL: Final = 60.0
"""Seconds for which a name that was found good is not looked up again."""
_NAMES: Final = 4096


class Guard:
    """Judges targets by their addresses. One for each client."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._good: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._protected: httpx.AsyncHTTPTransport | None = None

    async def admit(self, target: Target) -> None:
        """Look the target's name up. Raises OutgoingRefused where any of its addresses is refused,
        OutgoingError (`name_unresolved`) where it has none."""
        if target.named or target.address is not None:  # judged by its URL already
            return
        key, now = (target.host, target.port), time.monotonic()
        if self._good.get(key, 0.0) > now:
            return
        for address in await self._addresses(target):
            self._judge(target.host, address, target.port)
        self._good[key] = now + LOOKUP_TTL
        self._good.move_to_end(key)
        if len(self._good) > _NAMES:
            self._good.popitem(last=False)

    async def _addresses(self, target: Target) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            raise OutgoingError(
                f"the name {target.host!r} has no address", code="name_unresolved", retryable=again
            ) from error
        addresses = [read(str(entry[4][0])) for entry in found]
        return [address for address in addresses if address is not None]

    def _judge(self, host: str, address: Address, port: int) -> None:
        reason = self._allowed.refuses(address, port)
        if reason is not None:
            raise refusal(host, address, reason)

    def connected(self, host: str, address: Address, port: int) -> bool:
        """Judge the address of a connection that is being made. Raises OutgoingRefused."""
        if not self._allowed.name(host, port):
            self._judge(host, address, port)
        return True

    def transport(self, *, tls: ssl.SSLContext, http2: bool) -> httpx.AsyncHTTPTransport:
        """What holds one connection, or several to one origin, and connects nowhere else. It reads
        no proxies from the environment: through one, nobody here would know the address that is
        connected."""
        transport = httpx.AsyncHTTPTransport(
            verify=tls,
            http2=http2,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEP_ALIVE
            ),
        )
        if self._protected is None:
            httpx_ssrf_protection(  # it protects the pool, which is then used without the client
                httpx.AsyncClient(transport=transport, trust_env=False),
                check_globally_reachable=False,  # ours says the same and more; knows exceptions
                custom_validator=self.connected,
                dns_cache_ttl=LOOKUP_TTL,
            )
            self._protected = transport
        else:  # the same protection: what one connection learned of a name serves all
            transport._pool._network_backend = self._protected._pool._network_backend
        return transport
