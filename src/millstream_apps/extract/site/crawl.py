"""Site: the crawl. Takes pages from the frontier, fetches some at a time, tells each as it is had.

The story is `crawl`: replay the journal, then visit until nothing is left. It decides nothing: the
frontier does.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final

from millstream import StepError
from millstream_apps.extract.fetching import SITEMAPS, Fetched, Fetcher, FetchError
from millstream_apps.extract.site.frontier import Frontier
from millstream_apps.extract.site.journal import CrawlJournal
from millstream_apps.extract.site.models import Candidate, Record, SitePage, SiteRequest, Trouble
from millstream_apps.extract.site.pages import links_of, sitemap
from millstream_apps.extract.site.urls import Scope, normalised

MOST_SITEMAPS: Final = 50
_LARGE: Final = 200_000
"""Characters of a page whose links are looked for in a thread."""


async def crawl(
    request: SiteRequest, fetcher: Fetcher, journal: CrawlJournal, run: str
) -> AsyncGenerator[SitePage, None]:
    """Each page of a site once, as it is had. `run` names the crawl in the journal: called again
    with it, this tells the same pages again from there, and then goes on where that ends.

    A page that cannot be had is told with its `error`. Raises StepError (`url_invalid`,
    `pattern_invalid`) for a request that makes no sense.
    """
    visits = _Visits(request, fetcher)
    number = 0
    for record in await journal.read(run):
        visits.frontier.apply(record)
        number += 1
        if record.page is not None:
            yield record.page
    try:
        while visits.go_on():
            for record in await visits.some():
                await journal.append(run, number, record)
                number += 1
                if record.page is not None:
                    yield record.page
    finally:
        await visits.stop()


def frontier_of(request: SiteRequest) -> Frontier:
    """The frontier that a request begins with."""
    start = normalised(request.url)
    if start is None:
        raise StepError(
            f"url: {request.url[:200]!r} is no http or https URL that can be crawled",
            code="url_invalid",
            retryable=False,
        )
    scope = Scope.of(
        start, same_host=request.same_host, include=request.include, exclude=request.exclude
    )
    return Frontier(start, scope, depth=request.depth, max_pages=request.max_pages)


class _Visits:
    """Visits under way."""

    def __init__(self, request: SiteRequest, fetcher: Fetcher) -> None:
        self._request, self._fetcher = request, fetcher
        self.frontier = frontier_of(request)
        self._tasks: dict[asyncio.Task[Record], int] = {}
        self._begun = 0

    def go_on(self) -> bool:
        """Set off as many as may; whether any are under way."""
        wants_sitemaps = self._request.sitemaps and self._request.depth > 0
        if wants_sitemaps and not self.frontier.sitemaps_read and not self._begun:
            self._begin(self._read_sitemaps())
        while len(self._tasks) < self._request.concurrency:
            candidate = self.frontier.take()
            if candidate is None:
                break
            self._begin(self._visit(candidate))
        return bool(self._tasks)

    async def some(self) -> list[Record]:
        """What has come of those that are done first, in the order in which they set off; applied
        to the frontier."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        in_order = sorted(done, key=self._tasks.__getitem__)
        records: list[Record] = []
        for task in in_order:
            del self._tasks[task]
            record = self._once(task.result())
            self.frontier.apply(record)
            records.append(record)
        return records

    async def stop(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, Record]) -> None:
        self._tasks[asyncio.create_task(work)] = self._begun
        self._begun += 1

    def _once(self, record: Record) -> Record:
        """Without its page where that was told of under another URL, or is of another site."""
        if record.page is None or record.final is None:
            return record
        ours = self.frontier.at_home(record.asked, record.final)
        if ours and self.frontier.is_new(record.final):
            return record
        return Record(record.asked, links=(), page=None, final=record.final if ours else None)

    # --- one page -----------------------------------------------------------------------------

    async def _visit(self, asked: Candidate) -> Record:
        try:
            got = await self._fetch(asked.url)
        except FetchError as error:
            return Record(asked, page=_failed(asked, error))
        final = normalised(got.final_url) or asked.url
        links: list[str] = []
        if got.content_type != "text/plain":
            links = await self._links(got)
        page = SitePage(
            url=asked.url,
            final_url=got.final_url,
            depth=asked.depth,
            parent=asked.parent,
            status=got.status,
            content_type=got.content_type,
            from_cache=got.from_cache,
            links=len(links),
            elapsed_ms=round(got.elapsed_ms, 1),
        )
        return Record(asked, links=tuple(links), page=page, final=final)

    async def _fetch(self, url: str) -> Fetched:
        request = self._request
        return await self._fetcher.fetch(
            url,
            cache_mode=request.cache_mode,
            timeout=request.timeout_ms / 1000,
            user_agent=request.user_agent,
            respect_robots=request.respect_robots,
        )

    async def _links(self, got: Fetched) -> list[str]:
        obey = self._request.respect_robots
        text = got.text
        if len(text) > _LARGE:
            found = await asyncio.to_thread(links_of, text, got.final_url, obey=obey)
        else:
            found = links_of(text, got.final_url, obey=obey)
        return self.frontier.links(found, got.final_url)

    # --- sitemaps -----------------------------------------------------------------------------

    async def _read_sitemaps(self) -> Record:
        """All that the site's sitemaps name: those of robots.txt, else `/sitemap.xml`. One that
        cannot be had is passed over: a site need not have any."""
        start = self.frontier.start
        waiting = await self._named_by_robots() or [normalised("/sitemap.xml", start) or start]
        known, found = set(waiting), dict[str, None]()
        while waiting and len(known) <= MOST_SITEMAPS:
            pages, further = await self._read_sitemap(waiting.pop(0))
            found.update(dict.fromkeys(self.frontier.links(pages, start)))
            fresh = [each for each in further if each not in known]
            known.update(fresh)
            waiting.extend(fresh)
        return Record(Candidate(start, 0), links=tuple(found), sitemap=True)

    async def _named_by_robots(self) -> list[str]:
        try:
            rules = await self._fetcher.rules(self.frontier.start)
        except FetchError:
            return []
        return list(dict.fromkeys(rules.sitemaps()))

    async def _read_sitemap(self, url: str) -> tuple[list[str], list[str]]:
        try:
            got = await self._fetcher.fetch(
                url,
                cache_mode=self._request.cache_mode,
                timeout=self._request.timeout_ms / 1000,
                user_agent=self._request.user_agent,
                respect_robots=self._request.respect_robots,
                accept=SITEMAPS,
            )
        except FetchError:
            return [], []
        return await asyncio.to_thread(sitemap, got.body)


def _failed(asked: Candidate, error: FetchError) -> SitePage:
    return SitePage(
        url=asked.url,
        final_url=asked.url,
        depth=asked.depth,
        parent=asked.parent,
        status=error.http_status or 0,
        content_type="",
        from_cache=False,
        links=0,
        elapsed_ms=0.0,
        error=Trouble(error.code, error.message, error.retryable),
    )
