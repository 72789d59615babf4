"""What the markup of a whole page shows: links, media, categories, tables, and the signals by
which the gate decides. One parse; knows nothing of how the article is found.
"""

from collections.abc import Iterator

from msgspec import Struct, structs
from selectolax.lexbor import LexborHTMLParser, LexborNode

from millstream_apps.extract.reading import dates, linked_data
from millstream_apps.extract.reading.addresses import absolute
from millstream_apps.extract.reading.head import clean_byline, head_of
from millstream_apps.extract.reading.links import categories_of, links_of, media_of
from millstream_apps.extract.reading.models import Head, Signals, Table

MOST_TABLES, MOST_ROWS = 20, 500
PARAGRAPH = 60
"""Characters from which a paragraph counts as prose."""

SHELL = (
    "#root, #app, #__next, #___gatsby, #__nuxt, app-root, [data-reactroot], [ng-app], [ng-version]"
)
"""Where script frameworks put what they make."""

UNSEEN = ["script", "style", "noscript", "template", "svg", "iframe"]
AUTHORS = '[rel~="author"], [itemprop="author"], .byline, .author, .article-author, .post-author'


class Page(Struct, frozen=True):
    """Everything that is read off the markup. `whole` and `marked` are all visible text, and that
    of the element marked as the article, where there is one; with the markup's own spaces (see
    `lines`)."""

    head: Head
    links: list[str]
    media: list[str]
    categories: list[str]
    tables: list[Table]
    signals: Signals
    whole: str
    marked: str


def read_page(html: str, url: str) -> Page:
    """Read a page at `url` from its decoded HTML. Never fails."""
    tree = LexborHTMLParser(html)
    base = tree.css_first("base[href]")
    at = absolute(url, base.attributes.get("href")) if base else None
    at = at or url
    head = _completed(head_of(tree, url), tree)
    scripts = sum(len(node.text()) for node in tree.css("script"))
    shell = tree.css_first(SHELL) is not None
    links, media = links_of(tree, at, head.canonical), media_of(tree, at, head.open_graph)
    categories = categories_of(tree, head.json_ld)
    tree.strip_tags(UNSEEN)
    tables = list(_tables(tree))
    whole = tree.body.text() if tree.body is not None else ""
    article = _article(tree)
    return Page(
        head=head,
        links=links,
        media=media,
        categories=categories,
        tables=tables,
        signals=_signals(tree, head, whole, article, scripts=scripts, shell=shell),
        whole=whole,
        marked=article.text() if article is not None else "",
    )


def _completed(head: Head, tree: LexborHTMLParser) -> Head:
    """A head, with what only the body says."""
    title, byline, published = head.title, head.byline, head.published_iso
    if title is None and (node := tree.css_first("h1")) is not None:
        title = " ".join(node.text().split()) or None
    if byline is None:
        byline = next(
            (name for node in tree.css(AUTHORS) if (name := clean_byline(node.text()))), None
        )
    if published is None:
        published = _time_of(tree)
    return structs.replace(head, title=title, byline=byline, published_iso=published)


def _time_of(tree: LexborHTMLParser) -> str | None:
    for selector in ('[itemprop="datePublished"]', "time[datetime]"):
        for node in tree.css(selector)[:3]:
            said = node.attributes.get("datetime") or node.attributes.get("content")
            if found := dates.iso(said):
                return found
    return None


def _article(tree: LexborHTMLParser) -> LexborNode | None:
    """The element that is marked as the article: the only one, or the longest; else `main`."""
    marked = tree.css("article") or tree.css('main, [role="main"]')
    return max(marked, key=lambda node: len(node.text()), default=None)


def lines(text: str) -> str:
    """A text without the markup's spaces: one line a run of text, no empty ones."""
    found = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in found if line)


def _signals(
    tree: LexborHTMLParser,
    head: Head,
    whole: str,
    article: LexborNode | None,
    *,
    scripts: int,
    shell: bool,
) -> Signals:
    prose = [
        n for node in tree.css("p, blockquote, pre") if (n := len(node.text().strip())) >= PARAGRAPH
    ]
    linked = sum(len(node.text().strip()) for node in tree.css("a"))
    length = len(" ".join(whole.split()))
    told = bool(linked_data.article(head.json_ld)) or head.open_graph.get("type") == "article"
    return Signals(
        text=length,
        prose=sum(prose),
        paragraphs=len(prose),
        links=min(linked, length),
        scripts=scripts,
        marked=article is not None,
        described=told or bool(head.title and head.description),
        shell=shell,
    )


def _tables(tree: LexborHTMLParser) -> Iterator[Table]:
    """Tables of data: not nested, at least two rows and two columns, and not made of whole
    paragraphs (those are layout)."""
    for node in tree.css("table")[: 4 * MOST_TABLES]:
        if len(node.css("table")) > 1:
            continue
        rows = [_row(row) for row in node.css("tr")[:MOST_ROWS]]
        rows = [(header, cells) for header, cells in rows if any(cells)]
        width = max((len(cells) for _, cells in rows), default=0)
        if len(rows) < 2 or width < 2 or any(len(c) > 600 for _, cells in rows for c in cells):
            continue
        headers = rows.pop(0)[1] if rows[0][0] else []
        caption = node.css_first("caption")
        said = " ".join(caption.text().split()) if caption else ""
        yield Table(said, headers, [cells for _, cells in rows])


def _row(row: LexborNode) -> tuple[bool, list[str]]:
    cells = row.css("th, td")
    header = bool(cells) and all(cell.tag == "th" for cell in cells)
    return header, [" ".join(cell.text().split()) for cell in cells]
