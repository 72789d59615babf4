"""Reading pages: the ladder, what golden files hold, and that no page breaks it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.extract.reading import dates, gate, quality
from millstream_apps.extract.reading.addresses import absolute
from millstream_apps.extract.reading.document import chunks, read, read_plain
from millstream_apps.extract.reading.head import read_head
from millstream_apps.extract.reading.models import Ask, Chunking, Document, Head, Mode, Signals
from tests.extract.conftest import SHARED
from tests.extract.local_site import article

PAGES = SHARED / "pages"
golden = pytest.mark.skipif(not PAGES.is_dir(), reason="the shared pages are not there")


def words(text: str) -> list[str]:
    return text.split()


# --- golden files -------------------------------------------------------------------------------


def known(name: str) -> dict:
    lines = (PAGES / f"{name}.json").read_text(encoding="utf-8").splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("//")))


def links(found: list[str]) -> list[str]:
    """Links without the line breaks that stood in the markup (some golden files do not escape
    them)."""
    return [re.sub(r"(\\n|\s)+", " ", link) for link in found]


@golden
@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("blog_post_article", "blog_post"),
        ("gallery_site_full", "gallery_site"),
        ("nav_heavy_metadata", "nav_heavy_site"),
        ("news_site_article", "news_site"),
        ("news_site_full", "news_site"),
    ],
)
def test_what_golden_files_hold(name: str, page: str) -> None:
    mode: Mode = name.rpartition("_")[2]  # type: ignore[assignment]
    truth = known(name)
    html = (PAGES / f"{page}.html").read_text(encoding="utf-8")
    found = read(html, truth["url"], Ask(mode=mode)).document
    assert words(found.text) == words(truth.pop("text"))
    assert links(found.links) == links(truth.pop("links"))
    assert truth.pop("markdown") == ""  # the earlier system made none
    assert truth.pop("published_iso") is None  # and did not see the dates that are there
    for field, value in truth.items():
        assert getattr(found, field) == value, field


@golden
@pytest.mark.parametrize("page", sorted(PAGES.glob("*.html")), ids=lambda page: page.stem)
def test_every_shared_page(page: Path) -> None:
    found = read(page.read_text(encoding="utf-8"), f"https://a.test/{page.name}", Ask()).document
    assert found.title
    assert found.word_count == len(words(found.text)) > 0
    assert found.markdown
    assert 0 < found.quality_score <= 100
    assert found.language in ("en", "fr", "zh")


@golden
def test_tables_and_events() -> None:
    tables = read((PAGES / "test-table.html").read_text(), "https://a.test/", Ask()).document.tables
    assert [table.headers for table in tables] == [
        ["Product", "Category", "Price", "Stock"],
        ["Quarter", "Revenue", "Growth"],
    ]
    assert tables[0].rows[1] == ["Widget B", "Home & Garden", "$45.50", "120"]
    html = (PAGES / "event_jsonld.html").read_text()
    event = read(html, "https://a.test/", Ask()).document.events[0]
    assert event["name"] == "Tech Conference 2025"
    assert event["start"] == "2025-03-15T09:00:00-07:00"
    assert event["location"] == "Moscone Center"
    assert (event["price"], event["currency"]) == ("299", "USD")


# --- the first rung -----------------------------------------------------------------------------


def test_a_head_needs_no_body() -> None:
    html = article("7")
    head = read_head(html[: html.index("</head>") + 7], "https://a.test/page/7")
    assert head == read_head(html, "https://a.test/page/7")
    assert (head.title, head.byline, head.language) == ("Page 7", "Ada Byron", "en")
    assert head.published_iso == "2026-11-01T08:00:00+00:00"
    assert head.canonical == "https://a.test/page/7"
    assert head.open_graph["image"] == "/pictures/7.jpg"


def test_linked_data_speaks_where_meta_is_silent() -> None:
    told = {
        "@graph": [
            {"@type": "WebSite", "name": "Not this"},
            {
                "@type": ["NewsArticle"],
                "headline": "A headline",
                "author": [{"@type": "Person", "name": "By Ada"}, {"name": "Bob"}],
                "datePublished": "2026-01-02",
                "publisher": {"name": "The Paper"},
                "inLanguage": "de-AT",
            },
        ]
    }
    html = f'<script type="application/ld+json">{json.dumps(told)}</script>'
    head = read_head(
        html + '<script type="application/ld+json">{ broken</script>', "https://a.test"
    )
    assert (head.title, head.byline, head.site_name) == ("A headline", "Ada, Bob", "The Paper")
    assert (head.published_iso, head.language) == ("2026-01-02", "de")


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("2024-03-15T10:30:00Z", "2024-03-15T10:30:00+00:00"),
        ("2024-03-15", "2024-03-15"),
        ("Fri, 15 Mar 2024 10:30:00 +0100", "2024-03-15T10:30:00+01:00"),
        ("March 15, 2024", "2024-03-15"),
        ("2024/3/5", "2024-03-05"),
        ("not-a-date", None),
        ("03/04/2024", None),
        ("2024-13-45", None),
        ("", None),
        (None, None),
    ],
)
def test_dates(said: str | None, date: str | None) -> None:
    assert dates.iso(said) == date


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/b", "https://a.test/b"),
        ("b?c=1", "https://a.test/x/b?c=1"),
        ("../b", "https://a.test/b"),
        ("//b.test/c", "https://b.test/c"),
        ("https://b.test", "https://b.test/"),
        ("#", "https://a.test/x/y#"),
        ("#part", "https://a.test/x/y#part"),
        ("mailto:a@b.test", None),
        ("javascript:void(0)", None),
        ("  ", None),
        (None, None),
        ("http://[", None),
    ],
)
def test_addresses(reference: str | None, url: str | None) -> None:
    assert absolute("https://a.test/x/y", reference) == url


# --- the gate -----------------------------------------------------------------------------------

signals = st.builds(
    Signals,
    text=st.integers(0, 10_000),
    prose=st.integers(0, 10_000),
    paragraphs=st.integers(0, 50),
    links=st.integers(0, 10_000),
    scripts=st.integers(0, 10_000),
    marked=st.booleans(),
    described=st.booleans(),
    shell=st.booleans(),
).map(lambda s: Signals(**{**_fields(s), "links": min(s.links, s.text)}))


def _fields(value: Signals) -> dict:
    return {name: getattr(value, name) for name in value.__struct_fields__}


@given(signals, st.floats(0, 1), st.floats(0, 1))
def test_the_gate_follows_its_thresholds(found: Signals, one: float, other: float) -> None:
    low, high = sorted((one, other))
    score = gate.score(found)
    assert 0 <= score <= 1
    decision = gate.decide(found, high=high, low=low)
    assert (decision == "raw") == (score >= high)
    assert decision != "headless" or (score < low and found.scripts > 0)


@given(signals, st.integers(1, 5000))
def test_more_prose_never_needs_more_effort(found: Signals, more: int) -> None:
    richer = Signals(**{**_fields(found), "prose": found.prose + more})
    assert gate.score(richer) >= gate.score(found)


def test_a_page_made_by_scripts_says_so() -> None:
    html = '<title>App</title><body><div id="root"></div><script src="a.js">x</script>'
    made = read(html + "<p>Loading</p>", "https://a.test/", Ask())
    assert made.effort == "headless"
    assert "no browser" in made.document.notes[0]
    assert read(html, "https://a.test/", Ask(static=True)).effort == "probes_first"


def test_an_article_that_only_linked_data_holds() -> None:
    body = "A sentence that stands nowhere else on the page but here. " * 20
    told = json.dumps({"@type": "Article", "headline": "H", "articleBody": body})
    html = f'<html><body><script type="application/ld+json">{told}</script><p>Subscribe!</p></body>'
    found = read(html, "https://a.test/", Ask())
    assert found.effort == "probes_first"
    assert words(found.document.text) == words(body)


def test_an_article_in_pieces_is_whole_again() -> None:
    def piece(n: int) -> str:
        said = f"Part {n} of the story goes on for a while, as parts of stories do, until it ends. "
        return f'<div class="body part">{f"<p>{said * 3}</p>" * 3}</div>'

    page = f"<html><body><main>{piece(1)}<aside>Buy!</aside>{piece(2)}</main></body></html>"
    text = read(page, "https://a.test/", Ask()).document.text
    assert "Part 1" in text
    assert "Part 2" in text
    apart = "".join(f"<article>{piece(n)}</article>" for n in (1, 2))
    assert read(f"<html><body>{apart}</body></html>", "https://a.test/", Ask()).document.text


# --- quality and pieces -------------------------------------------------------------------------


@given(st.integers(0, 2000), st.floats(0, 1))
def test_quality_is_a_percentage_that_grows_with_words(count: int, share: float) -> None:
    head = Head(title="T", description="D")
    score = quality.quality_score(head, count, share)
    assert 0 <= score <= quality.quality_score(head, count + 100, share) <= 100
    assert quality.reading_time(count) == (None if count == 0 else -(-count // 225))


@given(st.lists(st.text("ab", min_size=1), max_size=300), st.integers(10, 50), st.integers(0, 60))
def test_pieces_overlap_and_lose_nothing(said: list[str], size: int, overlap: int) -> None:
    pieces = [piece.split() for piece in chunks(" ".join(said), Chunking(size, overlap))]
    assert all(0 < len(piece) <= size for piece in pieces)
    if overlap < size:
        whole = pieces[0] if pieces else []
        for piece in pieces[1:]:
            assert piece[:overlap] == whole[-overlap:] if overlap else True
            whole = whole + piece[overlap:]
        assert whole == said


# --- whatever the page ---------------------------------------------------------------------------

TAGS = ("html", "head", "body", "main", "article", "p", "div", "table", "tr", "td", "a", "img")
soup = st.lists(
    st.one_of(
        st.sampled_from(
            [f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS] + ["<script>", "<title>"]
        ),
        st.sampled_from(
            [
                '<a href="http://[">',
                '<a href="\x00">',
                '<meta property="og:title" content="&#x0;">',
                '<script type="application/ld+json">[[[{"@type":1}]]]</script>',
                '<base href="nowhere:">',
                "<!--",
                "<![CDATA[",
                '<img srcset=", ,a 1x,">',
                '<div class="a"><p>' + "word " * 40 + "</p><p>" + "more " * 40 + "</p></div>",
            ]
        ),
        st.text(max_size=20),
    ),
    max_size=30,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(soup, st.sampled_from(["auto", "article", "full", "metadata"]))
def test_no_page_breaks_the_reading(html: str, mode: Mode) -> None:
    found = read(html, "https://a.test/", Ask(mode=mode)).document
    assert isinstance(found, Document)
    assert found.word_count == len(words(found.text))
    read_head(html, "https://a.test/")


@pytest.mark.parametrize(
    "html",
    [
        "<html><body>" + "<div>" * 100_000 + "<p>deep down</p>",
        "<div>" * 60_000 + "deep" + "</div>" * 60_000,
        "<a href='/x'>y</a>" * 26_000,
        "<html><head>" + "<b>" * 50_000,
        "<script type='application/ld+json'>" + "[" * 100_000 + "</script><p>deep</p>",
    ],
    ids=["unclosed", "closed", "links", "head", "linked data"],
)
def test_pages_made_to_take_for_ever_do_not(html: str) -> None:
    """Each of these took minutes, or more memory than there is, without its bound."""
    found = read(html, "https://a.test/", Ask())
    assert found.document.word_count == len(words(found.document.text))
    read_head(html, "https://a.test/")


def test_plain_text_is_its_own_article() -> None:
    found = read_plain("One line.\n\nAnother line.", "https://a.test/a.txt", Ask()).document
    assert found.text == "One line.\n\nAnother line."
    assert found.title is None
