"""How the Fetcher fails: statuses, kinds of content, the inside; and how a failure travels."""

import asyncio
import pickle

import pytest

from millstream_apps.extract.fetching import SITEMAPS, Fetcher, FetchError
from tests.extract.fetching.failing import failure
from tests.extract.site_server import Site, packed, page


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 410, 418, 451)),
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
)
async def test_statuses(site, fetcher, status, retryable):
    site.pages["/"] = lambda exchange: exchange.reply("no", status=status)
    told = await failure(fetcher.fetch(site.url()))
    assert (told.code, told.http_status, told.retryable) == ("http_status", status, retryable)
    assert str(status) in told.message


@pytest.mark.parametrize(
    "type", ["image/png", "application/pdf", "application/json", "video/mp4", "text/css"]
)
async def test_other_kinds_are_refused_before_their_body(site, fetcher, type):
    async def endless(exchange):
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {type}\r\nContent-Length: 999999999\r\n\r\n"
        await exchange.raw(head.encode())
        await exchange.hang()

    site.pages["/"] = endless
    told = await failure(fetcher.fetch(site.url()))
    assert (told.code, told.retryable) == ("content_type_unsupported", False)
    assert type in told.message


@pytest.mark.parametrize(
    ("type", "body", "kind"),
    [
        ("application/xhtml+xml", b"<html/>", "application/xhtml+xml"),
        ("application/rss+xml", b"<rss/>", "application/rss+xml"),
        ("text/plain", b"words", "text/plain"),
        (None, b"<!doctype html><p>x", "text/html"),
        (None, b"<?xml version='1.0'?><a/>", "application/xml"),
        (None, b"just words", "text/plain"),
        (None, b"\x89PNG\r\n\x1a\n\0\0\0", None),
        ("", b"<html>", "text/html"),
    ],
)
async def test_kinds(site, fetcher, type, body, kind):
    site.pages["/"] = lambda exchange: exchange.reply(body, type=type)
    if kind is None:
        assert (await failure(fetcher.fetch(site.url()))).code == "content_type_unsupported"
    else:
        assert (await fetcher.fetch(site.url())).content_type == kind


async def test_a_sitemap_may_be_packed(site, fetcher):
    data = packed(b"<urlset/>", "gzip")
    site.pages["/sitemap.xml.gz"] = lambda exchange: exchange.reply(data, type="application/gzip")
    got = await fetcher.fetch(site.url("/sitemap.xml.gz"), accept=SITEMAPS)
    assert (got.body, got.encoding) == (data, None)
    await failure(fetcher.fetch(site.url("/sitemap.xml.gz"), cache_mode="off"))


async def test_the_inside_is_refused(site, clock):
    fetcher = Fetcher(now=clock)
    told = await failure(fetcher.fetch(site.url()))
    assert (told.code, told.retryable) == ("address_refused", False)
    assert site.connections == 0
    await fetcher.aclose()


async def test_a_refused_user_agent(fetcher, site):
    told = await failure(fetcher.fetch(site.url(), user_agent="a\r\nX: y"))
    assert told.code == "user_agent_invalid"


def test_an_error_travels_whole():
    error = FetchError("no", code="http_status", retryable=True, http_status=503, retry_after=7)
    back = pickle.loads(pickle.dumps(error))
    assert (back.message, back.code, back.retryable) == ("no", "http_status", True)
    assert (back.http_status, back.retry_after, back.error_type) == (503, 7, "http_status")


def test_a_fetcher_serves_one_loop_after_the_other():
    async def once(fetcher: Fetcher) -> str:
        async with Site({"/": page("here")}) as site:
            fetcher._allow = (site.place,)
            fetcher._judge = fetcher._client()
            return (await fetcher.fetch(site.url())).text

    fetcher = Fetcher()
    for _ in range(2):
        assert "here" in asyncio.run(once(fetcher))
    fetcher.cache.close()
