"""The first rung of the ladder: what a page says of itself in its head.

Takes decoded HTML, parses no more of it than the head, and costs well under a millisecond: small
enough for the event loop. Where the head is silent, the whole page may say more (see `page`).
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from millstream_apps.extract.reading import dates, linked_data
from millstream_apps.extract.reading.addresses import absolute
from millstream_apps.extract.reading.bounds import parses_well
from millstream_apps.extract.reading.models import Head

MOST_CHARACTERS = 400_000
"""Of a page whose head has no end, this much is taken for it."""

_END = re.compile(r"</head\s*>|<body[\s>]", re.IGNORECASE)
_BY = re.compile(r"^\s*(?:written\s+)?(?:by|von|par|por|di)[:\s]\s*", re.IGNORECASE)
_TAIL = re.compile(r"\s*[|•·–—]\s.*$")
_LANGUAGE = re.compile(r"^([A-Za-z]{2,3})(?:[-_]|$)")

PUBLISHED = (
    "article:published_time",
    "datepublished",
    "og:published_time",
    "parsely-pub-date",
    "publish-date",
    "publish_date",
    "published",
    "publication_date",
    "pubdate",
    "sailthru.date",
    "dc.date.issued",
    "dc.date",
    "dcterms.created",
    "citation_publication_date",
    "date",
)
MODIFIED = ("article:modified_time", "og:updated_time", "datemodified", "last-modified")
AUTHOR = ("author", "article:author", "parsely-author", "dc.creator", "citation_author", "byl")
SITE = ("og:site_name", "application-name")
TITLE = ("og:title", "twitter:title", "dc.title")
DESCRIPTION = ("description", "og:description", "twitter:description", "dc.description")


def read_head(html: str, url: str) -> Head:
    """What the head of a page at `url` says. Never fails: what cannot be read is not said."""
    found = _END.search(html, 0, MOST_CHARACTERS)
    part = html[: found.start() if found else MOST_CHARACTERS]
    return head_of(LexborHTMLParser(part), url) if parses_well(part) else Head()


def head_of(tree: LexborHTMLParser, url: str) -> Head:
    """The same of a tree that is parsed already."""
    meta = _meta(tree)
    nodes = linked_data.parse(n.text() for n in tree.css('script[type*="ld+json" i]'))
    told = linked_data.article(nodes)
    publisher = linked_data.text(told.get("publisher"))
    return Head(
        title=_first(meta, TITLE) or _title(tree) or linked_data.text(told.get("headline")),
        description=_first(meta, DESCRIPTION) or linked_data.text(told.get("description")),
        site_name=_first(meta, SITE) or publisher,
        canonical=_canonical(tree, meta, url),
        language=_language(tree, meta, told),
        published_iso=_date(meta, PUBLISHED)
        or dates.iso(linked_data.text(told.get("datePublished"))),
        modified_iso=_date(meta, MODIFIED) or dates.iso(linked_data.text(told.get("dateModified"))),
        byline=_byline(meta, told),
        open_graph={n.removeprefix("og:"): v[0] for n, v in meta.items() if n.startswith("og:")},
        json_ld=nodes,
    )


def _meta(tree: LexborHTMLParser) -> dict[str, list[str]]:
    """The contents of `meta` elements by name, property or itemprop in lower case."""
    found: dict[str, list[str]] = {}
    for node in tree.css("meta[content]"):
        told = node.attributes
        content = " ".join((told.get("content") or "").split())
        if not content:
            continue
        for attribute in ("property", "name", "itemprop", "http-equiv"):
            name = told.get(attribute)
            if name:
                found.setdefault(name.strip().lower(), []).append(content)
    return found


def _first(meta: dict[str, list[str]], names: tuple[str, ...]) -> str | None:
    return next((meta[name][0] for name in names if name in meta), None)


def _title(tree: LexborHTMLParser) -> str | None:
    node = tree.css_first("title")
    return " ".join(node.text().split()) or None if node else None


def _canonical(tree: LexborHTMLParser, meta: dict[str, list[str]], url: str) -> str | None:
    node = tree.css_first('link[rel~="canonical" i][href]')
    said = node.attributes.get("href") if node else None
    return absolute(url, said) or absolute(url, _first(meta, ("og:url",)))


def _language(
    tree: LexborHTMLParser, meta: dict[str, list[str]], told: dict[str, object]
) -> str | None:
    root: LexborNode | None = tree.css_first("html")
    said = [
        root.attributes.get("lang") or root.attributes.get("xml:lang") if root else None,
        _first(meta, ("content-language",)),
        _first(meta, ("og:locale",)),
        linked_data.text(told.get("inLanguage")),
    ]
    return next((code for each in said if (code := language_code(each))), None)


def language_code(said: str | None) -> str | None:
    """The language of a tag such as `en-GB` or `zh_CN` (BCP 47), without its region."""
    found = _LANGUAGE.match(said.strip()) if said else None
    return found[1].lower() if found else None


def _date(meta: dict[str, list[str]], names: tuple[str, ...]) -> str | None:
    said = (each for name in names for each in meta.get(name, ()))
    return next((date for each in said if (date := dates.iso(each))), None)


def _told_date(told: dict[str, object], name: str) -> str | None:
    return dates.iso(linked_data.text(told.get(name)))


def _byline(meta: dict[str, list[str]], told: dict[str, object]) -> str | None:
    named = (clean_byline(each) for name in AUTHOR for each in meta.get(name, ()))
    author = told.get("author")
    listed = author if isinstance(author, list) else [author]
    names = [name for each in listed if (name := clean_byline(linked_data.text(each)))]
    return next(filter(None, named), None) or ", ".join(dict.fromkeys(names)) or None


def clean_byline(said: str | None) -> str | None:
    """A name without the words around it; None where it is an address, or much too long."""
    if said is None:
        return None
    name = _TAIL.sub("", _BY.sub("", " ".join(said.split()))).strip(" ,;:")
    return name if name and "://" not in name and len(name) <= 120 else None
