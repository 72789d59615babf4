"""The Fetcher against a site on real sockets: cache, sharing, robots.txt, manners, failures."""

import asyncio

import pytest

from millstream_apps.extract.fetching import (
    Fetched,
    Fetcher,
    FetchPolicy,
    PageCache,
)
from tests.extract.fetching.failing import failure
from tests.extract.site_server import packed, page


async def test_a_page_and_what_is_known_of_it(site, fetcher, clock):
    async def answer(exchange):
        await exchange.reply(
            packed(page("Grüße").encode("latin-1"), "gzip"),
            type="Text/HTML; charset=latin1",
            headers={"Content-Encoding": "gzip", "ETag": '"1"'},
        )

    site.pages["/a"] = answer
    site.pages["/old"] = lambda exchange: exchange.redirect("/a")
    got = await fetcher.fetch(site.url("/old#part"))
    assert got.url == site.url("/old#part")
    assert (got.final_url, got.redirects) == (site.url("/a"), (site.url("/old"),))
    assert (got.status, got.content_type, got.encoding) == (200, "text/html", "windows-1252")
    assert "Grüße" in got.text
    assert got.headers["etag"] == '"1"'
    assert not got.from_cache
    assert got.fetched_at == clock.time
    assert got.elapsed_ms > 0
    assert site.asked[-1].headers["user-agent"].startswith("Millstream/")


# --- cache ---------------------------------------------------------------------------------------


async def test_cache_modes(site, fetcher, clock):
    site.pages["/"] = page("one")
    first = await fetcher.fetch(site.url())
    site.pages["/"] = page("two")
    kept = await fetcher.fetch(site.url())
    assert kept.from_cache
    assert kept.body == first.body
    assert kept.fetched_at == first.fetched_at
    assert "two" in (await fetcher.fetch(site.url(), cache_mode="off")).text
    assert (await fetcher.fetch(site.url(), cache_mode="only")).body == first.body
    assert "two" in (await fetcher.fetch(site.url(), cache_mode="refresh")).text
    clock.time += fetcher.policy.ttl
    site.pages["/"] = page("three")
    assert (await fetcher.fetch(site.url(), cache_mode="only")).from_cache
    assert "three" in (await fetcher.fetch(site.url())).text
    assert site.count("/") == 4
    missing = await failure(fetcher.fetch(site.url("/never"), cache_mode="only"))
    assert (missing.code, missing.retryable) == ("not_cached", False)


async def test_off_keeps_nothing(site, fetcher):
    await fetcher.fetch(site.url(), cache_mode="off")
    assert (await failure(fetcher.fetch(site.url(), cache_mode="only"))).code == "not_cached"


async def test_conditional_requests(site, fetcher, clock):
    async def answer(exchange):
        if exchange.asked.headers.get("if-none-match") == '"v1"':
            await exchange.raw(b'HTTP/1.1 304 Same\r\nETag: "v1"\r\nX-New: yes\r\n\r\n')
        else:
            await exchange.reply(
                page("v1"),
                headers={"ETag": '"v1"', "Last-Modified": "Mon, 06 Nov 2023 00:00:00 GMT"},
            )

    site.pages["/"] = answer
    first = await fetcher.fetch(site.url())
    clock.time += 10_000
    second = await fetcher.fetch(site.url())
    assert second.from_cache
    assert second.body == first.body
    assert second.fetched_at == clock.time
    assert second.headers["x-new"] == "yes"
    assert second.status == 200
    asked = [each for each in site.asked if each.path == "/"]
    assert asked[1].headers["if-modified-since"] == "Mon, 06 Nov 2023 00:00:00 GMT"
    clock.time += 1  # the server has vouched for it, so it is young again
    assert (await fetcher.fetch(site.url())).from_cache
    assert site.count("/") == 2


async def test_no_store_is_not_kept(site, fetcher):
    async def answer(exchange):
        await exchange.reply(page("secret"), headers={"Cache-Control": "private, no-store"})

    site.pages["/"] = answer
    await fetcher.fetch(site.url())
    assert not (await fetcher.fetch(site.url())).from_cache


async def test_the_cache_outlives_the_process(site, tmp_path, clock):
    for turn in range(2):
        cache = PageCache(tmp_path / "pages.db")
        fetcher = Fetcher(allow=[site.place], now=clock, cache=cache)
        got = await fetcher.fetch(site.url())
        assert got.from_cache is bool(turn)
        await fetcher.aclose()
    assert site.count("/") == 1


# --- many who ask at once ------------------------------------------------------------------------


async def test_one_fetch_for_many_and_leaving_disturbs_nobody(site, fetcher):
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(exchange):
        asked.set()
        await go.wait()
        await exchange.reply(page("slow"))

    site.pages["/"] = slow
    tasks = [asyncio.create_task(fetcher.fetch(site.url(), cache_mode="off")) for _ in range(20)]
    await asked.wait()
    tasks[0].cancel()  # the one who began it
    for task in tasks[5:10]:
        task.cancel()
    await asyncio.wait(tasks[5:10])
    go.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    left = [0, *range(5, 10)]
    assert all(isinstance(done[i], asyncio.CancelledError) for i in left)
    assert all(
        isinstance(got, Fetched) and "slow" in got.text
        for i, got in enumerate(done)
        if i not in left
    )
    assert site.count("/") == 1


