"""Fetching: the Fetcher. From a URL to a page or an error, by way of the cache.

The story is `fetch`: judge the URL, look at what is kept, share the work with those who ask for the
same, wait for a turn, ask, keep. Everything that decides is in the modules beside it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from hashlib import blake2b
from ssl import SSLContext
from typing import Final
from urllib.parse import urlsplit

from millstream import Outgoing, OutgoingError, OutgoingLimits
from millstream_apps.extract.fetching import freshness
from millstream_apps.extract.fetching.asking import Asking, Question, fetched
from millstream_apps.extract.fetching.cache import Kept, PageCache
from millstream_apps.extract.fetching.contents import PAGES, Kinds
from millstream_apps.extract.fetching.flights import Ended, Flight, Flights
from millstream_apps.extract.fetching.freshness import Use
from millstream_apps.extract.fetching.models import (
    CacheMode,
    Fetched,
    FetchError,
    FetchPolicy,
)
from millstream_apps.extract.fetching.robots import Rules

LONGEST: Final = 3600.0


def cache_key(url: str, user_agent: str) -> str:
    """Under which name a page is kept: of the URL (without its fragment) and who asked."""
    return blake2b(f"{url}\n{user_agent}".encode(), digest_size=16).hexdigest()


class Fetcher:
    """Fetches pages. One for a process; `aclose` when done.

    `allow` makes exceptions to the addresses that are refused (`"127.0.0.1:8000"`), for tests and
    operators. `now` is the wall clock.
    """

    def __init__(
        self,
        *,
        policy: FetchPolicy | None = None,
        cache: PageCache | None = None,
        allow: Iterable[str] = (),
        now: Callable[[], float] = time.time,
        tls: SSLContext | None = None,
    ) -> None:
        self.policy = policy if policy is not None else FetchPolicy()
        self.cache = cache if cache is not None else PageCache()
        self._allow, self._now, self._tls = tuple(allow), now, tls
        self._judge = self._client()
        self._asking: Asking | None = None
        self._flights: Flights[Fetched] = Flights()
        self._ending: AsyncGenerator[None, None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- the story --------------------------------------------------------------------------

    async def fetch(
        self,
        url: str,
        *,
        cache_mode: CacheMode = "read_through",
        timeout: float = 30.0,
        user_agent: str | None = None,
        respect_robots: bool = True,
        accept: Kinds = PAGES,
    ) -> Fetched:
        """The page at `url`. `timeout` is in seconds and counts from when the page's own request
        starts: waiting for a turn at its host has a bound of its own (`FetchPolicy.patience`).

        Raises FetchError, and nothing else.
        """
        began = time.perf_counter()
        agent = user_agent if user_agent else self.policy.user_agent
        question = self._question(url, agent, respect_robots, accept, keep=cache_mode != "off")
        kept = None
        if cache_mode != "off":
            kept = await self.cache.get(question.key, self._now())
        use = freshness.decide(cache_mode, self._age(kept), self.policy.ttl)
        if use is Use.KEPT and kept is not None:
            page = fetched(question, kept.head, kept.body, from_cache=True)
            return _done(page, url, began)
        if use is Use.NOTHING:
            raise FetchError(f"{url} is not in the cache", code="not_cached", retryable=False)
        return _done(await self._share(question, kept, timeout), url, began)

    async def _share(self, question: Question, kept: Kept | None, timeout: float) -> Fetched:
        asking = await self._of_this_loop()

        async def work(flight: Flight[Fetched]) -> Fetched:
            return await asking.fetch(question, kept, flight.begin)

        try:
            return await self._flights.share(question, work, timeout=timeout)
        except Ended as error:
            raise FetchError(
                "the fetcher was closed", code="fetcher_closed", retryable=True
            ) from error
        except TimeoutError as error:
            raise FetchError(
                f"{question.url}: not fetched within {timeout:g} s",
                code="fetch_timeout",
                retryable=True,
            ) from error

    def _question(
        self, url: str, agent: str, respect_robots: bool, accept: Kinds, *, keep: bool
    ) -> Question:
        try:
            plain = self._judge.check(url)
        except OutgoingError as error:
            raise FetchError.of(error) from error
        if not agent.isascii() or not agent.isprintable():
            raise FetchError(
                "user_agent: printable ASCII only", code="user_agent_invalid", retryable=False
            )
        return Question(
            plain,
            cache_key(plain, agent),
            agent,
            respect_robots=respect_robots,
            accept=accept,
            keep=keep,
        )

    def _age(self, kept: Kept | None) -> float | None:
        return None if kept is None else max(0.0, self._now() - kept.head.validated)

    # --- what else may be asked ---------------------------------------------------------------

    async def rules(self, url: str) -> Rules:
        """What the robots.txt of this URL's site says. Raises FetchError where its host cannot be
        asked at all."""
        try:
            parts = urlsplit(self._judge.check(url))
        except OutgoingError as error:
            raise FetchError.of(error) from error
        asking = await self._of_this_loop()
        return await asking.robots.rules(f"{parts.scheme}://{parts.netloc}")

    async def aclose(self) -> None:
        """Stop what is under way and close connections and cache. May be called again."""
        await self._flights.aclose()
        if self._ending is not None:
            await self._ending.aclose()
        await self.cache.aclose()

    # --- its parts belong to a loop -----------------------------------------------------------

    async def _of_this_loop(self) -> Asking:
        """Connections and turns belong to an event loop: in another one they are made anew."""
        loop = asyncio.get_running_loop()
        if self._asking is None or self._loop is not loop:
            self._loop = loop
            outgoing = self._client()
            self._flights = Flights()
            self._asking = asking = Asking(outgoing, self.cache, self.policy, self._now)
            self._ending = _until_the_end(outgoing, asking)
            await anext(self._ending)
            return asking
        return self._asking

    def _client(self) -> Outgoing:
        policy = self.policy
        limits = OutgoingLimits(
            body=policy.max_bytes,
            redirects=policy.redirects,
            headers=LONGEST,  # each caller's own timeout is what ends a silence
            idle=LONGEST,
            total=None,
        )
        return Outgoing(
            allow=self._allow,
            limits=limits,
            user_agent=policy.user_agent,
            tls=self._tls,
            connections=policy.connections,
        )

    def __repr__(self) -> str:
        return f"<Fetcher {len(self._flights)} under way>"


async def _until_the_end(outgoing: Outgoing, asking: Asking) -> AsyncGenerator[None, None]:
    """Closes connections when it is closed itself, which the event loop does at its own end: so
    nothing is left open where nobody says `aclose`."""
    try:
        yield
    finally:
        await asking.aclose()
        await outgoing.aclose()


def _done(page: Fetched, url: str, began: float) -> Fetched:
    """As this caller asked for it, and how long it took for this caller."""
    return replace(page, url=url, elapsed_ms=(time.perf_counter() - began) * 1000)
