"""A hundred URLs of one bad site through the Fetcher: each comes to what it must, and none disturbs
another."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.extract.fetching import Fetcher, FetchError, FetchPolicy
from tests.extract.hostile_site import MANY, Expected, hostile
from tests.extract.site_server import NO_TLS, Site


async def outcome(fetcher: Fetcher, url: str, seconds: float = 60) -> str | FetchError:
    try:
        return (await fetcher.fetch(url, timeout=seconds)).text
    except FetchError as error:
        return error


def fits(expected: Expected, found: str | FetchError) -> bool:
    if isinstance(found, FetchError):
        return found.code in expected.codes
    return bool(expected.marker) and expected.marker in found


async def test_a_hundred_bad_urls():
    async with Site() as site:
        expected = hostile(site)
        assert len(expected) == MANY
        fetcher = Fetcher(allow=[site.place], policy=FetchPolicy(per_host=16))
        order: list[str] = []

        async def one(path: str) -> str | FetchError:
            found = await outcome(fetcher, site.url(path), 0.5 if "/hang/" in path else 60)
            order.append(path)
            return found

        found = await asyncio.gather(*map(one, expected))
        wrong = {
            path: got if isinstance(got, str) else (got.code, got.message)
            for path, got in zip(expected, found, strict=True)
            if not fits(expected[path], got)
        }
        assert wrong == {}
        assert sorted(order) == sorted(expected)
        await fetcher.aclose()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.sampled_from([1, 7, 300]))
def test_whatever_is_answered_only_our_error_escapes(data, honest, size):
    """Any bytes, whole or in small pieces, with a sound head or without."""

    async def answer(exchange):
        if honest:
            await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
        for start in range(0, len(data), size):
            await exchange.raw(data[start : start + size])
        exchange.writer.close()

    async def main():
        async with Site({"/": answer}) as site:
            fetcher = Fetcher(allow=[site.place], tls=NO_TLS)
            await outcome(fetcher, site.url())
            await fetcher.aclose()

    asyncio.run(main())
