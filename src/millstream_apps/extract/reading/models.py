"""Shapes of what is read off a page: plain values that pickle and have a JSON form."""

from typing import Any, Literal

from msgspec import Struct, field

Mode = Literal["auto", "article", "full", "metadata"]
"""What a document's text is: the article that is found by looking at the page's content (auto),
all that stands in the element marked as the article, all of the page, or none."""

GateDecision = Literal["raw", "probes_first", "headless", "cached", "failed"]


Effort = Literal["raw", "probes_first", "headless"]
"""What the gate may decide."""


class Head(Struct, frozen=True):
    """What a page says of itself before its body. Times are ISO 8601; None: not said."""

    title: str | None = None
    description: str | None = None
    site_name: str | None = None
    canonical: str | None = None
    language: str | None = None
    published_iso: str | None = None
    modified_iso: str | None = None
    byline: str | None = None
    open_graph: dict[str, str] = {}
    json_ld: list[dict[str, Any]] = []


class Table(Struct, frozen=True):
    """A table of data: text by rows. `headers` is empty where it marks none."""

    caption: str
    headers: list[str]
    rows: list[list[str]]


class Signals(Struct, frozen=True):
    """What is measured on a page before its text is looked for.

    Lengths are characters of text as a reader sees it. `prose` is the text of paragraphs,
    `links` the part of all text that stands in links, `scripts` the script bytes.
    """

    text: int = 0
    prose: int = 0
    paragraphs: int = 0
    links: int = 0
    scripts: int = 0
    marked: bool = False
    described: bool = False
    shell: bool = False


class Article(Struct, frozen=True):
    """A page's text, found: plain, and as Markdown. `way` says by which attempt."""

    text: str = ""
    markdown: str = ""
    way: str = "none"


class Document(Struct, frozen=True):
    """One page, clean. The first fifteen fields are what clients know; the others go beyond.

    `links` are JSON objects as text (url, text, rel, hreflang) and `canonical:<url>`; `media` are
    `<kind>:<url>`. `reading_time` is minutes, `quality_score` 0 to 100 (see `quality`).
    """

    url: str
    title: str | None
    byline: str | None
    published_iso: str | None
    markdown: str
    text: str
    links: list[str]
    media: list[str]
    language: str | None
    reading_time: int | None
    quality_score: int
    word_count: int
    categories: list[str]
    site_name: str | None
    description: str | None
    canonical: str | None = None
    modified_iso: str | None = None
    tables: list[Table] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    open_graph: dict[str, str] = field(default_factory=dict)
    chunks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Chunking(Struct, frozen=True):
    """Text in pieces of up to `size` words, each beginning with the last `overlap` of the one
    before."""

    size: int = 1000
    overlap: int = 100


class Ask(Struct, frozen=True):
    """How a page is to be read. `high` and `low` are the gate's thresholds; `static`: never with a
    browser; `rendered`: a browser has made this page already."""

    mode: Mode = "auto"
    high: float = 0.7
    low: float = 0.3
    static: bool = False
    rendered: bool = False
    chunking: Chunking | None = None


class Read(Struct, frozen=True):
    """A document, and how it was come by: `effort` is the gate's decision, `score` its measure."""

    document: Document
    effort: Effort
    score: float
