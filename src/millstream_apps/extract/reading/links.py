"""Links, media and categories of a page, in the forms that clients know."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

from millstream_apps.extract.reading import linked_data
from millstream_apps.extract.reading.addresses import absolute

MOST = 5000


class Link(msgspec.Struct):
    """One link, in the shape that clients know."""

    url: str
    text: str
    rel: str
    hreflang: str


_encode = msgspec.json.Encoder().encode

LISTS = ".tags, .tag-list, .post-tags, .article-tags"
TAGS = 'a[rel~="tag"], .category, .post-category'
# No selector here asks for what stands anywhere below something: on a page that nests deeply that
# takes time with the square of its depth.

CRUMBS = '.breadcrumb, .breadcrumbs, [aria-label="breadcrumb" i], [itemtype$="BreadcrumbList"]'
HOME = {"home", "start", "accueil", "startseite", "inicio", "início"}


def links_of(tree: LexborHTMLParser, base: str, canonical: str | None) -> list[str]:
    """Every link in the page's order, as a JSON object in text: url, text (as it stands in the
    markup), rel, hreflang; last `canonical:<url>`. Other schemes than http(s) are left out."""
    found: list[str] = []
    for node in tree.css("a[href], area[href]")[:MOST]:
        told = node.attributes  # made anew each time it is asked for
        url = absolute(base, told.get("href"))
        if url:
            said = node.text().strip() or (told.get("alt") or "").strip()
            link = Link(url, said, told.get("rel") or "", told.get("hreflang") or "")
            found.append(_encode(link).decode())
    return [*found, f"canonical:{canonical}"] if canonical else found


def media_of(tree: LexborHTMLParser, base: str, open_graph: Mapping[str, str]) -> list[str]:
    """`image:`, `video:` and `audio:` addresses in the page's order, then `og:image:`,
    `og:video:`. Inline data is left out."""
    found: list[str] = []
    for node in tree.css("img, video, audio, source")[:MOST]:
        told = node.attributes
        source = told.get("src") or told.get("data-src") or _largest(told.get("srcset"))
        url, kind = absolute(base, source), _kind(node)
        if url is not None and kind is not None:
            found.append(f"{kind}:{url}")
    for kind in ("image", "video"):
        if url := absolute(base, open_graph.get(kind)):
            found.append(f"og:{kind}:{url}")
    return found


def _kind(node: LexborNode) -> str | None:
    """image, video or audio; None of a picture's source, whose picture is listed itself."""
    holder = node.parent if node.tag == "source" else node
    name = holder.tag if holder is not None else None
    return {"img": "image", "video": "video", "audio": "audio"}.get(name or "")


def _largest(srcset: str | None) -> str | None:
    """The last candidate of a `srcset` that has an address: by custom the largest."""
    candidates = [part.split() for part in (srcset or "").split(",")]
    return next((words[0] for words in reversed(candidates) if words), None)


def categories_of(tree: LexborHTMLParser, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a page is filed under: its tags and sections, the steps of its breadcrumbs between the
    start page and itself; sorted, each once."""
    marked = [*tree.css(TAGS)[:50], *(n for each in tree.css(LISTS)[:5] for n in _tags(each))]
    found = [" ".join(node.text().split()) for node in marked]
    for name in ("article:section", "article:tag"):
        selector = f'meta[property="{name}"]'
        found += [node.attributes.get("content") or "" for node in tree.css(selector)[:30]]
    for node in nodes:
        found += linked_data.texts(node.get("articleSection"))
        found += linked_data.texts(node.get("keywords"))
        if isinstance(kind := node.get("category"), str):
            found += kind.split(">")
    trail = tree.css_first(CRUMBS)
    found += _steps(trail) if trail is not None else []
    return sorted({clean for each in found if (clean := each.strip()) and len(clean) <= 60})


def _tags(listed: LexborNode) -> list[LexborNode]:
    return (listed.css(".tag") or listed.css("a"))[:50]


def _steps(trail: LexborNode) -> list[str]:
    named = [" ".join(node.text().split()) for node in trail.css("a")]
    return [name for name in named if name.lower() not in HOME]