async def test_when_the_last_leaves_the_work_stops(site, fetcher):
    asked, closed = asyncio.Event(), asyncio.Event()

    async def slow(exchange):
        asked.set()
        try:
            while not exchange.writer.is_closing():
                await exchange.raw(b"HTTP/1.1 102 Wait\r\n\r\n")
                await asyncio.sleep(0.005)
        finally:
            closed.set()

    site.pages["/"] = slow
    tasks = [asyncio.create_task(fetcher.fetch(site.url())) for _ in range(3)]
    await asked.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.wait_for(closed.wait(), 10)
    site.pages["/"] = page("again")
    assert "again" in (await fetcher.fetch(site.url())).text


async def test_each_waits_for_as_long_as_it_likes(site, fetcher):
    go = asyncio.Event()

    async def slow(exchange):
        await go.wait()
        await exchange.reply(page("at last"))

    site.pages["/"] = slow
    patient = asyncio.create_task(fetcher.fetch(site.url(), timeout=60))
    hasty = await failure(fetcher.fetch(site.url(), timeout=0.05))
    assert (hasty.code, hasty.retryable) == ("fetch_timeout", True)
    go.set()
    assert "at last" in (await patient).text
    assert site.count("/") == 1


async def test_closing_tells_those_who_wait(site, clock):
    asked = asyncio.Event()

    async def hang(exchange):
        asked.set()
        await exchange.hang()

    site.pages["/"] = hang
    fetcher = Fetcher(allow=[site.place], now=clock)
    task = asyncio.create_task(fetcher.fetch(site.url()))
    await asked.wait()
    await fetcher.aclose()
    assert (await failure(task)).code == "fetcher_closed"


# --- robots.txt ----------------------------------------------------------------------------------


async def test_robots(site, fetcher):
    rules = "User-agent: millstream\nDisallow: /private\nUser-agent: *\nDisallow: /\n"
    site.pages |= {"/robots.txt": rules, "/private/x": page("x"), "/open": page("o")}
    site.pages["/hop"] = lambda exchange: exchange.redirect("/private/x")
    assert (await fetcher.fetch(site.url("/open"))).status == 200
    told = await failure(fetcher.fetch(site.url("/private/x")))
    assert (told.code, told.retryable) == ("robots_disallowed", False)
    assert (await failure(fetcher.fetch(site.url("/hop")))).code == "robots_disallowed"
    other = await failure(fetcher.fetch(site.url("/open"), user_agent="Other/1"))
    assert other.code == "robots_disallowed"
    assert (await fetcher.fetch(site.url("/private/x"), respect_robots=False)).status == 200
    assert site.count("/robots.txt") == 1
    assert site.count("/private/x") == 1


@pytest.mark.parametrize(
    ("status", "code"), [(404, None), (403, None), (429, None), (500, "robots_unreachable")]
)
async def test_robots_that_fail(site, fetcher, status, code):
    site.pages["/robots.txt"] = lambda exchange: exchange.reply("no", status=status)
    if code is None:
        assert (await fetcher.fetch(site.url())).status == 200
        return
    told = await failure(fetcher.fetch(site.url()))
    assert (told.code, told.retryable) == (code, True)
    assert site.count("/") == 0
    assert (await fetcher.fetch(site.url(), respect_robots=False)).status == 200


async def test_robots_that_hang_or_loop(site, clock):
    site.pages["/robots.txt"] = lambda exchange: exchange.hang()
    policy = FetchPolicy(robots_timeout=0.05)
    fetcher = Fetcher(allow=[site.place], now=clock, policy=policy)
    assert (await failure(fetcher.fetch(site.url()))).code == "robots_unreachable"
    await fetcher.aclose()
    site.pages["/robots.txt"] = lambda exchange: exchange.redirect("/robots.txt")
    fetcher = Fetcher(allow=[site.place], now=clock)
    assert (await fetcher.fetch(site.url())).status == 200
    await fetcher.aclose()


# --- manners -------------------------------------------------------------------------------------


async def test_so_many_at_a_time_and_no_more(site, clock):
    full = asyncio.Event()

    async def answer(exchange):
        if site.at_once == 3:
            full.set()
        await full.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        await exchange.reply(page("p"))

    site.pages |= {f"/{n}": answer for n in range(40)}
    fetcher = Fetcher(allow=[site.place], now=clock, policy=FetchPolicy(per_host=3))
    async with asyncio.TaskGroup() as group:
        for n in range(40):
            group.create_task(fetcher.fetch(site.url(f"/{n}")))
    assert site.most_at_once == 3
    await fetcher.aclose()


async def test_retry_after_is_honoured(site, fetcher, clock):
    async def busy(exchange):
        await exchange.reply("", status=503, headers={"Retry-After": "3600"})

    site.pages["/busy"] = busy
    told = await failure(fetcher.fetch(site.url("/busy")))
    assert (told.code, told.http_status, told.retryable) == ("http_status", 503, True)
    assert told.retry_after == 3600
    again = await failure(fetcher.fetch(site.url("/busy")))
    assert (again.code, again.retryable) == ("host_resting", True)
    assert site.count("/busy") == 1
    assert (await fetcher.fetch(site.url())).status == 200  # the page rests, not the host
    clock.time += 3601
    site.pages["/busy"] = page("back")
    assert "back" in (await fetcher.fetch(site.url("/busy"))).text


async def test_too_many_requests_rests_the_host(site, fetcher):
    async def enough(exchange):
        await exchange.reply("", status=429, headers={"Retry-After": "3600"})

    site.pages["/enough"] = enough
    assert (await failure(fetcher.fetch(site.url("/enough")))).http_status == 429
    assert (await failure(fetcher.fetch(site.url("/")))).code == "host_resting"
    assert site.count("/") == 0
