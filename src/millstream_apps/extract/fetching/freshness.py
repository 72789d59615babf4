"""Fetching: what a kept page is good for. Pure (RFC 9111 in the terms of `CacheMode`)."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum

from millstream_apps.extract.fetching.models import CacheMode


class Use(Enum):
    """What to do."""

    KEPT = "the kept page as it is"
    ASK = "ask the server whether the kept page still holds"
    FETCH = "fetch it"
    NOTHING = "there is nothing, and the network is not wanted"


def decide(mode: CacheMode, age: float | None, ttl: float) -> Use:
    """What to do in this mode with a page kept for `age` seconds (None: none is kept)."""
    if mode == "off":
        return Use.FETCH
    if mode == "only":
        return Use.NOTHING if age is None else Use.KEPT
    if age is None:
        return Use.FETCH
    return Use.KEPT if mode == "read_through" and age < ttl else Use.ASK


def conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The request headers that ask whether a kept answer still holds (RFC 9110, section 13)."""
    asked: dict[str, str] = {}
    if etag := headers.get("etag"):
        asked["if-none-match"] = etag
    if modified := headers.get("last-modified"):
        asked["if-modified-since"] = modified
    return asked


def may_keep(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer may be kept: a whole page, and no `no-store`."""
    said = headers.get("cache-control", "").lower()
    return status == 200 and "no-store" not in said and headers.get("vary", "").strip() != "*"


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait: `120`, or an HTTP date (RFC 9110, section 10.2.3). None: not said."""
    if not value:
        return None
    said = value.strip()
    if said.isascii() and said.isdigit():
        return float(min(int(said[:9]), 10**9))
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
