"""Dates as pages write them, to ISO 8601. Only forms that leave no doubt."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

_DAY = re.compile(r"(?<!\d)(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)")
_NAMED = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y")


def iso(said: str | None) -> str | None:
    """`2024-03-15T10:30:00+00:00`, or `2024-03-15` where only the day is said. None: no date.

    Reads ISO 8601 (as `datetime.fromisoformat`), RFC 5322 dates, `2024/3/15` and English names of
    months. An order of day and month that could be either is not guessed.
    """
    if said is None or not (text := " ".join(said.split())):
        return None
    return _iso8601(text) or _rfc5322(text) or _day(text) or _named(text)


def _iso8601(text: str) -> str | None:
    if not text[:4].isdigit() or len(text) < 8:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not 1 < moment.year < 9999:
        return None
    return moment.date().isoformat() if len(text) <= 10 else moment.isoformat()


def _rfc5322(text: str) -> str | None:
    if ":" not in text:
        return None
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _day(text: str) -> str | None:
    found = _DAY.search(text)
    if found is None:
        return None
    try:
        return datetime(*map(int, found.groups())).date().isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None


def _named(text: str) -> str | None:
    for form in _NAMED:
        try:
            return datetime.strptime(text, form).date().isoformat()
        except ValueError:
            continue
    return None
