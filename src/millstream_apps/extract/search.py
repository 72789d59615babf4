"""Search: a port for what finds pages, and two adapters. Without a configured one there is no
search, and it says so: nothing is made up.

The providers are the operator's own choice and may lie inside the network; what they find is
judged like any other URL, before it is fetched.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any, Protocol

import httpx

from millstream import MillstreamError, StepError
from millstream_apps.extract.models import SearchBody, Target
from millstream_apps.extract.settings import ExtractSettings

MOST_PAGES = 10
_URL = re.compile(r"https?://\S+", re.IGNORECASE)


class NoProvider(MillstreamError):
    """No search provider is configured."""

    code = "dependency_error"
    status = 503


class SearchProvider(Protocol):
    """Finds pages. Yields them best first, as they become known, `limit` at most."""

    name: str

    def find(self, asked: SearchBody) -> AsyncIterator[Target]:
        """Raises StepError where the provider fails."""
        ...


def provider_of(settings: ExtractSettings) -> SearchProvider:
    """The provider that the settings choose. Raises NoProvider, saying what to set."""
    wanted = settings.search_provider
    if settings.serper_api_key and wanted in ("auto", "serper"):
        return Serper(str(settings.serper_url), settings.serper_api_key, settings.search_timeout)
    if settings.searxng_url and wanted in ("auto", "searxng"):
        return SearxNG(str(settings.searxng_url), settings.search_timeout)
    raise NoProvider(
        "no search provider is configured: set SERPER_API_KEY for a Serper-compatible one, or "
        "SEARXNG_URL for a SearxNG instance"
    )


def named_in(query: str) -> list[Target]:
    """The pages that a query names itself: then nothing is searched for. Empty where it is not
    made of URLs alone."""
    words = query.split()
    if not all(_URL.fullmatch(word) for word in words):
        return []
    return [Target(url, rank, "Direct URL access") for rank, url in enumerate(words, 1)]


class Serper:
    """Serper-compatible HTTP: POST {q, num, page, gl, hl} with `X-API-KEY`; the answer's `organic`
    lists {title, link, snippet}."""

    name = "serper"

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self._url, self._key, self._timeout = url, key, timeout

    async def find(self, asked: SearchBody) -> AsyncIterator[Target]:
        """See `SearchProvider`."""
        body: dict[str, Any] = {"q": asked.query, "num": min(asked.limit, 10)}
        body |= {"gl": asked.country.lower()} if asked.country else {}
        body |= {"hl": asked.locale} if asked.locale else {}
        async with await _client(self._timeout) as client:
            found = Found(asked.limit)
            for page in range(1, MOST_PAGES + 1):
                headers = {"X-API-KEY": self._key}
                request = client.build_request(
                    "POST", self._url, json={**body, "page": page}, headers=headers
                )
                answer = await _answer(client, request, self.name)
                for target in found.fresh(answer.get("organic"), "link", "snippet"):
                    yield target
                if found.over:
                    return


class SearxNG:
    """A SearxNG instance: GET /search?format=json; `results` lists {title, url, content}, and
    `unresponsive_engines` pairs of an engine and what ailed it. JSON has to be among the
    instance's `search.formats`; where it is not, it answers 403."""

    name = "searxng"

    def __init__(self, url: str, timeout: float) -> None:
        self._url, self._timeout = url.rstrip("/") + "/search", timeout

    async def find(self, asked: SearchBody) -> AsyncIterator[Target]:
        """See `SearchProvider`."""
        language = language_of(asked)
        async with await _client(self._timeout) as client:
            found = Found(asked.limit)
            for page in range(1, MOST_PAGES + 1):
                query = {
                    "q": asked.query,
                    "format": "json",
                    "language": language,
                    "pageno": str(page),
                }
                request = client.build_request("GET", self._url, params=query)
                answer = await _answer(client, request, self.name)
                fresh = found.fresh(answer.get("results"), "url", "content")
                if not fresh and page == 1:
                    self._check_engines(answer.get("unresponsive_engines"))
                for target in fresh:
                    yield target
                if found.over:
                    return

    def _check_engines(self, unresponsive: Any) -> None:
        """That nothing was found is no answer where engines failed. Raises StepError."""
        if isinstance(unresponsive, list) and unresponsive:
            ailed = [" ".join(map(str, e)) if isinstance(e, list) else str(e) for e in unresponsive]
            said = f"{self.name} found nothing, and these engines failed: {', '.join(ailed)[:300]}"
            raise StepError(said, code="search_failed")


def language_of(asked: SearchBody) -> str:
    """The language of a search as SearxNG names it: `all`, `en` or `en-GB`."""
    if not asked.locale:
        return "all"
    locale = asked.locale.replace("_", "-")
    named = asked.country is not None and len(asked.country) == 2 and "-" not in locale
    return f"{locale}-{asked.country.upper()}" if named and asked.country else locale


class Found:
    """What was found so far: each URL once, ranked, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()
        self.over = False

    def fresh(self, listed: Any, link: str, snippet: str) -> list[Target]:
        """The targets of one page of results that are new. One without any is the last."""
        targets: list[Target] = []
        for each in listed if isinstance(listed, list) else []:
            url = each.get(link) if isinstance(each, Mapping) else None
            if len(self._seen) == self._limit or not isinstance(url, str) or url in self._seen:
                continue
            self._seen.add(url)
            title, said = str(each.get("title") or ""), str(each.get(snippet) or "")
            targets.append(Target(url, len(self._seen), title, said))
        self.over = not targets or len(self._seen) == self._limit
        return targets


async def _client(timeout: float) -> httpx.AsyncClient:
    tls = await asyncio.to_thread(_tls)
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, verify=tls)


@cache
def _tls() -> ssl.SSLContext:
    """Reading all the certificates takes a tenth of a second: once will do, and not in the loop."""
    return httpx.create_ssl_context()


async def _answer(
    client: httpx.AsyncClient, request: httpx.Request, name: str
) -> Mapping[str, Any]:
    """A provider's answer as JSON. Raises StepError (`search_failed`), retryable where that may
    help; never with the key in its message."""
    try:
        response = await client.send(request)
    except httpx.HTTPError as error:
        said = f"the search provider {name} cannot be reached: {type(error).__name__}"
        raise StepError(said, code="search_failed") from error
    if response.status_code != 200:
        again = response.status_code >= 500 or response.status_code == 429
        said = f"the search provider {name} answered {response.status_code}"
        if response.status_code == 403 and name == SearxNG.name:
            said += "; is json among the `search.formats` of its settings?"
        raise StepError(said, code="search_failed", retryable=again)
    try:
        found = response.json()
    except ValueError as error:
        said = f"the search provider {name} sent no JSON"
        raise StepError(said, code="search_failed", retryable=False) from error
    return found if isinstance(found, Mapping) else {}
