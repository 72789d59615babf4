"""Crawling a site on real sockets; and taking a crawl up again after `kill -9`."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from millstream import StepError
from millstream_apps.extract.fetching import Fetcher
from millstream_apps.extract.site import CrawlJournal, SitePage, SiteRequest, crawl, fetched
from tests.extract.site_server import NO_TLS, Site, page

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def site():
    async with Site() as running:
        yield running


@pytest.fixture
async def fetcher(site):
    made = Fetcher(allow=[site.place], tls=NO_TLS)
    yield made
    await made.aclose()


@pytest.fixture
async def journal():
    made = CrawlJournal()
    yield made
    await made.aclose()


async def crawled(request: SiteRequest, fetcher, journal, run="r", stop=None) -> list[SitePage]:
    found: list[SitePage] = []
    async with aclosing(crawl(request, fetcher, journal, run)) as pages:
        async for each in pages:
            found.append(each)
            if len(found) == stop:
                break
    return found


def paths(pages: list[SitePage]) -> list[str]:
    return sorted(httpx.URL(each.url).raw_path.decode() for each in pages)


async def test_a_site_by_its_links(site, fetcher, journal):
    site.pages |= {
        "/": page("home", "/a", "b?x=1&utm_source=n", "http://elsewhere.test/", "/file.pdf"),
        "/a": page("a", "/", "/deep", "/gone"),
        "/b": page("b", "/moved"),
        "/moved": lambda exchange: exchange.redirect("/a"),
        "/deep": page("deep", "/deeper"),
        "/deeper": page("deeper", "/deepest"),
        "/deepest": page("deepest"),
    }
    found = await crawled(SiteRequest(url=site.url(), depth=3), fetcher, journal)
    assert paths(found) == ["/", "/a", "/b?x=1", "/deep", "/deeper", "/gone"]
    by_path = {httpx.URL(each.url).path: each for each in found}
    assert by_path["/gone"].error is not None
    assert (by_path["/gone"].status, by_path["/gone"].error.error_type) == (404, "http_status")
    assert (by_path["/deep"].depth, by_path["/deep"].parent) == (2, site.url("/a"))
    assert by_path["/"].links == 2
    got = await fetched(fetcher, by_path["/a"], SiteRequest(url=site.url()))
    assert got.from_cache
    asked = Counter(each.path for each in site.asked)
    assert asked.pop("/a") == 2  # once more by way of /moved, which nobody could know
    assert set(asked.values()) == {1}


async def test_limits(site, fetcher, journal):
    site.pages |= {f"/{n}": page(str(n), f"/{n + 1}", f"/x{n}") for n in range(40)}
    site.pages |= {f"/x{n}": page(str(n)) for n in range(40)}
    start = site.url("/0")
    at_most = await crawled(SiteRequest(url=start, max_pages=7, depth=50), fetcher, journal, "a")
    assert len(at_most) == 7
    alone = await crawled(SiteRequest(url=start, depth=0), fetcher, journal, "b")
    assert paths(alone) == ["/0"]
    chosen = SiteRequest(url=start, depth=5, include=["/?"], exclude=["/3"])
    assert paths(await crawled(chosen, fetcher, journal, "c")) == ["/0", "/1", "/2"]


async def test_sitemaps(site, fetcher, journal):
    def urlset(*places: str) -> str:
        return f"<urlset>{''.join(f'<url><loc>{site.url(p)}</loc></url>' for p in places)}</urlset>"

    index = f"<sitemapindex><sitemap><loc>{site.url('/b.xml.gz')}</loc></sitemap></sitemapindex>"

    async def packed(exchange):
        await exchange.reply(gzip.compress(urlset("/c", "/d").encode()), type="application/x-gzip")

    site.pages |= {
        "/robots.txt": f"Sitemap: {site.url('/a.xml')}\nSitemap: {site.url('/i.xml')}\n",
        "/a.xml": lambda exchange: exchange.reply(urlset("/b"), type="application/xml"),
        "/i.xml": lambda exchange: exchange.reply(index, type="text/xml"),
        "/b.xml.gz": packed,
        "/": page("home"),
        **{path: page(path) for path in ("/b", "/c", "/d")},
    }
    found = await crawled(SiteRequest(url=site.url()), fetcher, journal, "with")
    assert paths(found) == ["/", "/b", "/c", "/d"]
    without = SiteRequest(url=site.url(), sitemaps=False)
    assert paths(await crawled(without, fetcher, journal, "without")) == ["/"]


async def test_pages_are_told_as_they_are_had(site, fetcher, journal):
    """The slow page, set off first, holds up nobody."""
    go = asyncio.Event()

    async def slow(exchange):
        await go.wait()
        await exchange.reply(page("slow"))

    site.pages |= {"/": page("home", "/slow", "/q1", "/q2"), "/slow": slow}
    site.pages |= {"/q1": page("1"), "/q2": page("2", "/q3"), "/q3": page("3")}
    request = SiteRequest(url=site.url(), sitemaps=False, concurrency=2)
    told: list[str] = []
    async with aclosing(crawl(request, fetcher, journal, "r")) as pages:
        async for each in pages:
            told.append(httpx.URL(each.url).path)
            if told[-1] == "/q3":
                go.set()
    assert told == ["/", "/q1", "/q2", "/q3", "/slow"]


async def test_a_crawl_is_taken_up_where_its_journal_ends(site, fetcher, journal):
    site.pages |= {f"/{n}": page(str(n), *(f"/{n * 3 + k}" for k in (1, 2, 3))) for n in range(20)}
    request = SiteRequest(
        url=site.url("/0"), max_pages=18, sitemaps=False, cache_mode="off", concurrency=3
    )
    first = await crawled(request, fetcher, journal, stop=5)
    second = await crawled(request, fetcher, journal, stop=11)
    whole = await crawled(request, fetcher, journal)
    assert first == second[:5] == whole[:5]
    assert second == whole[:11]
    assert len({each.url for each in whole}) == len(whole) == 18
    again = Counter(each.path for each in site.asked)
    told = {httpx.URL(each.url).path for each in second}
    assert all(again[path] <= 2 for path in told)  # twice: under way when it was cut off
    assert await crawled(request, fetcher, journal) == whole


@pytest.mark.parametrize("url", ["ftp://s.test/", "nothing", "http://"])
async def test_a_request_that_makes_no_sense(url, fetcher, journal):
    with pytest.raises(StepError) as raised:
        await crawled(SiteRequest(url=url), fetcher, journal)
    assert raised.value.code == "url_invalid"


# --- kill -9 -------------------------------------------------------------------------------------


class Server:
    """`millstream serve` over the crawling pipeline, in a process of its own."""

    def __init__(self, folder: Path, allow: str) -> None:
        self.folder, self.allow = folder, allow

    def __enter__(self) -> "Server":
        command = [sys.executable, "-m", "millstream", "serve", "tests.extract.site.crawl_app:app"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--store", f"sqlite:///{self.folder}/runs.db"],
            cwd=PROJECT,
            env={**os.environ, "CRAWL_FOLDER": str(self.folder), "CRAWL_ALLOW": self.allow},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if " at http" in line:
                self.url = line.split(" at ")[1].split()[0]
                return self
        raise AssertionError(f"the server did not start: {self.process.wait()}")

    def kill(self) -> None:
        self.process.kill()

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


async def events(client: httpx.AsyncClient, url: str, after: int = 0):
    """The run's events as its stream tells them."""
    address = f"{url}?after={after}"
    headers = {"Accept": "application/x-ndjson"}
    async with client.stream("GET", address, headers=headers) as response:
        async for line in response.aiter_lines():
            yield json.loads(line)


