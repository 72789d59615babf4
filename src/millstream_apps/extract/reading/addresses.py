"""Addresses on a page, made absolute (WHATWG URL, as far as links need it)."""

import re
from urllib.parse import urljoin, urlsplit, urlunsplit

_INNER = re.compile(r"[\t\n\r]")
_PLAIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?/(?!\.)(?:(?!/\.)[!-~])*")
"""An address that joining would leave as it is: most are, and joining is dear."""

_ORIGIN = re.compile(r"https?://[^/?#]+")


def absolute(base: str, reference: str | None) -> str | None:
    """The http(s) address that a reference on a page at `base` means; None where it means none
    (empty, another scheme, unreadable). A lone `#` keeps its place; an empty path becomes `/`."""
    if reference is None:
        return None
    wanted = reference.strip()
    if not wanted.isprintable():
        wanted = _INNER.sub("", wanted)
    if not wanted:
        return None
    if wanted[0] == "/" and wanted[1:2] != "/" and (origin := _ORIGIN.match(base)) is not None:
        wanted = origin[0] + wanted
    if _PLAIN.fullmatch(wanted):
        return wanted
    try:
        joined = urljoin(base, wanted)
        parts = urlsplit(joined)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    whole = urlunsplit(parts._replace(path=parts.path or "/"))
    return whole + "#" if wanted.endswith("#") and not whole.endswith("#") else whole
