"""Fetching: which kinds of content are taken. Pure.

A missing content type is judged by the first bytes; a wrong one is believed, since what a server
calls a video it may send for hours.
"""

import re
from dataclasses import dataclass
from typing import Final

from millstream_apps.extract.fetching.models import FetchError

_TYPE: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)")


@dataclass(frozen=True)
class Kinds:
    """Kinds of content by media type: whole names, beginnings (`text/`) and ends (`+xml`)."""

    told: str
    names: frozenset[str] = frozenset()
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()

    def take(self, name: str) -> bool:
        """Whether this media type is among them."""
        return name in self.names or name.startswith(self.begin) or name.endswith(self.end)


_XML = frozenset({"application/xhtml+xml", "application/xml", "text/xml"})

PAGES: Final = Kinds(
    "HTML, XHTML, XML and plain text",
    names=_XML | {"text/html", "text/plain", "text/markdown", "text/x-markdown"},
    end=("+xml",),
)
PACKED: Final = frozenset({"application/gzip", "application/x-gzip", "application/octet-stream"})
"""Kinds that are no text as they are."""
ANY_TEXT: Final = Kinds("text", names=_XML, begin=("text/",), end=("+xml",))
SITEMAPS: Final = Kinds(
    "XML, text and gzip",
    names=_XML | PACKED | {"text/plain", "text/html"},
    end=("+xml",),
)


def media_type(content_type: str) -> str:
    """`text/html` of `Text/HTML; charset=utf-8`; empty where there is none."""
    found = _TYPE.match(content_type)
    return found[1].lower() if found is not None else ""


def check_type(url: str, content_type: str, kinds: Kinds) -> None:
    """Raises FetchError (`content_type_unsupported`) where the header names another kind."""
    name = media_type(content_type)
    if name and not kinds.take(name):
        raise FetchError(
            f"{url} is {name}; taken are {kinds.told}",
            code="content_type_unsupported",
            retryable=False,
        )


def check_body(url: str, content_type: str, body: bytes, kinds: Kinds) -> str:
    """The media type: as said, or told from the first bytes. Raises FetchError where these are of
    no kind that is taken."""
    name = media_type(content_type)
    if name:
        return name
    head = body[:512].lstrip().lower()
    if head.startswith(b"<?xml"):
        return "application/xml"
    if head.startswith(b"<"):
        return "text/html"
    if b"\0" not in head and not any(byte < 9 or 13 < byte < 27 for byte in head):
        return "text/plain"
    if head.startswith(b"\x1f\x8b") and kinds.take("application/gzip"):
        return "application/gzip"
    raise FetchError(
        f"{url} does not say what it is, and is no text; taken are {kinds.told}",
        code="content_type_unsupported",
        retryable=False,
    )
