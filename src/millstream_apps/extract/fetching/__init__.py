"""Fetching: one URL to one page's bytes, politely and safely.

`Fetcher` is the face. Behind it: `freshness`, `charsets`, `contents` and `robots` decide;
`cache`, `hosts`, `flights` and `fetcher` act. Stands on `millstream.Outgoing`, which refuses the
inside of the network; knows no articles, pipelines or routes.
"""

from millstream_apps.extract.fetching.cache import PageCache
from millstream_apps.extract.fetching.charsets import decode, detect
from millstream_apps.extract.fetching.contents import ANY_TEXT, PAGES, SITEMAPS, Kinds
from millstream_apps.extract.fetching.fetcher import Fetcher
from millstream_apps.extract.fetching.models import CacheMode, Fetched, FetchError, FetchPolicy

__all__ = [
    "ANY_TEXT",
    "PAGES",
    "SITEMAPS",
    "CacheMode",
    "FetchError",
    "FetchPolicy",
    "Fetched",
    "Fetcher",
    "Kinds",
    "PageCache",
    "decode",
    "detect",
]
