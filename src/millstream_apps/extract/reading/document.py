"""A page to a document: the ladder's second rung. Pure, so that it may run in any process."""

from collections.abc import Mapping, Sequence

import py3langid
from msgspec import structs
from selectolax.lexbor import LexborHTMLParser
from trafilatura.external import jt_stoplist_init

from millstream_apps.extract.reading import bounds, gate, linked_data, quality
from millstream_apps.extract.reading.article import WAYS, Source
from millstream_apps.extract.reading.models import (
    Article,
    Ask,
    Chunking,
    Document,
    Effort,
    Head,
    Mode,
    Read,
    Signals,
)
from millstream_apps.extract.reading.page import Page, lines, read_page

SAMPLE = 2000
"""Characters of text by which a language is told."""

TOO_INTRICATE = "this page is too intricate for an article to be looked for; its text was taken"
NEEDS_BROWSER = (
    "the text of this page is probably made by scripts, and no browser is configured; "
    "what the page itself holds was read"
)


def warm_up() -> None:
    """Load what the first page would wait for: models and stop lists."""
    jt_stoplist_init()
    py3langid.classify("A first sentence, so that the model is there.")
    paragraph = "<p>Enough words to be taken for a paragraph of running text, and some more.</p>"
    read(f"<html><body><article>{paragraph * 5}</article></body></html>", "http://a.test/", Ask())


def read(html: str, url: str, ask: Ask) -> Read:
    """Read the page at `url` from its decoded HTML. Never fails on what pages may hold."""
    if not bounds.parses_well(html):
        found = read_plain(bounds.bare_text(html), url, ask)
        note = structs.replace(found.document, notes=[TOO_INTRICATE])
        return Read(note, "probes_first", 0.0)
    page = read_page(html, url)
    effort = gate.decide(page.signals, high=ask.high, low=ask.low)
    if (ask.rendered or ask.static) and effort == "headless":
        effort = "probes_first"
    article, tried = _article(html, url, page, ask.mode, effort)
    if tried and effort == "raw":
        effort = "probes_first"
    notes = [NEEDS_BROWSER] if effort == "headless" else []
    notes += [] if bounds.is_simple(html) else [TOO_INTRICATE]
    document = _document(url, page, article, ask, notes)
    return Read(document, effort, round(gate.score(page.signals), 3))


def read_plain(text: str, url: str, ask: Ask) -> Read:
    """The same of plain text: all of it is the article."""
    signals = Signals(text=len(text), prose=len(text), paragraphs=text.count("\n\n") + 1)
    page = Page(Head(), [], [], [], [], signals, text, text)
    text = text.strip()
    article = Article() if ask.mode == "metadata" else Article(text, text, "plain")
    return Read(_document(url, page, article, ask, ()), "raw", 1.0)


def _article(html: str, url: str, page: Page, mode: Mode, effort: Effort) -> tuple[Article, bool]:
    """The text as asked for, and whether more than one way of finding it was tried."""
    if mode == "metadata":
        return Article(), False
    if not bounds.is_simple(html):
        whole = lines(page.whole)
        return Article(whole, whole, "whole"), True
    source = Source(html, url)
    if mode == "auto":
        return _found(source, page, effort)
    text = lines(page.marked if mode == "article" and page.marked else page.whole)
    return Article(text, source.article("generous").markdown, mode), False


def _found(source: Source, page: Page, effort: Effort) -> tuple[Article, bool]:
    """The quick way's article where it can be trusted, or the precise way's where it will do; else
    the best of all."""
    if gate.is_prose(page.signals):
        quick = source.article("quick")
        if gate.suffices(len(quick.text), page.signals):
            return quick, False
    first = source.article("precise")
    if not gate.falls_short(len(first.text), page.signals):
        return first, False
    if effort == "raw" and first.text and page.signals.prose < 4 * len(first.text):
        return first, False
    found = {"precise": first}
    for way in WAYS[2:]:
        found[way] = source.article(way)
    found["linked_data"] = _told(page.head)
    whole = lines(page.whole)
    found["whole"] = Article(whole, whole, "whole")
    lengths = {way: len(article.text) for way, article in found.items()}
    chosen = gate.best(_without_whole(lengths), page.signals) or gate.best(lengths, page.signals)
    return (found[chosen] if chosen else Article()), True


def _without_whole(lengths: Mapping[str, int]) -> dict[str, int]:
    """All but the whole page, which is taken only where nothing else has anything."""
    return {way: length for way, length in lengths.items() if way != "whole"}


def _told(head: Head) -> Article:
    """The article as the page tells it to machines."""
    told = linked_data.article(head.json_ld).get("articleBody")
    if not isinstance(told, str):
        return Article()
    body = LexborHTMLParser(told).body
    text = (body.text() if body is not None else "").strip()
    return Article(text, text, "linked_data")


def _document(url: str, page: Page, article: Article, ask: Ask, notes: Sequence[str]) -> Document:
    head, words = page.head, len(article.text.split())
    share = _link_share(page.signals) if article.way in ("full", "whole") else 0.0
    score = quality.quality_score(head, words, share, with_text=ask.mode != "metadata")
    return Document(
        url=url,
        title=head.title,
        byline=head.byline,
        published_iso=head.published_iso,
        markdown=article.markdown,
        text=article.text,
        links=page.links,
        media=page.media,
        language=head.language or _language(article.text or page.whole),
        reading_time=quality.reading_time(words),
        quality_score=score,
        word_count=words,
        categories=page.categories,
        site_name=head.site_name,
        description=head.description,
        canonical=head.canonical,
        modified_iso=head.modified_iso,
        tables=page.tables,
        events=linked_data.events(head.json_ld),
        open_graph=head.open_graph,
        chunks=chunks(article.text, ask.chunking) if ask.chunking else [],
        notes=list(notes),
    )


def _link_share(signals: Signals) -> float:
    return signals.links / signals.text if signals.text else 0.0


def _language(text: str) -> str | None:
    """The language of a text, told from its letters (ISO 639-1); None for too little of it."""
    return str(py3langid.classify(text[:SAMPLE])[0]) if len(text) >= 40 else None


def chunks(text: str, chunking: Chunking) -> list[str]:
    """A text in overlapping pieces of whole words."""
    words = text.split()
    step = max(1, chunking.size - chunking.overlap)
    starts = range(0, max(1, len(words) - chunking.overlap), step)
    return [" ".join(words[start : start + chunking.size]) for start in starts] if words else []
