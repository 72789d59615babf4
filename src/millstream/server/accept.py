"""Content negotiation: which wire a request asks for, and from which cursor."""

import re
from functools import lru_cache
from typing import Literal

from fastapi import Request

from millstream.errors import InputError, MillstreamError
from millstream.events import Position
from millstream.server.request import header, headers, query

Form = Literal["sse", "ndjson", "json", "html"]

_TYPES: dict[str, Form] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
    "text/html": "html",
}


class NotAcceptable(MillstreamError):
    """None of the types in `Accept` can be made here."""

    code = "not_acceptable"
    status = 406


@lru_cache(maxsize=256)
def negotiate(accept: str | None, default: Form, offered: tuple[Form, ...]) -> Form:
    """The best offered form for an Accept header (RFC 9110, section 12.5.1): each form counts by
    the range that fits it most closely; of equals the first listed, and of those the default.

    Raises NotAcceptable.
    """
    if not accept or not accept.strip():
        return default
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best: tuple[float, int, bool] | None = None
    chosen = default
    for media, form in _TYPES.items():
        if form not in offered:
            continue
        found = _fit(media, ranges)
        if found is None:
            continue
        quality, place = found
        rank = (quality, -place, form == default)
        if best is None or rank > best:
            best, chosen = rank, form
    if best is None:
        types = ", ".join(media for media, form in _TYPES.items() if form in offered)
        raise NotAcceptable(f"Accept: {accept!r} fits nothing here; ask for one of {types}")
    return chosen


def _fit(media: str, ranges: list[tuple[str, float]]) -> tuple[float, int] | None:
    """Quality and place of the range that says most about a type; None where it is refused."""
    for pattern in (media, f"{media.partition('/')[0]}/*", "*/*"):
        for place, (said, quality) in enumerate(ranges):
            if said == pattern:
                return (quality, place) if quality > 0 else None
    return None


def _range(part: str) -> tuple[str, float]:
    """One media range and its weight; a weight that is no number from 0 to 1 counts as 0."""
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            fits = re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", parameter[2:].strip())
            return media, float(fits[0]) if fits else 0.0
    return media, 1.0


def accepted(request: Request) -> str | None:
    """What `Accept` says, all its lines together."""
    return ", ".join(headers(request, "accept")) or None


def cursor(request: Request) -> Position | None:
    """The last position the client has: `Last-Event-ID`, `?last_event_id=` or `?after=`; None
    where it says nothing. Raises InputError where it is no number."""
    places = (
        ("Last-Event-ID", header(request, "last-event-id")),
        ("last_event_id", query(request, "last_event_id")),
        ("after", query(request, "after")),
    )
    for field, said in places:
        if said is None or said == "":
            continue
        if not (said.isascii() and said.isdigit() and len(said) < 19):
            message = f"{said!r} is not a position: send the number of the last event you have"
            raise InputError(f"{field}: {message}", errors=[{"field": field, "message": message}])
        return int(said)
    return None


def wants_no_wait(request: Request) -> bool:
    """Whether `Prefer: respond-async` was sent (RFC 7240)."""
    said = header(request, "prefer")
    if said is None:
        return False
    return any(wish.split(";")[0].strip() == "respond-async" for wish in said.lower().split(","))
