"""The whole service against one bad site: a hundred URLs, an outcome each, and the right sum.

The site answers on real sockets in the test's own loop; the service runs in its own process.
"""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.extract.hostile_site import MANY, Expected, article, hostile
from tests.extract.site_server import Exchange, Site


@pytest.fixture
async def bad_site():
    async with Site() as running:
        yield running


def fits(expected: Expected, result: dict[str, Any]) -> bool:
    error, document = result["error"], result["document"]
    if error is not None:
        return error["code"] in expected.codes and document is None and result["status"] == 0
    return bool(expected.marker) and expected.marker in document["text"]


async def crawled(address: str, urls: list[str], on_line, **options: Any) -> list[dict[str, Any]]:
    """The lines of a crawl; `on_line` sees each as it comes."""
    body = {"urls": urls, "options": {"cache_mode": "off", **options}}
    found: list[dict[str, Any]] = []
    async with (
        httpx.AsyncClient(base_url=address, timeout=120) as client,
        client.stream("POST", "/crawl/stream", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            found.append(json.loads(line))
            on_line(found[-1])
    return found


async def test_each_of_a_hundred_has_one_outcome(address: str, bad_site: Site) -> None:
    expected = hostile(bad_site)
    paths = list(expected)
    urls = [bad_site.url(path) for path in paths]
    lines = await crawled(
        address, urls, lambda line: None, concurrency=16, timeout_ms=8000, retries=0
    )
    results = [line for line in lines if line["event"] == "result"]
    assert sorted(line["index"] for line in results) == list(range(MANY))
    assert all(line["result"]["url"] == urls[line["index"]] for line in results)
    wrong = {
        paths[line["index"]]: line["result"]["error"] or line["result"]["document"]["text"][:80]
        for line in results
        if not fits(expected[paths[line["index"]]], line["result"])
    }
    assert wrong == {}
    assert [line["progress"]["completed"] for line in results] == list(range(1, MANY + 1))
    good = sum(bool(each.marker) for each in expected.values())
    summary = lines[-1]
    assert (lines[0]["event"], summary["event"]) == ("metadata", "summary")
    told = {name: summary[name] for name in ("total_urls", "successful", "failed", "from_cache")}
    assert told == {"total_urls": MANY, "successful": good, "failed": MANY - good, "from_cache": 0}
    assert Counter(line["event"] for line in lines)["metadata"] == 1


async def test_results_come_in_the_order_in_which_pages_are_done(
    address: str, bad_site: Site
) -> None:
    """Each page answers when the result of the one behind it has come: last first."""
    many = 10
    gates = [asyncio.Event() for _ in range(many)]
    gates[-1].set()

    def held(n: int):
        async def answer(exchange: Exchange) -> None:
            await gates[n].wait()
            await exchange.reply(article(f"page-{n}"))

        return answer

    bad_site.pages |= {f"/{n}": held(n) for n in range(many)}

    def release(line: dict[str, Any]) -> None:
        if line["event"] == "result" and line["index"] > 0:
            gates[line["index"] - 1].set()

    urls = [bad_site.url(f"/{n}") for n in range(many)]
    lines = await crawled(address, urls, release, concurrency=many)
    order = [line["index"] for line in lines if line["event"] == "result"]
    assert order == list(reversed(range(many)))
