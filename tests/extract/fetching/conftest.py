"""A site on real sockets, and a fetcher that may ask it."""

import pytest

from millstream_apps.extract.fetching import Fetcher
from tests.extract.site_server import NO_TLS, Site, page


class Clock:
    """A wall clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def site():
    async with Site({"/": page("Home")}) as running:
        yield running


@pytest.fixture
async def fetcher(site, clock):
    made = Fetcher(allow=[site.place], now=clock, tls=NO_TLS)
    yield made
    await made.aclose()
