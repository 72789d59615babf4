"""Following: one run's events, across as many connections as it takes (law 4, seen from outside).

In the client's room. Each connection is opened behind the cursor of the last event that was handed
out; `place` checks that nothing is missing, `patience` says how long to try.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import quote, unquote

import httpx

from millstream.client.errors import LogBroken, ServerError, refusal
from millstream.client.lines import Lines
from millstream.client.link import TROUBLE, Effort, Link, unexpected
from millstream.client.place import Place
from millstream.events import Event, Position

NDJSON = "application/x-ndjson"

STREAMED = {"Accept": NDJSON, "Accept-Encoding": "identity"}
"""Not compressed: what gathers events into larger blocks on the way holds them back."""

Request = Callable[[], httpx.Request]


class BrokeOff(Exception):
    """A response that ended before the run did: the server shuts down, or a proxy had enough."""


class Following:
    """An async iterator over a run's events, from a cursor to the run's end.

    `run` is None until the server has told it; `cursor` is the position of the last event handed
    out. Leaving off is safe at any time; the run goes on. Close it with `aclose` (or `async with`)
    to let go of its connection at once.
    """

    def __init__(
        self,
        link: Link,
        *,
        run: str | None = None,
        after: Position = 0,
        start: Callable[[], Awaitable[Request]] | None = None,
    ) -> None:
        self._link, self._start, self._after = link, start, after
        self._place = Place(run, after)
        self._events = self._follow()

    @property
    def run(self) -> str | None:
        """The run's id."""
        return self._place.run

    @property
    def cursor(self) -> Position:
        """The position of the last event that was handed out."""
        return self._place.cursor

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Leave. Nothing more is handed out."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # --- connections ------------------------------------------------------------------------

    async def _follow(self) -> AsyncGenerator[Event, None]:
        effort = self._link.effort()
        make = await self._start() if self._start is not None else None
        while True:
            opened: float | None = None
            try:
                async with self._opened(make) as response:
                    opened = effort.clock.now()
                    if response.status_code == httpx.codes.NO_CONTENT:
                        self._check_end()
                        return
                    async for event in self._read(response, effort):
                        yield event
                    if self._place.ended:
                        return
                failure: Exception = BrokeOff("the stream ended before the run did")
            except TROUBLE as error:
                failure = error
            except ServerError as error:
                if not error.worth_trying_again(resuming=self.run is not None):
                    raise
                failure = error
            if effort.held(opened) and isinstance(failure, httpx.ReadTimeout):
                continue  # nothing was to be told for a while: look whether the server is there
            await effort.pause(failure, run=self.run, cursor=self.cursor)

    @asynccontextmanager
    async def _opened(self, make: Request | None) -> AsyncIterator[httpx.Response]:
        """A response that is good to read. Raises ServerError."""
        request = make() if make is not None and self.run is None else self._resumption()
        response = await self._link.http.send(request, stream=True)
        try:
            if not response.is_success:
                body = await response.aread()
                raise refusal(response.status_code, response.headers, body)
            if response.status_code != httpx.codes.NO_CONTENT:
                self._learn(response)
            yield response
        finally:
            await response.aclose()

    def _resumption(self) -> httpx.Request:
        assert self.run is not None, "there is a run, or a request that starts it"
        return self._link.http.build_request(
            "GET",
            f"runs/{quote(self.run, safe='')}/events",
            params={"after": self.cursor},
            headers=STREAMED,
        )

    def _learn(self, response: httpx.Response) -> None:
        """The run's id, from the head of the response: it may break off before the first event."""
        if NDJSON not in response.headers.get("content-type", ""):
            raise unexpected(response)
        location = response.headers.get("location")
        if self.run is None and location:
            self._place.run = unquote(location.rstrip("/").rpartition("/")[2])

    async def _read(self, response: httpx.Response, effort: Effort) -> AsyncIterator[Event]:
        lines = Lines()
        async for chunk in response.aiter_bytes():
            for line in lines.feed(chunk):
                event = self._place.take(line)
                effort.well()
                yield event
            if self._place.ended:
                return

    def _check_end(self) -> None:
        """204: the server has nothing behind our cursor, and never will."""
        if not self._place.ended and self.cursor != self._after:
            raise LogBroken(
                "the server says that the log ends here, yet no end came",
                run=self.run,
                cursor=self.cursor,
            )

    def __repr__(self) -> str:
        return f"<Following run {self.run or '?'} at {self.cursor}>"
