"""Site: a site's pages, found by following links and sitemaps, each told as soon as it is had.

`urls`, `pages` and `frontier` decide; `journal` keeps; `crawl` acts. As a step:

    @pipeline.step(timeout=3600)
    async def pages(site: SiteRequest, context: Context) -> AsyncIterator[SitePage]:
        async with aclosing(crawl(site, fetcher(), journal(), context.run)) as found:
            async for page in found:
                yield page

    @pipeline.step(concurrency=8)
    async def document(pages: Each[SitePage], site: SiteRequest) -> Document:
        got = await fetched(fetcher(), pages, site)  # kept by the crawl: no second request

Exact resume: `crawl` writes each record to its journal before it yields the page. When the step is
tried again, after a crash or a retry, it yields the journal's pages first: the same values in the
same order, which the engine finds in the log already and keeps with all that was made of them. Then
it goes on. So each page is in the log once, and none is fetched again that was told of.
"""

from millstream_apps.extract.fetching import Fetched, Fetcher, FetchError
from millstream_apps.extract.site.crawl import crawl
from millstream_apps.extract.site.journal import CrawlJournal
from millstream_apps.extract.site.models import SitePage, SiteRequest, Trouble

__all__ = ["CrawlJournal", "SitePage", "SiteRequest", "Trouble", "crawl", "fetched"]


async def fetched(fetcher: Fetcher, page: SitePage, request: SiteRequest) -> Fetched:
    """The page that a crawl has told of, from where the crawl has kept it; else fetched again.

    Raises FetchError, which a page told with an `error` is again.
    """
    if page.error is not None:
        error = page.error
        raise FetchError(error.message, code=error.error_type, retryable=error.retryable)
    if request.cache_mode != "off":
        try:
            return await fetcher.fetch(page.url, cache_mode="only", user_agent=request.user_agent)
        except FetchError as error:
            if error.code != "not_cached":
                raise
    return await fetcher.fetch(
        page.url,
        cache_mode="off" if request.cache_mode == "off" else "read_through",
        timeout=request.timeout_ms / 1000,
        user_agent=request.user_agent,
        respect_robots=request.respect_robots,
    )
