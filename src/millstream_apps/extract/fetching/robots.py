"""Fetching: robots.txt (RFC 9309). What a site asks of crawlers, kept for a while.

`verdict` decides from an answer; `Robots` asks once for each origin, however many want to know.
Parsing is protego's.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from protego import Protego

LONGEST: Final = 512 * 1024
"""Bytes of a robots.txt that are read: RFC 9309 asks for 500 KiB at least."""
REDIRECTS: Final = 5
UNREACHABLE_TTL: Final = 60.0
_ORIGINS: Final = 4096


@dataclass(frozen=True)
class Rules:
    """What a site's robots.txt says. `parsed` None: it says nothing, all is allowed.
    `unreachable` is why it could not be read, where everything must be taken as disallowed."""

    parsed: Protego | None = None
    unreachable: str | None = None

    def allows(self, url: str, user_agent: str) -> bool:
        """Whether this agent may fetch this URL."""
        if self.unreachable is not None:
            return False
        return self.parsed is None or self.parsed.can_fetch(url, token(user_agent))

    def delay(self, user_agent: str) -> float:
        """Seconds between two requests that the site asks for (Crawl-delay, Request-rate)."""
        if self.parsed is None:
            return 0.0
        agent = token(user_agent)
        rate = self.parsed.request_rate(agent)
        spaced = rate.seconds / rate.requests if rate is not None and rate.requests > 0 else 0.0
        return max(0.0, float(self.parsed.crawl_delay(agent) or 0.0), float(spaced))

    def sitemaps(self) -> list[str]:
        """The sitemaps that it names."""
        return [] if self.parsed is None else list(self.parsed.sitemaps)


def token(user_agent: str) -> str:
    """The product token that groups of rules are named after: `Mill` of `Mill/1.0 (on wheels)`."""
    found = re.match(r"[A-Za-z_-]+", user_agent)
    return found[0] if found is not None else user_agent


def verdict(status: int, body: bytes) -> Rules:
    """RFC 9309, section 2.3.1: a 2xx is read; a server that fails forbids all; any other answer
    means that there are no rules."""
    if 200 <= status < 300:
        return Rules(Protego.parse(body[:LONGEST].decode("utf-8", "replace")))
    if status >= 500:
        return Rules(unreachable=f"it answered {status}")
    return Rules()


@dataclass
class _Kept:
    rules: Rules
    until: float


class Robots:
    """Rules by origin (`https://example.org`). `ask(origin)` fetches them; what it raises reaches
    those who asked and is not kept. `now` is a monotonic clock."""

    def __init__(
        self, ask: Callable[[str], Awaitable[Rules]], *, ttl: float, now: Callable[[], float]
    ) -> None:
        self._ask, self._ttl, self._now = ask, ttl, now
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Rules]] = {}

    async def rules(self, origin: str) -> Rules:
        """What this origin says now. Once known, kept for the TTL; a failure, for a minute, unless
        older rules are there: then these go on."""
        kept = self._kept.get(origin)
        if kept is not None and kept.until > self._now():
            return kept.rules
        asking = self._asking.get(origin)
        if asking is None:
            asking = self._asking[origin] = asyncio.create_task(self._fetch(origin))
            asking.add_done_callback(lambda task: self._asked(origin, task))
        return await asyncio.shield(asking)

    async def _fetch(self, origin: str) -> Rules:
        rules = await self._ask(origin)
        older = self._kept.get(origin)
        ttl = self._ttl if rules.unreachable is None else UNREACHABLE_TTL
        if rules.unreachable is not None and older is not None and not older.rules.unreachable:
            rules = older.rules
        self._kept[origin] = _Kept(rules, self._now() + ttl)
        self._kept.move_to_end(origin)
        if len(self._kept) > _ORIGINS:
            self._kept.popitem(last=False)
        return rules

    def _asked(self, origin: str, task: "asyncio.Task[Rules]") -> None:
        del self._asking[origin]
        if not task.cancelled():
            task.exception()  # those who asked have it; nobody may be left to hear

    async def aclose(self) -> None:
        """Stop asking."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
