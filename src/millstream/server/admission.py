"""Admission: what every request passes before anything is done for it. Who asks, and not too much.

Brings `auth.py` and `limiting.py` together under the settings. Knows no route.
"""

from collections.abc import Callable

from fastapi.requests import HTTPConnection

from millstream.policy import Rate
from millstream.server.auth import ANONYMOUS, Authenticator, Guard, Principal, caller
from millstream.server.limiting import Places, RateGate, Windows, asker, counted_for, is_local
from millstream.settings import Settings

DEFAULT_RATE = Rate(1200, per=60.0)
DEFAULT_EACH = 1000
"""Generous: they stop a client that has gone wild, not one that works hard. They do not count for
whoever asks from this machine without a key; what the settings say counts for all."""


class Admission:
    """The door of one application."""

    def __init__(self, guard: Guard, settings: Settings, *, now: Callable[[], float]) -> None:
        self.guard, self._now = guard, now
        self._windows = Windows(now)
        self._all = settings.rate_limit is not None
        self._gate = self._own_gate(settings.rate_limit)
        self._count_all = settings.owner_streams is not None
        each = settings.owner_streams or DEFAULT_EACH
        self.places = Places("streams", settings.streams, each)

    def _own_gate(self, said: str | None) -> RateGate | None:
        if said is not None and said.strip().lower() == "off":
            return None
        return self.rate("requests", DEFAULT_RATE if said is None else said)

    def rate(self, name: str, rate: Rate | str) -> RateGate:
        """A gate of its own for a group of routes."""
        return RateGate(name, Rate.of(rate), self._windows, self._now)

    async def admit(self, connection: HTTPConnection) -> None:
        """Raises Unauthenticated where keys are configured and this brings none; RateLimited."""
        await self.ask(connection)
        await self._count(connection)

    async def ask(self, connection: HTTPConnection) -> None:
        """Only who it is. Raises Unauthenticated."""
        if self.guard.configured:
            await self.guard.authenticate(connection)

    def unknown(self) -> None:
        """Where keys are configured: whoever it is sees nobody's runs, until it is asked."""
        if self.guard.configured:
            caller.set(ANONYMOUS)

    async def authenticate(
        self, connection: HTTPConnection, also: Authenticator | None, *, required: bool
    ) -> Principal:
        """For routes that ask by themselves. Raises Unauthenticated, RateLimited."""
        principal = await self.guard.authenticate(connection, also=also, required=required)
        await self._count(connection)
        return principal

    async def _count(self, connection: HTTPConnection) -> None:
        local = is_local(connection)
        counted_for(asker(connection) if self._count_all or not local else None)
        if self._gate is not None and (self._all or not local):
            await self._gate(connection)

    def __repr__(self) -> str:
        return f"<Admission {self.guard!r}, {self._gate!r}, {self.places!r}>"
