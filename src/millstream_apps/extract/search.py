"""Search: a port for what finds pages, and two adapters. Without a configured one there is no
search, and it says so: nothing is made up.

The providers are the operator's own choice and may lie inside the network; what they find is
judged like any other URL, before it is fetched.
"""

import re
from collections.abc import AsyncIterator, Mapping
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
        async with _client(self._timeout) as client:
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
    """A SearxNG instance: GET /search?format=json; `results` lists {title, url, content}."""

    name = "searxng"

    def __init__(self, url: str, timeout: float) -> None:
        self._url, self._timeout = url.rstrip("/") + "/search", timeout

    async def find(self, asked: SearchBody) -> AsyncIterator[Target]:
        """See `SearchProvider`."""
        language = asked.locale or "all"
        async with _client(self._timeout) as client:
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
                for target in found.fresh(answer.get("results"), "url", "content"):
                    yield target
                if found.over:
                    return


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


def _client(timeout: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False)


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
        raise StepError(said, code="search_failed", retryable=again)
    try:
        found = response.json()
    except ValueError as error:
        said = f"the search provider {name} sent no JSON"
        raise StepError(said, code="search_failed", retryable=False) from error
    return found if isinstance(found, Mapping) else {}
