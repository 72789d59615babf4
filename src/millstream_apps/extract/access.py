"""Who may use this system, and how much: its own keys and limits, over the server's."""

from collections.abc import Callable
from typing import Any

from fastapi.requests import HTTPConnection

from millstream import ApiKeys, Millstream, Principal, Rate
from millstream_apps.extract.settings import ExtractSettings


class Access:
    """The door of one application. Raises Unauthenticated or RateLimited where it stays shut."""

    def __init__(self, app: Millstream, settings: ExtractSettings) -> None:
        self._app, self._required = app, settings.require_auth
        self._keys = ApiKeys.of(settings.api_keys)
        rps = settings.stream_rate_limit_rps
        amount = max(1, round(rps))
        rate = Rate(amount, per=amount / rps, burst=settings.stream_rate_limit_burst)
        limited = settings.stream_rate_limit_enabled
        self._gate: Callable[..., Any] | None = app.rate_limit("extract", rate) if limited else None
        self.places = app.stream_limit("extract", most=settings.stream_max_concurrent)

    async def asked(self, connection: HTTPConnection) -> Principal:
        """Who asks: somebody with a key, or nobody in particular where none is required."""
        return await self._app.authenticate(connection, also=self._keys, required=self._required)

    async def counted(self, connection: HTTPConnection) -> Principal:
        """The same for a request that starts work: it counts towards the rate limit."""
        principal = await self.asked(connection)
        if self._gate is not None:
            await self._gate(connection)
        return principal
