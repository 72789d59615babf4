"""Link: HTTP to one server, with patience. Every request of the client goes through here.

Touches the network through httpx. Clock, sleep and chance are given; knows no runs.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from msgspec import Struct

from millstream.client.errors import ConnectionLost, ServerError, refusal
from millstream.client.patience import CALM, Patience, Pause, decide
from millstream.events import Position

TROUBLE = (
    httpx.NetworkError,
    httpx.TimeoutException,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
)
"""What a server that restarts, or a network that drops, looks like from here."""


class Clock(Struct, frozen=True):
    """Time and chance. Seconds; `chance` from 0 to 1."""

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    chance: Callable[[], float]


class Effort:
    """One piece of work that is tried until it succeeds or patience ends."""

    def __init__(
        self, patience: Patience, clock: Clock, on_retry: Callable[[Pause], object] | None
    ) -> None:
        self._patience, self.clock, self._on_retry = patience, clock, on_retry
        self._trouble = CALM

    def well(self) -> None:
        """It works (again)."""
        if self._trouble.failures:
            self._trouble = CALM

    def held(self, since: float | None) -> bool:
        """Whether the connection that is gone, opened at `since`, had been a good one."""
        good = since is not None and self.clock.now() - since >= self._patience.steady
        if good:
            self.well()
        return good

    async def pause(
        self, failure: Exception, *, run: str | None = None, cursor: Position = 0
    ) -> None:
        """Wait before the next try. Raises ConnectionLost where there shall be none."""
        asked = (failure.retry_after or 0.0) if isinstance(failure, ServerError) else 0.0
        now, chance = self.clock.now(), self.clock.chance()
        self._trouble, seconds = decide(
            self._patience, self._trouble, now=now, chance=chance, at_least=asked
        )
        if seconds is None:
            raise ConnectionLost(told(failure), run=run, cursor=cursor) from failure
        if self._on_retry is not None:
            self._on_retry(Pause(told(failure), seconds, self._trouble.failures))
        await self.clock.sleep(seconds)


class Link:
    """One server. `request` makes a request, `call` sends one until it is answered."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        patience: Patience,
        clock: Clock,
        on_retry: Callable[[Pause], object] | None,
    ) -> None:
        self.http, self._patience, self._clock, self._on_retry = http, patience, clock, on_retry

    def effort(self) -> Effort:
        """A new piece of work."""
        return Effort(self._patience, self._clock, self._on_retry)

    async def call(self, method: str, path: str, **more: Any) -> Any:
        """The JSON that answers a request which may be sent more than once.

        Raises ServerError, ConnectionLost.
        """
        return await self.attempt(lambda: self.http.build_request(method, path, **more))

    async def attempt(self, make: Callable[[], httpx.Request]) -> Any:
        """The same, with a request that is made anew for each try (a body read from files)."""
        effort = self.effort()
        while True:
            try:
                response = await self.http.send(make())
                if response.is_success:
                    return json(response)
                raise refusal(response.status_code, response.headers, response.content)
            except TROUBLE as error:
                failure: Exception = error
            except ServerError as error:
                if not error.worth_trying_again(resuming=False):
                    raise
                failure = error
            await effort.pause(failure)


def json(response: httpx.Response) -> Any:
    """A JSON answer's value. Raises ServerError where it is something else."""
    try:
        return response.json()
    except ValueError:
        raise unexpected(response) from None


def unexpected(response: httpx.Response) -> ServerError:
    """An answer that no server of ours gives."""
    kind = response.headers.get("content-type", "of no type")
    url = response.url.copy_with(query=None)
    return ServerError(
        f"what answered at {url} is no Millstream server: its answer is {kind}",
        code="unexpected_answer",
        status=response.status_code,
        retryable=False,
    )


def told(failure: Exception) -> str:
    """A failure in words. (Several of httpx's errors have no text, or speak of its insides.)"""
    match failure:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return f"no connection to {_host(failure)}"
        case httpx.TimeoutException():
            return f"nothing came from {_host(failure)} for too long"
        case httpx.RequestError():
            return f"the connection to {_host(failure)} broke off"
        case ServerError():
            return f"the server answered {failure.status}: {failure.detail}"
        case _:
            return str(failure)


def _host(failure: httpx.RequestError) -> str:
    return failure.request.url.netloc.decode("ascii", "replace")
