"""What a run's log says of its URLs: a fold from events to moments that clients are told of.

Pure: everything is made from the events, so that a reader who resumes is told just what it would
have been told. Each URL has exactly one outcome, whatever ends the run. Knows no wire.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from millstream import Event
from millstream_apps.extract.pages import FETCHING

DOCUMENT, PREVIEW, HITS, PAGES = "document", "preview", "hits", "pages"
ENDS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}
DECISIONS = ("raw", "probes_first", "headless", "cached", "failed")


class Began(Struct, frozen=True):
    """The run is there."""


class Found(Struct, frozen=True):
    """The search is done: so many URLs, in so many milliseconds."""

    urls: int
    took_ms: float


class Previewed(Struct, frozen=True):
    """A page's head was read."""

    index: int
    preview: Any


class Done(Struct, frozen=True):
    """One URL's outcome, in the shape that clients know; None: no page was asked for."""

    index: int
    result: dict[str, Any] | None


class Ended(Struct, frozen=True):
    """The run's end. `error` says why it did not complete."""

    state: str
    error: dict[str, Any] | None


Moment = Began | Found | Previewed | Done | Ended


class Outcomes:
    """Events in, in order; moments out. The counts are of what was told so far.

    `urls` are those of the request; None: the log says them (a search, a site).
    """

    def __init__(self, urls: Sequence[str] | None, source: str = "urls") -> None:
        self._source = source
        self.targets: list[dict[str, Any]] = [{"url": url} for url in urls or ()]
        self.known = urls is not None
        self.successful = self.failed = self.from_cache = 0
        self.decisions = dict.fromkeys(DECISIONS, 0)
        self.fetching: str | None = None
        self.began = self.now = 0.0
        self.time = self.started_at = ""
        self._started: dict[int, float] = {}
        self._done: set[int] = set()

    # --- counts -----------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """URLs that are known of."""
        return len(self.targets)

    @property
    def completed(self) -> int:
        """URLs that have their outcome."""
        return self.successful + self.failed

    @property
    def success_rate(self) -> float:
        """Of those, the part that succeeded; 0 before the first."""
        return round(self.successful / self.completed, 4) if self.completed else 0.0

    @property
    def cache_hit_rate(self) -> float:
        """Of those, the part that came from the cache."""
        return round(self.from_cache / self.completed, 4) if self.completed else 0.0

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the run began."""
        return round((self.now - self.began) * 1000, 1)

    def left_seconds(self) -> float:
        """How long the rest will take, at the pace so far."""
        left = self.total - self.completed
        return (self.now - self.began) / self.completed * left if self.completed else 0.0

    # --- events -----------------------------------------------------------------------------

    def feed(self, event: Event) -> Iterator[Moment]:
        """What an event means."""
        self.time, self.now = event.time, event.timestamp
        if event.seq == 1:
            self.began, self.started_at = self.now, event.time
            yield Began()
        match event.type:
            case "step.started" if event.item is not None:
                self._started.setdefault(event.item, self.now)
            case "step.partial" if event.step == self._source and not self.known:
                self._target(event)
            case "step.result" if event.step == self._source and not self.known:
                self.targets = event.value if isinstance(event.value, list) else self.targets
                yield Found(self.total, self.elapsed_ms)
            case "step.result" if event.step == PREVIEW and event.item is not None:
                if event.value is not None:
                    yield Previewed(event.item, event.value)
            case "step.result" if event.step == DOCUMENT and event.item is not None:
                yield from self._succeeded(event.item, event.value)
            case "step.failed" if event.item is not None:
                yield from self._failed_for_good(event.item, event.value)
            case str() if event.type == FETCHING and event.item is not None:
                self._started[event.item] = self.now
                self.fetching = event.value["url"]
            case str() if event.type in ENDS:
                yield from self._ended(ENDS[event.type], event.value or {})

    def _target(self, event: Event) -> None:
        """A URL that was found. (One found by a second attempt may stand in another's place.)"""
        if event.index is None or event.index >= self.total:
            self.targets.append(event.value)
        else:
            self.targets[event.index] = event.value

    def _succeeded(self, index: int, value: dict[str, Any] | None) -> Iterator[Moment]:
        if index in self._done:
            return
        self._done.add(index)
        self.successful += 1
        if value is not None:
            self.from_cache += value["from_cache"]
            self.decisions[value["gate_decision"]] += 1
        yield Done(index, value)

    def _failed_for_good(self, index: int, told: dict[str, Any]) -> Iterator[Moment]:
        if told.get("will_retry") or told.get("fallback") or index in self._done:
            return
        yield self._failure(index, told["code"], told["message"], bool(told.get("retryable")))

    def _failure(self, index: int, code: str, message: str, retryable: bool) -> Done:
        self._done.add(index)
        self.failed += 1
        self.decisions["failed"] += 1
        taken = (self.now - self._started.get(index, self.now)) * 1000
        url = self.targets[index]["url"] if index < self.total else ""
        return Done(index, failed_result(url, taken, code, message, retryable))

    def _ended(self, state: str, told: dict[str, Any]) -> Iterator[Moment]:
        """The URLs that the end took with it have failed; then the end itself. (Who cancels need
        not be told of each.)"""
        said = told.get("message") or told.get("reason") or f"the run was {state}"
        for index in range(self.total):
            if index not in self._done:
                failure = self._failure(index, str(told.get("code") or state), said, True)
                if state != "cancelled":
                    yield failure
        error = None
        if state != "completed":
            retryable = bool(told.get("retryable", True))
            error = {"type": told.get("code") or state, "message": said, "retryable": retryable}
        yield Ended(state, error)


def failed_result(
    url: str, taken_ms: float, code: str, message: str, retryable: bool
) -> dict[str, Any]:
    """A URL that could not be crawled, in the shape that clients know. `code` is ours: stable, and
    finer than `error_type`."""
    return {
        "url": url,
        "status": 0,
        "from_cache": False,
        "gate_decision": "failed",
        "quality_score": 0.0,
        "processing_time_ms": round(taken_ms, 1),
        "document": None,
        "error": {
            "error_type": "processing_error",
            "message": message,
            "retryable": retryable,
            "code": code,
        },
        "cache_key": "",
    }
