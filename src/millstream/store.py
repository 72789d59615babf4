"""The store port: runs, their logs, leases, and results that are used again. Adapters live in
`stores/`.

A store promises three things, and `millstream.testing.store_conformance` holds it to them:
an append that returned is kept (law 2); a stale epoch writes nothing (law 3); positions have no
gaps (law 1). It decides nothing else: which run is next, when a lease is old enough, what an
event means, how long what is kept are said by its callers, who also bring the time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import UNSET, Struct, UnsetType

from millstream.events import Position, Segment

State = Literal["queued", "running", "completed", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled"})


class Cancellation(Struct, frozen=True):
    """A wish, noted beside the run, that it be cancelled: by whom, and why."""

    by: str
    reason: str


class Run(Struct, frozen=True):
    """What a store keeps beside a run's log. Times are seconds since the epoch.

    `input` is the request as JSON (uploads as references into the blob store). `deadline` is when
    the run must have ended. `seq` is the position of the log's last event. `epoch` counts the
    leases that there were. `cancel` is a cancellation asked for and not yet carried out.
    `key` and `fingerprint` are the idempotency key with its scope, and a hash of the input.
    `unwatched` is after how many seconds without a reader the run is to be cancelled.
    """

    id: str
    pipeline: str
    created: float
    input: bytes = b"null"
    tier: str = "normal"
    owner: str | None = None
    deadline: float | None = None
    unwatched: float | None = None
    key: str | None = None
    fingerprint: str | None = None
    state: State = "queued"
    started: float | None = None
    ended: float | None = None
    seq: Position = 0
    epoch: int = 0
    cancel: Cancellation | None = None


class Mark(Struct, frozen=True):
    """The change of state that an appended segment means for its run; kept in the same commit."""

    state: State
    at: float


class Lease(Struct, frozen=True):
    """A worker's right to write one run's log. `run` is the run as it stood when claimed."""

    run: Run
    epoch: int
    worker: str


class Renewal(Struct, frozen=True):
    """What a worker learns by renewing: whether it still holds the lease; a wish to cancel."""

    run: str
    held: bool
    cancel: Cancellation | None = None


class Created(Struct, frozen=True):
    """`existing` is true where the idempotency key had been used: `run` is then the first one."""

    run: Run
    existing: bool
    lease: Lease | None = None


class Page(Struct, frozen=True):
    """Part of a log. `first` is the oldest position that is still kept (1 unless retention took
    some away), `last` the newest, `ended` whether a terminal event is in the log at `last`."""

    segments: tuple[Segment, ...]
    first: Position
    last: Position
    ended: bool


class Answer:
    """An append's outcome that is known already: awaiting it costs nothing."""

    __slots__ = ("_error",)

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def __await__(self) -> Generator[Any, None, None]:
        if self._error is not None:
            raise self._error
        return
        yield


KEPT: Final = Answer()

Told = Callable[[Exception | None], object]
"""Hears of an append's outcome: None where it is kept. Must not raise."""


class Promise(Struct, eq=False, kw_only=True):
    """An append's outcome that is still to come. An adapter that answers many at once gives these:
    who wrote is then told by a plain call, with no future and no turn of the loop for each.

    Belongs to one event loop, and is told of by one caller: `then`, or awaiting it, once. Whoever
    awaits it and is cancelled leaves; the append goes on. `outcome` is UNSET until it is settled.
    """

    told: Told | None = None
    outcome: Exception | UnsetType | None = UNSET

    def then(self, told: Told) -> None:
        """Have it told as soon as it is known."""
        if self.outcome is UNSET:
            self.told = told
        else:
            told(self.outcome)

    def settle(self, error: Exception | None) -> None:
        """It is known. Only who made the promise calls this, and once."""
        self.outcome = error
        if self.told is not None:
            self.told(error)

    def __await__(self) -> Generator[Any, None, None]:
        if self.outcome is UNSET:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.told = lambda _: None if waiter.done() else waiter.set_result(None)
            yield from waiter
        if isinstance(self.outcome, Exception):
            raise self.outcome


