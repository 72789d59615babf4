"""Outgoing: where a redirect leads, and as what request. Pure (RFC 9110, section 15.4)."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin

from msgspec import Struct

from millstream.outgoing.errors import OutgoingError
from millstream.outgoing.urls import Target

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_OF_THE_BODY: Final = frozenset({"content-length", "content-type", "content-encoding"})
_SECRET: Final = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-api-key", "host", "if-none-match"}
)


class Hop(Struct, frozen=True):
    """The next request of a chain."""

    method: str
    url: str
    keeps_body: bool


def next_hop(method: str, url: str, status: int, location: str | None) -> Hop | None:
    """What a response asks for; None where it is no redirect.

    303, and 301 and 302 after POST, become GET, as browsers do. Raises OutgoingError
    (`redirect_invalid`) where the address cannot be read.
    """
    if status not in REDIRECTS or not location:
        return None
    said = location.strip(" \t").replace(" ", "%20")  # as servers do write them
    try:
        joined = said if _ABSOLUTE.match(said) or not said.isprintable() else urljoin(url, said)
    except ValueError as error:
        raise OutgoingError(
            f"{url} redirects to {location[:120]!r}, which is no URL",
            code="redirect_invalid",
            retryable=False,
        ) from error
    turns = (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST")
    return Hop("GET" if turns else method, joined, keeps_body=not turns)


def headers_for(
    headers: Mapping[str, str], hop: Hop, *, before: Target, after: Target
) -> dict[str, str]:
    """What goes along: nothing secret to another origin, nothing about a body that stays behind."""
    away = _SECRET if before.origin != after.origin else frozenset[str]()
    gone = away if hop.keeps_body else away | _OF_THE_BODY
    return {name: value for name, value in headers.items() if name.lower() not in gone}
