"""What clients send, and one crawled page as they receive it. Shapes and limits only, no logic."""

from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from millstream_apps.extract.fetching import CacheMode
from millstream_apps.extract.reading.models import Document, GateDecision, Head, Mode
from millstream_apps.extract.settings import settings
from millstream_apps.extract.site import SiteRequest
from millstream_apps.extract.urls import fault

CACHE_MODES = {
    "enabled": "read_through",
    "readthrough": "read_through",
    "bypass": "refresh",
    "write_through": "refresh",
    "disabled": "off",
    "none": "off",
    "read_only": "only",
}
"""Other names that clients have for the cache's modes."""

CONCURRENCY = 16
MOST_URLS = 100


class Body(BaseModel):
    """Frozen; what is not known is passed over, since clients send options of other servers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ChunkingConfig(Body):
    """Text in pieces of whole words."""

    chunk_size: int = Field(default=1000, ge=10, le=100_000)
    overlap_size: int = Field(default=100, ge=0, le=10_000)


class CrawlOptions(Body):
    """How URLs are crawled. `timeout_ms` is for one URL, its retries included.

    `extraction_mode`: auto finds the article by its content; article is all that the page marks
    as one; full is all of the page; metadata is no text. `previews`: streams carry each page's
    head as soon as that is read.
    """

    concurrency: int = Field(default=CONCURRENCY, ge=1, le=MOST_URLS)
    cache_mode: CacheMode = "read_through"
    timeout_ms: int = Field(default=30_000, ge=100, le=600_000)
    retries: int = Field(default=2, ge=0, le=2)
    user_agent: str | None = Field(default=None, max_length=500)
    respect_robots: bool = True
    extraction_mode: Mode = "auto"
    render_mode: Literal["auto", "static", "headless"] = "auto"
    output_format: Literal["document", "text", "markdown"] = "document"
    chunking_config: ChunkingConfig | None = None
    skip_extraction: bool = False
    previews: bool = False

    @field_validator("cache_mode", mode="before")
    @classmethod
    def _known(cls, said: object) -> object:
        name = said.lower() if isinstance(said, str) else said
        return CACHE_MODES.get(name, name) if isinstance(name, str) else name

    @field_validator("render_mode", mode="before")
    @classmethod
    def _rendered(cls, said: object) -> object:
        names = {"dynamic": "headless", "adaptive": "auto", "html": "static", "markdown": "auto"}
        return names.get(said.lower(), said.lower()) if isinstance(said, str) else said

    @field_validator("output_format", mode="before")
    @classmethod
    def _formatted(cls, said: object) -> object:
        known = ("text", "markdown")
        return said if said in known else "document" if isinstance(said, str) else said

    @field_validator("user_agent")
    @classmethod
    def _one_line(cls, said: str | None) -> str | None:
        if said is not None and not said.isprintable():
            raise ValueError("is one line of printable characters")
        return said or None


def _checked(url: str) -> str:
    wrong = fault(url.strip(), settings().extract_allow)
    if wrong is not None:
        raise ValueError(wrong)
    return url.strip()


class CrawlBody(Body):
    """The pages to read."""

    urls: list[str] = Field(min_length=1, max_length=MOST_URLS, description="Pages to read.")
    options: CrawlOptions = Field(default_factory=CrawlOptions)

    @field_validator("urls")
    @classmethod
    def _crawlable(cls, urls: list[str]) -> list[str]:
        for index, url in enumerate(urls):
            try:
                _checked(url)
            except ValueError as error:
                raise ValueError(f"urls[{index}]: {error}") from None
        return [url.strip() for url in urls]

    @field_validator("options", mode="before")
    @classmethod
    def _given(cls, said: object) -> object:
        return {} if said is None else said


class SearchBody(Body):
    """What to search for; each page that is found is crawled as it comes."""

    query: Annotated[str, Field(min_length=1, max_length=500, description="What to search for.")]
    limit: int = Field(default=10, ge=1, le=50)
    country: str | None = Field(default=None, max_length=10)
    locale: str | None = Field(default=None, max_length=20)
    include_content: bool = True
    crawl_options: CrawlOptions = Field(default_factory=CrawlOptions)

    @field_validator("query")
    @classmethod
    def _something(cls, said: str) -> str:
        if not said.strip():
            raise ValueError("is empty")
        return said.strip()

    @field_validator("crawl_options", mode="before")
    @classmethod
    def _given(cls, said: object) -> object:
        return {} if said is None else said


class SiteBody(SiteRequest):
    """A site whose pages are to be read, as they are found."""

    @field_validator("url")
    @classmethod
    def _crawlable(cls, url: str) -> str:
        return _checked(url)


class Target(Struct, frozen=True):
    """One URL of a run: the item that flows. The last three say where a search found it."""

    url: str
    rank: int = 0
    title: str = ""
    snippet: str = ""


class Preview(Struct, frozen=True):
    """The first rung: what a page's head says."""

    url: str
    status: int
    head: Head


class Crawled(Struct, frozen=True):
    """One page as clients receive it, but for what the log tells (its place, its failures)."""

    url: str
    status: int
    from_cache: bool
    gate_decision: GateDecision
    quality_score: float
    processing_time_ms: float
    document: Document | None
    cache_key: str
    final_url: str
    error: dict[str, Any] | None = None
