"""From a URL to a page, and from a page to a document: what the steps of the pipelines do.

`Reader.page` fetches within its run's slots; `document` reads in a process and knows nothing but
the page it is given.
"""

import asyncio
import gc
import os
import time

from msgspec import Struct, structs

from millstream import Context, StepError
from millstream_apps.extract.browser import Browser
from millstream_apps.extract.fetching import Fetched, Fetcher
from millstream_apps.extract.models import Crawled, CrawlOptions, Preview, Target
from millstream_apps.extract.reading.head import read_head
from millstream_apps.extract.reading.models import Ask, Chunking, Document, Head, Read
from millstream_apps.extract.settings import ExtractSettings
from millstream_apps.extract.slots import Slots
from millstream_apps.extract.turns import Turns
from millstream_apps.extract.urls import fault

FETCHING = "url.fetching"
"""The event that says that a URL has a place and is being fetched."""

NO_BROWSER = "rendering was asked for, and no browser is configured: set EXTRACT_CHROMIUM"

COLLECT = (50_000, 20, 50)
"""How seldom these look for garbage that references keep alive: a page leaves hardly any."""
READERS_NICE = 5
"""How much the processes that read pages make way for the one that serves."""

TIMEOUT, REFUSED = "url_timeout", "url_refused"


class Page(Struct, frozen=True):
    """A page as it was fetched, decoded, with how it is to be read."""

    url: str
    final_url: str
    status: int
    html: str
    plain: bool
    from_cache: bool
    fetch_ms: float
    cache_key: str
    ask: Ask
    options: CrawlOptions


class Draft(Struct, frozen=True):
    """A document, and whether a browser might make a better one."""

    crawled: Crawled
    wants_browser: bool


class Reader:
    """Fetches pages for runs."""

    def __init__(
        self,
        fetcher: Fetcher,
        slots: Slots,
        settings: ExtractSettings,
        browser: Browser | None = None,
    ) -> None:
        self.fetcher, self.slots, self._settings = fetcher, slots, settings
        self.browser, self._turns = browser, Turns()

    async def aclose(self) -> None:
        """Let go of connections and files."""
        await self.fetcher.aclose()
        if self.browser is not None:
            await self.browser.aclose()

    async def page(self, target: Target, options: CrawlOptions, context: Context) -> Page:
        """Fetch one URL. Raises StepError; retryable while tries and time are left."""
        run, item = context.run, context.item
        seconds = options.timeout_ms / 1000
        try:
            async with self.slots.place(
                run, item, places=options.concurrency, seconds=seconds
            ) as left:
                await self._turns.take(run)
                context.emit(FETCHING, {"url": target.url})
                page = await self._fetched(target.url, options, left)
        except StepError as error:
            again = error.retryable and context.attempt <= options.retries
            if not again:
                self.slots.done(run, item)
                raise StepError(error.message, code=error.code, retryable=False) from None
            raise
        except BaseException:
            self.slots.done(run, item)
            raise
        self.slots.done(run, item)
        return page

    async def _fetched(self, url: str, options: CrawlOptions, left: float) -> Page:
        wrong = fault(url, self._settings.extract_allow)  # a search may have found anything
        if wrong is not None:
            raise StepError(wrong, code=REFUSED, retryable=False)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(left):
                fetched = await self.fetcher.fetch(
                    url,
                    cache_mode=options.cache_mode,
                    timeout=max(0.05, left),
                    user_agent=options.user_agent or self._settings.extract_user_agent,
                    respect_robots=options.respect_robots,
                )
        except TimeoutError:
            said = f"no answer within {options.timeout_ms} ms"
            raise StepError(said, code=TIMEOUT, retryable=False) from None
        taken = (time.perf_counter() - began) * 1000
        return self.page_of(url, fetched, options, taken)

    def page_of(self, url: str, fetched: Fetched, options: CrawlOptions, taken: float) -> Page:
        """A page as it came, in `taken` milliseconds, and how it is to be read."""
        return Page(
            url=url,
            final_url=fetched.final_url,
            status=fetched.status,
            html=fetched.text,
            plain=fetched.content_type.startswith("text/plain"),
            from_cache=fetched.from_cache,
            fetch_ms=taken,
            cache_key=fetched.cache_key,
            ask=self._ask(options),
            options=options,
        )

    def _ask(self, options: CrawlOptions) -> Ask:
        chunking = options.chunking_config
        return Ask(
            mode="metadata" if options.skip_extraction else options.extraction_mode,
            high=self._settings.gate_hi_threshold,
            low=self._settings.gate_lo_threshold,
            static=options.render_mode == "static",
            chunking=Chunking(chunking.chunk_size, chunking.overlap_size) if chunking else None,
        )


