"""Fetching: manners towards each host. So many requests at a time, so long between two, and rest
where the server asked for it.

Time is the event loop's. Knows no URLs and no HTTP.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from millstream_apps.extract.fetching.models import FetchError

_MANY = 2048


def next_start(now: float, earliest: float, rest_until: float) -> float:
    """When the next request may start: not before its turn, not while the host rests. Pure."""
    return max(now, earliest, rest_until)


class _Host:
    __slots__ = ("earliest", "rest_until", "slots", "users")

    def __init__(self, at_a_time: int) -> None:
        self.slots = asyncio.Semaphore(at_a_time)
        self.earliest = self.rest_until = 0.0
        self.users = 0


class HostStatistics(Struct, frozen=True):
    """The hosts at one moment."""

    known: int
    in_use: int


class Hosts:
    """Turns at hosts, first come first served. `patience` is the longest wait for a turn, `rest`
    the longest rest that is waited for, in seconds."""

    def __init__(self, *, at_a_time: int, patience: float, rest: float) -> None:
        self._at_a_time, self._patience, self._rest = at_a_time, patience, rest
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, name: str, *, delay: float) -> AsyncIterator[None]:
        """A request's time at the host. `delay` is the least between two starts, in seconds.

        Raises FetchError (`host_resting` or `host_busy`, retryable) where it would wait too long.
        """
        host = self._host(name)
        host.users += 1
        try:
            await self._slot(name, host)
            try:
                await self._wait(name, host, delay)
                yield
            finally:
                host.slots.release()
        finally:
            host.users -= 1

    def rest(self, name: str, seconds: float) -> None:
        """The host asked for rest."""
        host = self._host(name)
        host.rest_until = max(host.rest_until, _now() + seconds)

    def statistics(self) -> HostStatistics:
        """The hosts now."""
        used = sum(host.users > 0 for host in self._hosts.values())
        return HostStatistics(known=len(self._hosts), in_use=used)

    async def _slot(self, name: str, host: _Host) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await host.slots.acquire()
        except TimeoutError as error:
            raise FetchError(
                f"host {name!r}: no turn within {self._patience:g} s; others are being served",
                code="host_busy",
                retryable=True,
            ) from error

    async def _wait(self, name: str, host: _Host, delay: float) -> None:
        now = _now()
        resting = host.rest_until - now
        if resting > self._rest:
            raise resting_error(name, resting)
        start = next_start(now, host.earliest, host.rest_until)
        if start - now > max(self._patience, self._rest):
            raise FetchError(
                f"host {name!r}: the next turn is in {start - now:.0f} s, more than "
                f"{self._patience:g} s away",
                code="host_busy",
                retryable=True,
                retry_after=start - now,
            )
        host.earliest = start + delay
        if start > now:
            await asyncio.sleep(start - now)

    def _host(self, name: str) -> _Host:
        found = self._hosts.get(name)
        if found is None:
            self._forget_idle()
            found = self._hosts[name] = _Host(self._at_a_time)
        return found

    def _forget_idle(self) -> None:
        if len(self._hosts) < _MANY:
            return
        now = _now()
        for name, host in list(self._hosts.items()):
            if not host.users and host.earliest <= now and host.rest_until <= now:
                del self._hosts[name]


def resting_error(name: str, seconds: float) -> FetchError:
    """The error for a place that asked to be left alone for longer than anybody waits."""
    return FetchError(
        f"{name!r} asked to be left alone for another {seconds:.0f} s",
        code="host_resting",
        retryable=True,
        retry_after=seconds,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
