"""Site: what a page and a sitemap lead to. Pure: text in, URLs out."""

import re
import zlib
from collections.abc import Iterator
from typing import Final, cast
from urllib.parse import urljoin
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from selectolax.lexbor import LexborHTMLParser

from millstream_apps.extract.reading.bounds import parses_well

MOST_LINKS: Final = 5_000
MOST_LOCATIONS: Final = 50_000
"""As the sitemap protocol says (sitemaps.org), with the next line."""
LARGEST: Final = 50 * 2**20
_LEADING: Final = re.compile(r"<(?:a|area|base|link|meta)\b[^<>]*>", re.IGNORECASE)
"""The tags that lead somewhere, or say that nothing does."""
_FRAGMENTS: Final = ("#", "javascript:", "mailto:", "tel:", "data:", "blob:")


def links_of(html: str, url: str, *, obey: bool = True) -> list[str]:
    """What a page links to, joined to its base, in order. `obey`: links and pages that say
    `nofollow` lead nowhere. Of a page that nests so deeply that parsing it would take minutes, only
    the tags that matter are parsed."""
    tree = LexborHTMLParser(html if parses_well(html) else "".join(_LEADING.findall(html)))
    if obey and _says_nofollow(tree):
        return []
    base = _base(tree, url)
    found: list[str] = []
    for node in tree.css("a[href], area[href], link[rel~=next][href]"):
        attributes = node.attributes
        href = (attributes.get("href") or "").strip()
        if not href or href.lower().startswith(_FRAGMENTS):
            continue
        if obey and "nofollow" in (attributes.get("rel") or "").lower().split():
            continue
        found.append(_joined(base, href))
        if len(found) == MOST_LINKS:
            break
    return [each for each in found if each]


def _says_nofollow(tree: LexborHTMLParser) -> bool:
    for node in tree.css("meta[name][content]"):
        if (node.attributes.get("name") or "").lower() == "robots":
            said = (node.attributes.get("content") or "").lower().replace(",", " ").split()
            if "nofollow" in said or "none" in said:
                return True
    return False


def _base(tree: LexborHTMLParser, url: str) -> str:
    node = tree.css_first("base[href]")
    href = (node.attributes.get("href") or "") if node is not None else ""
    return _joined(url, href) or url


def _joined(base: str, href: str) -> str:
    try:
        return urljoin(base, href)
    except ValueError:
        return ""


def unpacked(body: bytes) -> bytes:
    """A sitemap's bytes; gzip undone, up to the protocol's limit. What is damaged ends early."""
    if not body.startswith(b"\x1f\x8b"):
        return body[:LARGEST]
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        return inflate.decompress(body, LARGEST)
    except zlib.error:
        return b""


def sitemap(body: bytes) -> tuple[list[str], list[str]]:
    """The pages, and the further sitemaps, that a sitemap names: XML, or text with a URL a line.

    A broken one gives what comes before the break; one with a document type gives nothing, since
    only entities would need it.
    """
    data = unpacked(body)
    if not data.lstrip().startswith(b"<"):
        lines = data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
        urls = [line.strip() for line in lines if line.strip().startswith(("http://", "https://"))]
        return urls[:MOST_LOCATIONS], []
    if b"<!doctype" in data[:4096].lower():
        return [], []
    pages: list[str] = []
    further: list[str] = []
    for kind, location in _locations(data):
        (further if kind == "sitemap" else pages).append(location)
        if len(pages) + len(further) == MOST_LOCATIONS:
            break
    return pages, further


def _locations(data: bytes) -> Iterator[tuple[str, str]]:
    above: list[str] = []
    for event, element in _events(data):
        name = element.tag.rpartition("}")[2].lower()
        if event == "start":
            above.append(name)
            continue
        above.pop()
        if name == "loc" and above and above[-1] in ("url", "sitemap"):
            yield above[-1], (element.text or "").strip()
        element.clear()


def _events(data: bytes) -> Iterator[tuple[str, Element]]:
    """Up to where the XML is broken."""
    parser = XMLPullParser(("start", "end"))
    try:
        for start in range(0, len(data), 65_536):
            parser.feed(data[start : start + 65_536])
            yield from cast(Iterator[tuple[str, Element]], parser.read_events())
    except (ParseError, ValueError, LookupError):  # the latter two: encodings that expat lacks
        return