KILLS = (5, 12)
"""After so many pages. (A step that its worker died of three times is not tried again.)"""


async def test_each_page_once_in_the_log_though_the_process_is_killed(site, tmp_path):
    many = 24
    held: list[asyncio.Event] = []

    def answer(n: int):
        async def reply(exchange):
            if held and n % 4 == 3:  # some are under way when the process dies
                await held[-1].wait()
            await exchange.reply(page(str(n), f"/{2 * n + 1}", f"/{2 * n + 2}"))

        return reply

    site.pages |= {f"/{n}": answer(n) for n in range(many)}
    body = {
        "url": site.url("/0"),
        "depth": 20,
        "sitemaps": False,
        "cache_mode": "off",
        "concurrency": 4,
        "exclude": [f"/{n}" for n in range(many, 2 * many + 3)],
    }
    seen: list[dict] = []
    run = None
    async with httpx.AsyncClient(timeout=60) as client:
        for stop in [*KILLS, None]:
            held.append(asyncio.Event())
            if stop is None:
                held[-1].set()
            with Server(tmp_path, site.place) as server:
                if run is None:
                    started = await client.post(
                        f"{server.url}/pipelines/site/runs",
                        json=body,
                        headers={"Prefer": "respond-async"},
                    )
                    assert started.status_code == 202, started.text
                    run = started.headers["location"]
                async for event in events(client, f"{server.url}{run}/events", len(seen)):
                    assert event["seq"] == len(seen) + 1
                    seen.append(event)
                    if stop is not None and told(seen) >= stop:
                        server.kill()
                        break
            held[-1].set()
    check_log(seen, many, len(KILLS))
    asked = Counter(each.path for each in site.asked)
    assert all(asked[f"/{n}"] <= 2 * (len(KILLS) + 1) for n in range(many))


def told(seen: list[dict]) -> int:
    return sum(each["type"] == "step.partial" for each in seen)


def check_log(seen: list[dict], many: int, kills: int) -> None:
    """Each page once, never superseded, each document once; and it really was cut off."""
    assert seen[-1]["type"] == "run.completed", seen[-1]
    partials = [each for each in seen if each["type"] == "step.partial"]
    urls = [httpx.URL(each["data"]["url"]).path for each in partials]
    assert sorted(urls, key=lambda path: int(path[1:])) == [f"/{n}" for n in range(many)]
    sizes = [
        each["item"] for each in seen if each["type"] == "step.result" and each["step"] == "size"
    ]
    assert sorted(sizes) == list(range(many))
    begun = [each for each in seen if each["type"] == "step.started" and each["step"] == "pages"]
    assert len(begun) == kills + 1