def warm_up() -> None:
    """Load what the first page would wait for, this module with all that it needs among it. From
    then on this process makes way for others: the server's, above all, which everybody waits for.
    """
    from millstream_apps.extract.reading import document as reader

    reader.warm_up()
    gc.freeze()  # what is there now stays
    gc.set_threshold(*COLLECT)
    os.nice(READERS_NICE)


def _read(page: Page) -> Read:
    """Read a page. (The libraries for that are large: only processes that read load them.)"""
    from millstream_apps.extract.reading import document as reader

    return (reader.read_plain if page.plain else reader.read)(page.html, page.final_url, page.ask)


def preview(page: Page) -> Preview:
    """The first rung: the page's head."""
    head = Head() if page.plain else read_head(page.html, page.final_url)
    return Preview(page.url, page.status, head)


def document(page: Page) -> Crawled:
    """The second rung: the page's document. Made in a process."""
    began = time.perf_counter()
    found = _read(page)
    told = crawled(page, found, (time.perf_counter() - began) * 1000)
    return _noted(told, NO_BROWSER) if page.options.render_mode == "headless" else told


def draft(page: Page) -> Draft:
    """A document that a browser may better. Made in a process."""
    began = time.perf_counter()
    found = _read(page)
    wanted = found.effort == "headless" or page.options.render_mode == "headless"
    made = crawled(page, found, (time.perf_counter() - began) * 1000)
    return Draft(made, wanted and not page.plain)


async def rendered(page: Page, first: Draft, browser: Browser) -> Crawled:
    """A page's document; read anew from what a browser makes of it, where that is wanted. One that
    the browser cannot make stays as it was, and says so."""
    if not first.wants_browser:
        return first.crawled
    began = time.perf_counter()
    try:
        html = await browser.render(page.final_url, page.html)
    except StepError as error:
        return _noted(first.crawled, error.message)
    made = structs.replace(page, html=html, ask=structs.replace(page.ask, rendered=True))
    found = await asyncio.to_thread(_read, made)
    taken = first.crawled.processing_time_ms - page.fetch_ms
    told = crawled(made, found, taken + (time.perf_counter() - began) * 1000)
    return structs.replace(told, gate_decision="headless")


def _noted(told: Crawled, note: str) -> Crawled:
    if told.document is None:
        return told
    notes = [*told.document.notes, note]
    return structs.replace(told, document=structs.replace(told.document, notes=notes))


def document_or_none(page: Page | None) -> Crawled | None:
    """The same where there may be no page: none was asked for."""
    return None if page is None else document(page)


def crawled(page: Page, found: Read, read_ms: float) -> Crawled:
    """What clients receive of a page that was read."""
    return Crawled(
        url=page.url,
        status=page.status,
        from_cache=page.from_cache,
        gate_decision="cached" if page.from_cache else found.effort,
        quality_score=round(found.document.quality_score / 100, 3),
        processing_time_ms=round(page.fetch_ms + read_ms, 1),
        document=None if page.options.skip_extraction else _asked(found.document, page.options),
        cache_key=page.cache_key,
        final_url=page.final_url,
    )


def _asked(document: Document, options: CrawlOptions) -> Document:
    """A document in the format that was asked for."""
    if options.output_format == "text":
        return structs.replace(document, markdown="")
    if options.output_format == "markdown":
        return structs.replace(document, text="")
    return document
