"""The system as the application serves it: pipelines, routes, and its part of what is shared."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from millstream import ApiKeys, Millstream, Outgoing, System, __version__
from millstream_apps.extract.browser import Browser
from millstream_apps.extract.fetching import Fetcher, FetchPolicy, PageCache
from millstream_apps.extract.pages import Reader
from millstream_apps.extract.pipelines import (
    crawl_pipeline,
    process_pool,
    search_pipeline,
    site_pipeline,
)
from millstream_apps.extract.routes import make_routes
from millstream_apps.extract.settings import ExtractSettings, settings
from millstream_apps.extract.site import CrawlJournal
from millstream_apps.extract.slots import Slots

STATIC = Path(__file__).with_name("static")


def make_system(chosen: ExtractSettings) -> System:
    """The system over some settings."""
    slots = Slots(time.monotonic)
    reader = Reader(make_fetcher(chosen), slots, chosen, make_browser(chosen))
    journal = make_journal(chosen)
    pool = process_pool(chosen)

    async def close() -> None:
        await reader.aclose()
        await journal.aclose()

    def routes(app: Millstream) -> APIRouter:
        return make_routes(app, chosen, slots)

    return System(
        name="extract",
        pipelines=(
            crawl_pipeline(reader, pool),
            search_pipeline(reader, pool, chosen),
            site_pipeline(reader, pool, journal),
        ),
        routes=routes,
        health=health,
        settings={
            "host": chosen.extract_host,
            "port": chosen.extract_port,
            "heartbeat": chosen.sse_keepalive_interval,
            "json_bytes": chosen.ws_max_message_size,
        },
        assets=assets(),
        authenticates=True,
        authenticator=ApiKeys.of(chosen.api_keys),
        close=close,
    )


def make_fetcher(chosen: ExtractSettings) -> Fetcher:
    """The fetcher that the settings describe."""
    policy = FetchPolicy(
        ttl=chosen.extract_cache_ttl,
        max_bytes=chosen.extract_max_bytes,
        per_host=chosen.extract_per_host,
    )
    cache = PageCache(chosen.extract_data / "pages.db")
    return Fetcher(policy=policy, cache=cache, allow=chosen.extract_allow)


def make_browser(chosen: ExtractSettings) -> Browser | None:
    """The browser that the settings name; None where they name none."""
    if chosen.extract_chromium is None:
        return None
    outgoing = Outgoing(allow=chosen.extract_allow)
    flags = chosen.extract_chromium_flags
    return Browser(chosen.extract_chromium, outgoing, flags=flags)


def make_journal(chosen: ExtractSettings) -> CrawlJournal:
    """Where the crawls of sites are kept."""
    return CrawlJournal(chosen.extract_data / "sites.db")


def assets() -> Mapping[str, Path]:
    """The files for the built-in page. One renderer shows what all three pipelines make."""
    found = {path.name: path for path in STATIC.iterdir()}
    more = (f"result-{name}.js" for name in ("deepsearch", "site"))
    return found | dict.fromkeys(more, STATIC / "result-crawl.js")


def health(_: Millstream) -> Mapping[str, Any]:
    """The fields of `GET /health`."""
    return {"status": "healthy", "version": __version__}


system = make_system(settings())
