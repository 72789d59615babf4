"""The pipelines: `crawl` over URLs that a client names, `deepsearch` over those that a search
finds, `site` over those of one site. One item a URL; each is told as soon as it is done.

Steps that need a connection are made for one fetcher; what reads pages runs in warm processes.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing

from millstream import Context, Each, Pipeline, Processes, Retry
from millstream_apps.extract import pages as reading
from millstream_apps.extract.models import (
    MOST_URLS,
    CrawlBody,
    Crawled,
    CrawlOptions,
    Preview,
    SearchBody,
    SiteBody,
    Target,
)
from millstream_apps.extract.pages import Draft, Page, Reader
from millstream_apps.extract.search import named_in, provider_of
from millstream_apps.extract.settings import ExtractSettings
from millstream_apps.extract.site import CrawlJournal, SitePage, crawl, fetched

AGAIN = Retry(attempts=3, base=0.3, factor=2, cap=5)
"""Tries of one URL. A request may ask for fewer, and its time limit covers all of them."""

ONCE_MORE = Retry(attempts=2, base=0)
"""For a process that died: of something else, mostly."""


def crawl_pipeline(reader: Reader, readers: Processes) -> Pipeline:
    """`crawl`: the pages at some URLs."""
    pipeline = Pipeline("crawl", doc="Pages at URLs become clean documents, each as it is done.")

    @pipeline.step(executor="inline")
    def urls(request: CrawlBody) -> list[Target]:
        return [Target(url, rank) for rank, url in enumerate(request.urls, 1)]

    @pipeline.step(internal=True, retry=AGAIN, concurrency=MOST_URLS, buffer=MOST_URLS)
    async def page(urls: Each[Target], request: CrawlBody, context: Context) -> Page:
        return await reader.page(urls, request.options, context)

    _read_on(pipeline, reader, readers)
    return pipeline


def search_pipeline(reader: Reader, readers: Processes, settings: ExtractSettings) -> Pipeline:
    """`deepsearch`: the pages that a search finds."""
    pipeline = Pipeline("deepsearch", doc="What a search finds becomes clean documents.")

    @pipeline.step(retry=AGAIN, timeout=60)
    async def hits(request: SearchBody) -> AsyncIterator[Target]:
        named = named_in(request.query)[: request.limit]
        for target in named:
            yield target
        if not named:
            async for target in provider_of(settings).find(request):
                yield target

    @pipeline.step(internal=True, retry=AGAIN, concurrency=MOST_URLS, buffer=MOST_URLS)
    async def page(hits: Each[Target], request: SearchBody, context: Context) -> Page | None:
        if not request.include_content:
            return None
        return await reader.page(hits, request.crawl_options, context)

    @pipeline.step(executor="inline")
    def preview(page: Page | None) -> Preview | None:
        return None if page is None else reading.preview(page)

    found = pipeline.step(executor=readers, timeout=60, retry=ONCE_MORE, buffer=4, name="document")
    found(reading.document_or_none)
    return pipeline


def site_pipeline(reader: Reader, readers: Processes, journal: CrawlJournal) -> Pipeline:
    """`site`: the pages of one site, as links and sitemaps lead to them."""
    pipeline = Pipeline(
        "site", doc="The pages of a site become clean documents, as they are found."
    )

    @pipeline.step(retry=ONCE_MORE)
    async def pages(request: SiteBody, context: Context) -> AsyncIterator[SitePage]:
        async with aclosing(crawl(request, reader.fetcher, journal, context.run)) as found:
            async for each in found:
                yield each

    @pipeline.step(internal=True, retry=AGAIN, concurrency=8)
    async def page(pages: Each[SitePage], request: SiteBody) -> Page:
        got = await fetched(reader.fetcher, pages, request)
        return reader.page_of(pages.url, got, CrawlOptions(), pages.elapsed_ms)

    _read_on(pipeline, reader, readers)
    return pipeline


def _read_on(pipeline: Pipeline, reader: Reader, readers: Processes) -> None:
    """What becomes of each `page`: first a preview, then a document; by way of a draft where there
    is a browser that may better it."""

    @pipeline.step(executor="inline")
    def preview(page: Page) -> Preview:
        return reading.preview(page)

    if (browser := reader.browser) is None:
        pipeline.step(executor=readers, timeout=60, retry=ONCE_MORE, buffer=4)(reading.document)
        return
    drafting = pipeline.step(executor=readers, timeout=60, retry=ONCE_MORE, buffer=4, internal=True)
    drafting(reading.draft)

    @pipeline.step(concurrency=MOST_URLS)
    async def document(draft: Draft, page: Page) -> Crawled:
        return await reading.rendered(page, draft, browser)


def process_pool(settings: ExtractSettings) -> Processes:
    """Warm processes that read pages; one a core, where the settings say nothing."""
    return Processes(workers=settings.extract_workers, warm=reading.warm_up)