class Store(Protocol):
    """Keeps runs and their logs. All methods may be called at the same time from one event loop.

    Each may raise StoreError. A write that did may have been kept all the same (the connection
    broke before the answer came): read before you write it again.
    """

    async def open(self) -> None:
        """Connect, create what is missing. Raises StoreError. Leases of a dead process of this
        same, exclusively held store are void from here on."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go of everything. Safe to call twice."""
        ...

    async def create(
        self, run: Run, first: Segment, *, worker: str | None = None, now: float, ttl: float
    ) -> Created:
        """Keep a new run and the first events of its log, in one step.

        With `worker` the run starts out leased to it (epoch 1) until now + ttl. Where `run.key`
        is known, nothing is written: `existing` comes back with the run of that key. The caller
        compares the fingerprints. The run's `seq` and `epoch` are the store's to say.

        Raises ValueError, and keeps nothing, where the id is taken, the run has ended already, or
        `first` is empty or does not begin at position 1.
        """
        ...

    async def run(self, run: str) -> Run | None:
        """One run, or None."""
        ...

    async def runs(
        self,
        *,
        pipeline: str | None = None,
        state: State | None = None,
        owner: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Newest first (by created, then id); `before` is the id of the last one already seen
        (nothing comes before one that is not there any more)."""
        ...

    async def claim(
        self,
        worker: str,
        *,
        pipelines: Sequence[str],
        now: float,
        ttl: float,
        run: str | None = None,
    ) -> Lease | None:
        """Lease the oldest run of these pipelines that has not ended and that nobody holds a live
        lease on, or just `run` under the same conditions. Oldest is by created, then id; a lease
        lives while now is before its end. The epoch is the run's last plus one; whoever held an
        earlier one writes nothing more."""
        ...

    async def renew(
        self, worker: str, leases: Sequence[tuple[str, int]], *, now: float, ttl: float
    ) -> Sequence[Renewal]:
        """Prolong (run, epoch) leases to now + ttl, where they are still the newest of their run.
        An expired lease that nobody has taken since may be renewed, a released one may not.
        One answer for each, in order."""
        ...

    async def release(self, run: str, epoch: int) -> None:
        """Hand a run back: claimable at once, and this epoch writes nothing more. A stale epoch
        releases nothing and is no error."""
        ...

    def append(
        self, run: str, epoch: int, segment: Segment, mark: Mark | None = None
    ) -> Awaitable[None]:
        """Keep a segment; that what comes back completes is the promise. The segment is taken when
        this is called. An adapter that has kept it by then answers KEPT; one that answers many at
        once, a `Promise`; any awaitable will do. What is raised, is raised there, not here. With
        `mark` the run's state changes in the same commit (state running sets `started` if unset;
        an ended state sets `ended` and ends the lease).

        Raises StaleEpoch where another epoch is current, this one was released, or the run has
        ended or does not exist; ValueError where the segment is empty or its first position is
        not the log's last + 1. Either writes nothing. An expired lease writes until it is taken.
        """
        ...

    async def trim(self, run: str, epoch: int, before: Position) -> Position:
        """Let go of the log's beginning (retention): of whole records all of whose events stand
        before position `before`. The newest record always stays. Returns the oldest position that
        is kept, at most `before` (and never less than an earlier trim returned). A segment of up to
        64 KiB is one record; a longer one may be several.

        Raises StaleEpoch, and lets go of nothing, as `append` does.
        """
        ...

    async def read(self, run: str, after: Position, *, max_bytes: int = 65_536) -> Page:
        """The log behind `after`, whole events in order: at least one segment's first event if
        there is any, otherwise as many events as fit into `max_bytes` of NDJSON. Where what is
        kept begins later than after + 1, the events begin there, as the page's `first` tells. An
        unknown run reads as an empty page with last 0."""
        ...

    async def cancel(self, run: str, cancellation: Cancellation) -> bool:
        """Note a wish to cancel (the first one stays). False where the run is unknown or ended;
        True also where there was a wish already."""
        ...

    async def amend(self, run: str, input: bytes) -> bool:
        """Replace the input by which a run is taken up from now on. False where the run is unknown
        or ended. Its key and fingerprint stay: they are of the request that it came from."""
        ...

    async def prune(self, *, ended_before: float, limit: int = 100) -> Sequence[Run]:
        """Forget runs that ended before then, with their logs and keys; returns them (so that
        the caller can let go of their uploads). Oldest first, at most `limit`."""
        ...

    async def recall(self, space: str, key: str, *, now: float) -> bytes | None:
        """The result remembered in `space` under `key`, while now is before its `until`."""
        ...

    async def remember(
        self,
        space: str,
        key: str,
        value: bytes,
        *,
        now: float,
        until: float,
        entries: int,
        size: int,
    ) -> None:
        """Keep a result, in the place of one of the same key; it counts as used now. Then the
        oldest-used of `space` go (at equal times by key) until it holds at most `entries` results
        and `size` bytes of values. Durable like an append; unlike a log it may be lost whole."""
        ...

    async def touch(self, space: str, keys: Sequence[str], *, now: float) -> None:
        """These results were used now, unless later uses are known. Unknown keys are no error."""
        ...

    async def evict(self, *, now: float) -> int:
        """Forget every result, of all spaces, whose `until` is not after now. How many."""
        ...
