"""Which URLs a request may name. Says what is wrong with a URL before anything is fetched.

This is the first look, at what is written. The second is the guarded client's, at the address that
is really connected: a name that leads inside the network is refused there.
"""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from millstream import Outgoing, OutgoingError

LONGEST = 2048
MOST_PERCENTS = 20
PROGRAMS = (".exe", ".bat", ".cmd", ".scr", ".vbs", ".js")

_CONTROL = re.compile(r"[\x00-\x20\x7f]")


@lru_cache(maxsize=10_000)
def fault(url: str, allowed: tuple[str, ...] = ()) -> str | None:
    """What is wrong with a URL, as a sentence; None where nothing is.

    `allowed`: hosts, addresses and networks, with or without a port, that may be asked although
    they lie inside the network (see `Outgoing`). Remembered: a URL is looked at when its request
    comes, when its run reads its input, and when it is fetched.
    """
    if len(url) > LONGEST:
        return f"the URL is {len(url)} characters long; at most {LONGEST}"
    if not url or _CONTROL.search(url):
        return "the URL is empty, or holds spaces or control characters; encode them"
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            return "the URL holds a user name; leave it out"
    except ValueError:
        return "the URL cannot be read"
    if url.count("%") > MOST_PERCENTS:
        return f"the URL holds more than {MOST_PERCENTS} percent signs"
    if parts.path.lower().endswith(PROGRAMS):
        return "the URL names a program or a script, not a page"
    try:
        _guard(allowed).check(url)
    except OutgoingError as error:
        return error.message
    return None


@lru_cache(maxsize=8)
def _guard(allowed: tuple[str, ...]) -> Outgoing:
    """A client that is asked for its judgement alone; it never connects."""
    return Outgoing(allow=allowed)
