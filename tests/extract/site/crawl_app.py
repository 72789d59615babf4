"""A pipeline that crawls, for the tests that kill its server."""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache
from pathlib import Path

from millstream import Context, Each, Millstream, Pipeline
from millstream_apps.extract.fetching import Fetcher, PageCache
from millstream_apps.extract.site import CrawlJournal, SitePage, SiteRequest, crawl, fetched

FOLDER = Path(os.environ["CRAWL_FOLDER"])

pipeline = Pipeline("site")


@lru_cache(maxsize=1)
def fetcher() -> Fetcher:
    return Fetcher(cache=PageCache(FOLDER / "pages.db"), allow=[os.environ["CRAWL_ALLOW"]])


@lru_cache(maxsize=1)
def journal() -> CrawlJournal:
    return CrawlJournal(FOLDER / "crawls.db")


@pipeline.step
async def pages(site: SiteRequest, context: Context) -> AsyncIterator[SitePage]:
    async with aclosing(crawl(site, fetcher(), journal(), context.run)) as found:
        async for page in found:
            yield page


@pipeline.step(concurrency=4)
async def size(pages: Each[SitePage], site: SiteRequest) -> int:
    return len((await fetched(fetcher(), pages, site)).body)


def __getattr__(name: str) -> object:
    if name == "app":
        return Millstream(pipeline)
    raise AttributeError(name)
