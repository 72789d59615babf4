"""Finding the article on a page, by trafilatura, and what it needs beforehand.

Each way is one call on the same parsed page: `quick` trusts one method, the others compare it with
two more; `quick` and `precise` leave out what is in doubt, `balanced` and `generous` take more. One
call gives both plain text and Markdown.
"""

import logging
from collections.abc import Iterator

from lxml.etree import strip_tags, tostring
from lxml.html import HtmlElement
from trafilatura import bare_extraction, load_html
from trafilatura.utils import normalize_unicode
from trafilatura.xml import xmltotxt

from millstream_apps.extract.reading.addresses import absolute
from millstream_apps.extract.reading.models import Article

logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # what it says of bad pages, we say
logging.getLogger("htmldate").setLevel(logging.CRITICAL)

WAYS = ("quick", "precise", "balanced", "generous")
"""In the order of their precision. None takes comments: they are not the article."""

_AROUND = {
    **dict.fromkeys(("p", "head", "quote"), (" ", "\n")),
    **dict.fromkeys(("list", "table"), ("\n", "\n")),
    "item": ("- ", "\n"),
    "row": ("\n| ", "\n"),
    "cell": ("", " | "),
    "lb": ("", "\n"),
}
"""What stands before and behind each kind of block in plain text."""

PROSE = 80
"""Characters of a paragraph that surely is running text."""


class Source:
    """One page, parsed once, for as many ways of reading it as are tried."""

    def __init__(self, html: str, url: str) -> None:
        self._url = url
        self._tree: HtmlElement | None = load_html(html) if html.strip() else None
        if self._tree is not None:
            rejoin(self._tree)

    def article(self, way: str) -> Article:
        """The article found in one of the `WAYS`; an empty one where there is none."""
        if self._tree is None:
            return Article()
        found = bare_extraction(
            self._tree,
            output_format="markdown",
            include_comments=False,
            include_formatting=True,
            include_links=True,
            fast=way == "quick",
            favor_precision=way in ("quick", "precise"),
            favor_recall=way == "generous",
        )
        body = getattr(found, "body", None)
        if body is None:
            return Article()
        for reference in body.iter("ref"):  # cheaper than to have all of the page's made absolute
            reference.set("target", absolute(self._url, reference.get("target")) or "")
        markdown = xmltotxt(body, True)
        text = plain_text(body)
        return Article(text, markdown.strip(), way) if text else Article()


def plain_text(body: HtmlElement) -> str:
    """The text of an extracted body: a line for each paragraph, `- ` before items, `|` between
    cells. Takes the body to pieces. (The library's own way costs as much again as its Markdown.)"""
    strip_tags(body, "ref", "graphic", "hi", "del")
    for block in body.iter("p", "head", "quote", "item", "list", "row", "table", "lb", "cell"):
        before, after = _AROUND[block.tag]
        block.text = before + (block.text or "")
        block.tail = after + (block.tail or "")
    text = tostring(body, method="text", encoding="unicode", with_tail=False)
    has_code = next(body.iter("code"), None) is not None  # whose indentation is part of it
    trimmed = (line.rstrip() if has_code else " ".join(line.split()) for line in text.split("\n"))
    return normalize_unicode("\n".join(line for line in trimmed if line)).strip()


def rejoin(tree: HtmlElement) -> None:
    """Bring together an article that its page cut in pieces: containers alike in every class,
    each with running text of its own, under one article. (Advertisements stand between them.)"""
    groups: dict[tuple[str, str, HtmlElement | None], list[HtmlElement]] = {}
    for element in tree.iter("div", "section"):
        classes = element.get("class")
        if classes and _prose(element) >= 2:
            groups.setdefault((element.tag, classes, _holder(element)), []).append(element)
    for first, *others in groups.values():
        for other in others:
            if first in other.iterancestors() or other in first.iterancestors():
                continue
            for child in list(other):
                first.append(child)


def _prose(element: HtmlElement) -> int:
    """How many of its own paragraphs are running text, up to two."""
    return sum(1 for _, paragraph in zip(range(2), _paragraphs(element), strict=False))


def _paragraphs(element: HtmlElement) -> Iterator[HtmlElement]:
    for child in element.iterchildren("p"):
        length = len(child.text_content())
        linked = sum(len(link.text_content()) for link in child.iter("a"))
        if length >= PROSE and linked * 2 < length:
            yield child


def _holder(element: HtmlElement) -> HtmlElement | None:
    """The article that an element belongs to: pieces of two articles stay apart."""
    return next(element.iterancestors("article", "main"), None)
