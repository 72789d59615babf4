"""Fetching: asking the server. One question to one answer: robots.txt, a turn at the host, the
request, and what to keep of it.

Belongs to one event loop. Raises FetchError alone.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from millstream import Outgoing, OutgoingError, OutgoingLimits, OutgoingStream
from millstream_apps.extract.fetching import charsets, contents, freshness, robots
from millstream_apps.extract.fetching.cache import Head, Kept, PageCache
from millstream_apps.extract.fetching.contents import Kinds
from millstream_apps.extract.fetching.hosts import Hosts, resting_error
from millstream_apps.extract.fetching.models import Fetched, FetchError, FetchPolicy
from millstream_apps.extract.fetching.robots import Robots, Rules

ACCEPT: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,text/*;q=0.8,*/*;q=0.1"
AGAIN: Final = frozenset({408, 425, 429})
"""Statuses below 500 after which trying again helps."""
_RESTING: Final = 4096


class Question(Struct, frozen=True):
    """What is asked for. Equal questions at the same time are asked once."""

    url: str
    key: str
    agent: str
    respect_robots: bool
    accept: Kinds
    keep: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port, as `https://example.org`."""
        return origin(self.url)


def origin(url: str) -> str:
    """Scheme, host and port of a URL that was judged."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Asking:
    """Asks servers. `now` is the wall clock."""

    def __init__(
        self, outgoing: Outgoing, cache: PageCache, policy: FetchPolicy, now: Callable[[], float]
    ) -> None:
        self._outgoing, self._cache, self._policy, self._now = outgoing, cache, policy, now
        self._hosts = Hosts(at_a_time=policy.per_host, patience=policy.patience, rest=policy.rest)
        loop = asyncio.get_running_loop()
        self.robots = Robots(self._ask_rules, ttl=policy.robots_ttl, now=loop.time)
        self._resting: OrderedDict[str, float] = OrderedDict()

    async def fetch(
        self, question: Question, kept: Kept | None, begin: Callable[[], None]
    ) -> Fetched:
        """The answer; `kept` is what its server may vouch for. `begin` is called when the request
        itself starts."""
        try:
            delay = self._policy.min_delay
            if question.respect_robots:
                rules = await self._allowed(question.url, question.agent)
                asked_for = min(rules.delay(question.agent), self._policy.max_delay)
                delay = max(delay, asked_for)
            await self._rest(question)
            async with self._hosts.turn(question.origin, delay=delay):
                begin()
                return await self._ask(question, kept)
        except OutgoingError as error:
            raise FetchError.of(error) from error

    async def aclose(self) -> None:
        """Stop asking for robots.txt files."""
        await self.robots.aclose()

    # --- robots.txt ---------------------------------------------------------------------------

    async def _allowed(self, url: str, agent: str) -> Rules:
        rules = await self.robots.rules(origin(url))
        if rules.unreachable is not None:
            raise FetchError(
                f"{url}: the site's robots.txt cannot be read ({rules.unreachable}), which forbids "
                "everything for now",
                code="robots_unreachable",
                retryable=True,
            )
        if not rules.allows(url, agent):
            raise FetchError(
                f"{url}: the site's robots.txt disallows it for {robots.token(agent)!r}",
                code="robots_disallowed",
                retryable=False,
            )
        return rules

    async def _ask_rules(self, site: str) -> Rules:
        policy = self._policy
        limits = OutgoingLimits(
            body=4 * robots.LONGEST, redirects=robots.REDIRECTS, total=policy.robots_timeout
        )
        url = f"{site}/robots.txt"
        headers = {"user-agent": policy.user_agent}
        try:
            answer = await self._outgoing.request("GET", url, headers=headers, limits=limits)
        except OutgoingError as error:
            return _without_rules(error)
        return robots.verdict(answer.status, answer.body)

    # --- rest that a server asked for ---------------------------------------------------------

    async def _rest(self, question: Question) -> None:
        left = self._resting.get(question.url, 0.0) - self._now()
        if left > self._policy.rest:
            raise resting_error(question.url, left)
        if left > 0:
            await asyncio.sleep(left)

    def _note_rest(self, question: Question, status: int, seconds: float | None) -> None:
        if seconds is None or seconds <= 0:
            return
        self._resting[question.url] = self._now() + seconds
        self._resting.move_to_end(question.url)
        if len(self._resting) > _RESTING:
            self._resting.popitem(last=False)
        if status == 429:  # it is about us, not about this page
            self._hosts.rest(question.origin, seconds)

    # --- the request --------------------------------------------------------------------------

    async def _ask(self, question: Question, kept: Kept | None) -> Fetched:
        headers = {"user-agent": question.agent, "accept": ACCEPT}
        if kept is not None:
            headers |= freshness.conditions(kept.head.headers)

        async def before_redirect(url: str) -> None:
            if question.respect_robots:
                await self._allowed(url, question.agent)

        async with self._outgoing.stream(
            "GET", question.url, headers=headers, on_redirect=before_redirect
        ) as answer:
            if answer.status == 304 and kept is not None:
                return await self._vouched(question, kept, answer.headers)
            if not 200 <= answer.status < 300:
                await answer.discard()
                raise self._refused(question, answer)
            said = answer.headers.get("content-type", "")
            contents.check_type(answer.url, said, question.accept)
            body = await answer.read()
        return await self._take(question, answer, body)

    def _refused(self, question: Question, answer: OutgoingStream) -> FetchError:
        status = answer.status
        seconds = freshness.retry_after(answer.headers.get("retry-after"), self._now())
        again = status in AGAIN or status >= 500
        if again:
            self._note_rest(question, status, seconds)
        return FetchError(
            f"{answer.url} answered with status {status}",
            code="http_status",
            retryable=again,
            http_status=status,
            retry_after=seconds if again else None,
        )

    async def _vouched(self, question: Question, kept: Kept, headers: Mapping[str, str]) -> Fetched:
        """The server says that what is kept still holds (304)."""
        newer = {name.lower(): value for name, value in headers.items()}
        newer.pop("content-length", None)
        head = replace(kept.head, headers={**kept.head.headers, **newer}, validated=self._now())
        await self._cache.put(question.key, Kept(head, kept.body), self._now())
        return fetched(question, head, kept.body, from_cache=True)

    async def _take(self, question: Question, answer: OutgoingStream, body: bytes) -> Fetched:
        said = answer.headers.get("content-type", "")
        kind = contents.check_body(answer.url, said, body, question.accept)
        head = Head(
            final_url=answer.url,
            status=answer.status,
            headers={name.lower(): value for name, value in answer.headers.items()},
            content_type=kind,
            encoding=None if kind in contents.PACKED else await _encoding(body, said),
            redirects=answer.redirects,
            validated=self._now(),
        )
        if question.keep:
            if freshness.may_keep(head.status, head.headers):
                await self._cache.put(question.key, Kept(head, body), self._now())
            else:
                await self._cache.drop(question.key)
        return fetched(question, head, body, from_cache=False)


def fetched(question: Question, head: Head, body: bytes, *, from_cache: bool) -> Fetched:
    """The answer to a question, from its parts."""
    return Fetched(
        url=question.url,
        final_url=head.final_url,
        status=head.status,
        headers=head.headers,
        content_type=head.content_type,
        encoding=head.encoding,
        body=body,
        from_cache=from_cache,
        fetched_at=head.validated,
        elapsed_ms=0.0,
        redirects=head.redirects,
        cache_key=question.key,
    )


async def _encoding(body: bytes, content_type: str) -> str:
    found = charsets.declared(body, content_type)
    return found if found is not None else await asyncio.to_thread(charsets.looks_like, body)


_NO_RULES: Final = frozenset(
    {"too_many_redirects", "redirect_loop", "redirect_invalid", "body_too_large"}
)
_NOBODY_THERE: Final = frozenset({"name_unresolved", "connect_failed", "tls_failed"})


def _without_rules(error: OutgoingError) -> Rules:
    """What a robots.txt that cannot be had means. Raises the error itself where there is nobody to
    be asked: then the page cannot be had either, and for the same reason."""
    if error.code in _NO_RULES or error.code == "encoding_unknown":
        return Rules()
    if error.code in _NOBODY_THERE or not error.retryable:
        raise error
    return Rules(unreachable=error.message)
