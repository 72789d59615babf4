"""The SearxNG adapter, over real sockets: a server that answers in the shape of its JSON API
(docs.searxng.org, "Search API"), with what its instances leave out or get wrong.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from millstream import StepError
from millstream_apps.extract.models import SearchBody, Target
from millstream_apps.extract.search import SearxNG
from tests.extract.site_server import Exchange, Site


def hit(url: str | None, **fields: Any) -> dict[str, Any]:
    """One of its results, with the fields that it has beside ours."""
    return {
        "url": url,
        "title": "A mill",
        "content": "It grinds.",
        "engine": "one",
        "engines": ["one", "two"],
        "parsed_url": list(urlsplit(url or ""))[:5],
        "positions": [1, 4],
        "score": 1.25,
        "category": "general",
        "template": "default.html",
        "publishedDate": None,
        "thumbnail": "",
    } | fields


def answer(*results: dict[str, Any], **fields: Any) -> str:
    """A whole answer."""
    return json.dumps(
        {
            "query": "mills",
            "number_of_results": 0,  # as most instances say, whatever they found
            "results": results,
            "answers": [],
            "corrections": [],
            "infoboxes": [{"infobox": "Mill", "urls": [{"title": "x", "url": "http://x.test/"}]}],
            "suggestions": ["water mills"],
            "unresponsive_engines": [["three", "timeout"]],
        }
        | fields
    )


def instance(site: Site, pages: Mapping[str, str]) -> list[dict[str, str]]:
    """Let a site answer as an instance below /searx, page by page; what it is asked."""
    asked: list[dict[str, str]] = []

    async def search(exchange: Exchange) -> None:
        query = dict(parse_qsl(urlsplit(exchange.asked.path).query))
        asked.append(query)
        told = pages.get(query["pageno"], answer())
        await exchange.reply(told, type="application/json")

    site.pages["/searx/search"] = search
    return asked


async def found(site: Site, **fields: Any) -> list[Target]:
    """What a search at the site's instance gives."""
    provider = SearxNG(site.url("/searx/"), 5.0)
    return [each async for each in provider.find(SearchBody(query="mills & co", **fields))]


async def test_pages_are_read_until_there_are_enough() -> None:
    first = answer(
        hit("http://a.test/1"),
        hit("http://a.test/2", title=None, content=None),
        hit("http://a.test/1", title="the same once more"),
        hit(None, title="no address"),
    )
    async with Site() as site:
        asked = instance(
            site, {"1": first, "2": answer(*[hit(f"http://b.test/{n}") for n in "123"])}
        )
        targets = await found(site, limit=4, locale="en", country="gb")
    assert targets == [
        Target("http://a.test/1", 1, "A mill", "It grinds."),
        Target("http://a.test/2", 2, "", ""),
        Target("http://b.test/1", 3, "A mill", "It grinds."),
        Target("http://b.test/2", 4, "A mill", "It grinds."),
    ]
    common = {"q": "mills & co", "format": "json", "language": "en-GB"}
    assert asked == [{**common, "pageno": "1"}, {**common, "pageno": "2"}]


async def test_a_page_without_anything_new_is_the_last() -> None:
    async with Site() as site:
        page = answer(hit("http://a.test/1"))
        asked = instance(site, {str(n): page for n in range(1, 9)})
        assert [each.url for each in await found(site, limit=50)] == ["http://a.test/1"]
    assert [each["pageno"] for each in asked] == ["1", "2"]
    assert asked[0]["language"] == "all"


async def test_nothing_found_is_told_apart_from_engines_that_failed() -> None:
    async with Site() as site:
        instance(site, {"1": answer(unresponsive_engines=[])})
        assert await found(site) == []
        instance(site, {"1": answer(unresponsive_engines=[["one", "timeout"], ["two", "CAPTCHA"]])})
        with pytest.raises(StepError, match="one timeout, two CAPTCHA") as failed:
            await found(site)
    assert (failed.value.code, failed.value.retryable) == ("search_failed", True)


@pytest.mark.parametrize(
    ("status", "body", "said", "again"),
    [
        (403, "<h1>Forbidden</h1>", "search.formats", False),
        (429, "", "answered 429", True),
        (500, "", "answered 500", True),
        (200, "<!doctype html>", "no JSON", False),
    ],
)
async def test_an_instance_that_refuses(status: int, body: str, said: str, again: bool) -> None:
    async with Site() as site:
        site.pages["/searx/search"] = lambda exchange: exchange.reply(body, status=status)
        with pytest.raises(StepError, match=said) as failed:
            await found(site)
    assert (failed.value.code, failed.value.retryable) == ("search_failed", again)


async def test_an_instance_that_is_not_there() -> None:
    async with Site() as site:
        provider = SearxNG(site.url(), 5.0)
    with pytest.raises(StepError, match="cannot be reached"):
        await anext(provider.find(SearchBody(query="mills")))
