"""Site: one form for each URL, and which URLs belong to a crawl. Pure.

Normalises as RFC 3986, section 6.2 allows, and drops what only counts visitors. Knows no pages.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from msgspec import Struct

from millstream import StepError

LONGEST: Final = 2048
DEEPEST: Final = 24
"""Segments of a path: pages that link to ever longer paths to themselves end here."""
_PORTS: Final = {"http": "80", "https": "443"}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_COUNTING: Final = re.compile(
    r"(utm_[a-z]+|gclid|dclid|fbclid|msclkid|yclid|mc_[ce]id|igshid|_hsenc|_hsmi)=", re.I
)
_FILES: Final = re.compile(
    r"\.(7z|aac|apk|avi|avif|bin|bmp|bz2|css|csv|dmg|docx?|eot|epub|exe|flac|gif|gz|ico|iso|jar|"
    r"jpe?g|js|json|m4[av]|mjs|mkv|mov|mp[34]|mpe?g|msi|og[agv]|otf|pdf|png|pptx?|rar|rpm|svg|tar|"
    r"tgz|tiff?|ttf|wasm|wav|web[mp]|wmv|woff2?|xlsx?|xz|zip)$",
    re.I,
)


def normalised(url: str, base: str | None = None) -> str | None:
    """The one form of a URL, joined to its page's; None where it is none that a crawl follows."""
    try:
        joined = urljoin(base, url.strip()) if base is not None else url.strip()
        parts = urlsplit(joined)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme not in _PORTS or not host or parts.username is not None:
        return None
    place = f"[{host}]" if ":" in host else host
    if port is not None and str(port) != _PORTS[parts.scheme]:
        place = f"{place}:{port}"
    path = _plain(_without_dots(parts.path)) or "/"
    query = "&".join(
        _plain(each) for each in parts.query.split("&") if each and not _COUNTING.match(each)
    )
    made = urlunsplit((parts.scheme, place, path, query, ""))
    return made if len(made) <= LONGEST and path.count("/") <= DEEPEST else None


def _plain(text: str) -> str:
    """Escapes in upper case, and none where none is needed; anything else that needs one has it."""

    def one(found: re.Match[str]) -> str:
        letter = chr(int(found[1], 16))
        return letter if letter in _UNRESERVED else found[0].upper()

    escaped = "".join(
        each if "!" <= each <= "~" and each not in '"<>\\^`{|}' else _escaped(each) for each in text
    )
    whole = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", escaped)
    return _ESCAPE.sub(one, whole)


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "replace"))


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        plain = segment.replace("%2e", ".").replace("%2E", ".")
        if plain == "..":
            if len(kept) > 1:
                kept.pop()
        elif plain != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", "..") and kept and kept[-1] != "":
        kept.append("")
    return "/".join(kept)


def site_of(url: str) -> str:
    """A URL's host and port, `www.` aside."""
    return urlsplit(url).netloc.removeprefix("www.")


class Scope(Struct, frozen=True):
    """Which URLs belong to a crawl. Patterns are globs: of path and query (`/blog/*`), or of the
    whole URL where they contain `://`. `include` empty: all."""

    sites: frozenset[str] | None
    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(
        cls, start: str, *, same_host: bool, include: Iterable[str], exclude: Iterable[str]
    ) -> "Scope":
        """Raises StepError (`pattern_invalid`) for an empty pattern."""
        return cls(
            frozenset({site_of(start)}) if same_host else None,
            tuple(_glob("include", each) for each in include),
            tuple(_glob("exclude", each) for each in exclude),
        )

    def at_home(self, url: str) -> bool:
        """Whether a URL lies on the crawl's own site."""
        return self.sites is None or site_of(url) in self.sites

    def takes(self, url: str) -> bool:
        """Whether a URL (in its one form) is to be visited."""
        parts = urlsplit(url)
        if not self.at_home(url) or _FILES.search(parts.path):
            return False
        short = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if any(_meets(pattern, url, short) for pattern in self.exclude):
            return False
        return not self.include or any(_meets(each, url, short) for each in self.include)


def _glob(field: str, pattern: str) -> re.Pattern[str]:
    if not pattern:
        raise StepError(
            f"{field}: an empty pattern; write /blog/* or https://example.org/blog/*",
            code="pattern_invalid",
            retryable=False,
        )
    return re.compile(translate(pattern))


def _meets(pattern: re.Pattern[str], url: str, short: str) -> bool:
    return pattern.match(url if "://" in pattern.pattern.replace("\\", "") else short) is not None
