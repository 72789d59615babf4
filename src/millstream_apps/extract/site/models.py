"""Site: its values. What is asked for, what is told of each page, what the journal keeps."""

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from millstream_apps.extract.fetching.models import CacheMode


class SiteRequest(BaseModel):
    """A site to crawl. `depth` counts links from the start (0: the start alone); `max_pages` counts
    visits, failed ones too. `include` and `exclude` are globs of path and query."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(max_length=2048)
    depth: int = Field(default=3, ge=0, le=50)
    max_pages: int = Field(default=100, ge=1, le=10_000)
    concurrency: int = Field(default=4, ge=1, le=32)
    same_host: bool = True
    include: list[str] = Field(default_factory=list, max_length=50)
    exclude: list[str] = Field(default_factory=list, max_length=50)
    sitemaps: bool = True
    respect_robots: bool = True
    cache_mode: CacheMode = "read_through"
    timeout_ms: int = Field(default=30_000, ge=1, le=600_000)
    user_agent: str | None = Field(default=None, max_length=400)


class Trouble(Struct, frozen=True):
    """Why a page could not be had."""

    error_type: str
    message: str
    retryable: bool


class SitePage(Struct, frozen=True):
    """One page of a site, as found. `parent` is the page that led to it (None: the start, or a
    sitemap). `links` is how many pages of the site it names. `status` is 0 where there is no
    answer to speak of."""

    url: str
    final_url: str
    depth: int
    parent: str | None
    status: int
    content_type: str
    from_cache: bool
    links: int
    elapsed_ms: float
    error: Trouble | None = None


class Candidate(Struct, frozen=True):
    """A URL that is to be visited."""

    url: str
    depth: int
    parent: str | None = None


class Record(Struct, frozen=True):
    """One entry of a crawl's journal: what was looked at, and what came of it. `page` is what was
    told of it (None: a sitemap, or a page that was there already under another URL). `final` is
    where it came from in the end, in its one form."""

    asked: Candidate
    links: tuple[str, ...] = ()
    page: SitePage | None = None
    final: str | None = None
    sitemap: bool = False
