"""Site: the frontier of a crawl. Which pages are known, which is next, when it is over. Pure.

A fold over records: the same records give the same frontier, so a crawl that was cut off goes on
where its journal ends. Knows no network, no time and no pages' contents.
"""

from collections import deque

from msgspec import Struct

from millstream_apps.extract.site.models import Candidate, Record
from millstream_apps.extract.site.urls import Scope, normalised, site_of


class FrontierStatistics(Struct, frozen=True):
    """A frontier at one moment. `left` are URLs in the queue, `taken` those being visited."""

    known: int
    visited: int
    taken: int
    left: int


class Frontier:
    """Breadth first: pages nearer to the start come first, in the order in which they were found.

    `take` and `apply` are its two turns. A record may also be applied that was never taken: that is
    how a journal is replayed.
    """

    def __init__(self, start: str, scope: Scope, *, depth: int, max_pages: int) -> None:
        self.start = start
        self._scope, self._depth, self._max_pages = scope, depth, max_pages
        self._queues: list[deque[Candidate]] = [deque() for _ in range(depth + 1)]
        self._depths: dict[str, int] = {}
        self._links: dict[str, tuple[str, ...]] = {}
        self._arrived: set[str] = set()
        self._taken: dict[str, Candidate] = {}
        self._done: set[str] = set()
        self._visited = 0
        self.sitemaps_read = False
        self._offer(Candidate(start, 0))

    # --- its two turns ------------------------------------------------------------------------

    def take(self) -> Candidate | None:
        """The next page to visit. None: there is none now (another one may lead to more)."""
        if self._visited + len(self._taken) >= self._max_pages:
            return None
        for queue in self._queues:
            while queue:
                candidate = queue.popleft()
                if candidate.url in self._done or candidate.url in self._taken:
                    continue  # replayed, arrived at by a redirect, or found nearer since
                if candidate.depth == self._depths[candidate.url]:
                    self._taken[candidate.url] = candidate
                    return candidate
        return None

    def apply(self, record: Record) -> None:
        """A page was visited, or the sitemaps were read: take what it led to."""
        asked = record.asked
        if record.sitemap:
            self.sitemaps_read = True
            for link in record.links:
                self._offer(Candidate(link, asked.depth + 1))
            return
        self._taken.pop(asked.url, None)
        self._visited += record.page is not None
        self._done.add(asked.url)
        self._links[asked.url] = record.links
        depth = self._depths[asked.url] = min(asked.depth, self._depths.get(asked.url, asked.depth))
        if record.final is not None:
            self._arrive(asked, record.final, record.links)
        for link in record.links:
            self._offer(Candidate(link, depth + 1, asked.url))

    # --- questions ----------------------------------------------------------------------------

    def is_new(self, final: str) -> bool:
        """Whether the page at this URL (in its one form) was not told of yet."""
        return final not in self._arrived

    def at_home(self, asked: Candidate, final: str) -> bool:
        """Whether a page that was asked for is still of this crawl. The start may lead away: then
        that is its home too."""
        return asked.url == self.start or self._scope.at_home(final)

    def links(self, found: list[str], base: str) -> list[str]:
        """Those links of a page that this crawl would follow, each once, in order."""
        plain = (normalised(link, base) for link in found)
        return list(
            dict.fromkeys(link for link in plain if link is not None and self._scope.takes(link))
        )

    def statistics(self) -> FrontierStatistics:
        """The frontier now."""
        return FrontierStatistics(
            known=len(self._depths),
            visited=self._visited,
            taken=len(self._taken),
            left=sum(len(queue) for queue in self._queues),
        )

    # --- inside -------------------------------------------------------------------------------

    def _arrive(self, asked: Candidate, final: str, links: tuple[str, ...]) -> None:
        self._arrived.add(final)
        if final not in self._taken:  # else it is on its way already, and will be seen as known
            self._done.add(final)
            self._links.setdefault(final, links)
        self._offer(Candidate(final, self._depths[asked.url], asked.parent))
        if asked.url == self.start and self._scope.sites is not None:
            sites = self._scope.sites | {site_of(final)}
            self._scope = Scope(sites, self._scope.include, self._scope.exclude)

    def _offer(self, found: Candidate) -> None:
        """A page that something leads to. One that is known, but was farther away until now, comes
        nearer, and so does all that it leads to: which page answers first must not decide how deep
        a crawl goes."""
        nearer = [found]
        while nearer:
            candidate = nearer.pop()
            url, depth = candidate.url, candidate.depth
            if depth > self._depth or self._depths.get(url, depth + 1) <= depth:
                continue
            self._depths[url] = depth
            if url in self._done:
                nearer.extend(Candidate(link, depth + 1, url) for link in self._links.get(url, ()))
            elif url not in self._taken:
                self._queues[depth].append(candidate)

    def __repr__(self) -> str:
        return f"<Frontier of {self.start}: {self.statistics()}>"
