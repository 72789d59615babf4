"""A store adapter: plain dicts in this process, for tests and for work that may be forgotten.

Everything is gone with the object, so "kept" means no more than that here. No thread, no await,
no I/O: every method is one uninterrupted step of the event loop.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Iterator, Sequence
from heapq import nsmallest
from operator import attrgetter

from msgspec.structs import replace

from millstream.errors import StaleEpoch
from millstream.events import Position, Segment
from millstream.store import (
    ENDED,
    KEPT,
    Answer,
    Cancellation,
    Created,
    Lease,
    Mark,
    Page,
    Renewal,
    Run,
    State,
)
from millstream.stores import check_new, check_next, fit
from millstream.stores.memory_results import Results

_Age = tuple[float, str]
_first = attrgetter("first")


class _Log:
    """One run, its log, and who may write it (`worker` is None where nobody may)."""

    __slots__ = ("run", "segments", "seq", "until", "worker")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seq: Position = 0
        self.segments: list[Segment] = []
        self.worker: str | None = None
        self.until = 0.0

    @property
    def age(self) -> _Age:
        return self.run.created, self.run.id

    def now(self) -> Run:
        return replace(self.run, seq=self.seq)

    @property
    def first(self) -> Position:
        """The oldest position that is kept."""
        return self.segments[0].first

    def trim(self, before: Position) -> None:
        """Let go of whole segments before that position; the last one stays."""
        del self.segments[: self._at(before)]

    def keep(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.seq = segment.last

    def _at(self, position: Position) -> int:
        """The index of the segment that holds it, or of the next one."""
        return max(0, bisect_right(self.segments, position, key=_first) - 1)

    def page(self, after: Position, max_bytes: int) -> Iterator[Segment]:
        """The segments of one page, the first and the last of them sliced where need be."""
        nothing_yet = 1
        for index in range(self._at(after + 1), len(self.segments)):
            part = self.segments[index].after(after)
            size = part.size
            if size > max_bytes:
                part = fit(part, max_bytes, at_least=nothing_yet)
            if len(part):
                yield part
            if size > max_bytes:
                return
            max_bytes -= size
            nothing_yet = 0


class MemoryStore:
    """Keeps runs and their logs in dicts. Closing keeps them, so that a test can open again."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._keys: dict[str, str] = {}
        self._ages: list[_Age] = []  # all runs, oldest first
        self._free: dict[str, list[_Age]] = {}  # by pipeline: held by nobody, oldest first
        self._held: dict[str, _Log] = {}  # held by somebody, though perhaps for too long
        self._ended: dict[str, _Log] = {}
        self._results = Results()

    def __repr__(self) -> str:
        free = sum(map(len, self._free.values()))
        return f"<MemoryStore: {free} free, {len(self._held)} held, {len(self._ended)} ended>"

    async def open(self) -> None:
        """Void the leases of whoever used this object before."""
        for log in list(self._held.values()):
            self._let_go(log)

    async def close(self) -> None:
        """Nothing is under way, nothing to let go of."""

    async def create(
        self, run: Run, first: Segment, *, worker: str | None = None, now: float, ttl: float
    ) -> Created:
        """Keep a new run and the first events of its log."""
        if run.key is not None and run.key in self._keys:
            return Created(self._logs[self._keys[run.key]].now(), existing=True)
        check_new(run, first)
        if run.id in self._logs:
            raise ValueError(f"run {run.id}: there is one of this id already")
        log = self._logs[run.id] = _Log(replace(run, epoch=0))
        log.keep(first)
        insort(self._ages, log.age)
        if run.key is not None:
            self._keys[run.key] = run.id
        if worker is None:
            insort(self._free.setdefault(run.pipeline, []), log.age)
            return Created(log.now(), existing=False)
        lease = self._lease(log, worker, now + ttl)
        return Created(lease.run, existing=False, lease=lease)

    async def run(self, run: str) -> Run | None:
        """One run, or None."""
        log = self._logs.get(run)
        return log and log.now()

    async def runs(
        self,
        *,
        pipeline: str | None = None,
        state: State | None = None,
        owner: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Newest first."""
        found: list[Run] = []
        for index in range(self._older_than(before) - 1, -1, -1):
            if len(found) >= limit:
                break
            log = self._logs[self._ages[index][1]]
            run = log.run
            if (
                pipeline in (None, run.pipeline)
                and state in (None, run.state)
                and owner in (None, run.owner)
            ):
                found.append(log.now())
        return found

    async def claim(
        self,
        worker: str,
        *,
        pipelines: Sequence[str],
        now: float,
        ttl: float,
        run: str | None = None,
    ) -> Lease | None:
        """Lease the oldest free run, or just `run`."""
        if run is None:
            log = self._oldest(pipelines, now)
        else:
            log = self._logs.get(run)
            if log and not (log.run.pipeline in pipelines and self._claimable(log, now)):
                log = None
        if log is None:
            return None
        if log.worker is None:
            free = self._free[log.run.pipeline]
            del free[bisect_left(free, log.age)]
        return self._lease(log, worker, now + ttl)

    async def renew(
        self, worker: str, leases: Sequence[tuple[str, int]], *, now: float, ttl: float
    ) -> Sequence[Renewal]:
        """Prolong leases that are still the newest of their runs."""
        return [self._renew(run, epoch, now + ttl) for run, epoch in leases]

    async def release(self, run: str, epoch: int) -> None:
        """Hand a run back."""
        log = self._held.get(run)
        if log and log.run.epoch == epoch:
            self._let_go(log)

    def append(
        self, run: str, epoch: int, segment: Segment, mark: Mark | None = None
    ) -> Awaitable[None]:
        """Keep a segment."""
        log = self._held.get(run)
        if log is None or log.run.epoch != epoch:
            return Answer(StaleEpoch(run, epoch))
        if segment.first != log.seq + 1 or segment.last < segment.first:
            try:
                check_next(run, segment, log.seq)
            except ValueError as error:
                return Answer(error)
        log.keep(segment)
        if mark is not None:
            self._mark(log, mark)
        return KEPT

    async def trim(self, run: str, epoch: int, before: Position) -> Position:
        """Let go of the log's beginning."""
        log = self._held.get(run)
        if log is None or log.run.epoch != epoch:
            raise StaleEpoch(run, epoch)
        log.trim(before)
        return log.first

    async def read(self, run: str, after: Position, *, max_bytes: int = 65_536) -> Page:
        """The log behind `after`."""
        log = self._logs.get(run)
        if log is None:
            return Page((), 1, 0, ended=False)
        segments = tuple(log.page(max(after, 0), max_bytes))
        return Page(segments, log.first, log.seq, ended=log.run.state in ENDED)

    async def cancel(self, run: str, cancellation: Cancellation) -> bool:
        """Note a wish to cancel."""
        log = self._logs.get(run)
        if log is None or log.run.state in ENDED:
            return False
        if log.run.cancel is None:
            log.run = replace(log.run, cancel=cancellation)
        return True

    async def amend(self, run: str, input: bytes) -> bool:
        """Replace a run's input."""
        log = self._logs.get(run)
        if log is None or log.run.state in ENDED:
            return False
        log.run = replace(log.run, input=input)
        return True

    async def prune(self, *, ended_before: float, limit: int = 100) -> Sequence[Run]:
        """Forget runs that ended before then."""
        old = (log for log in self._ended.values() if _ended(log) < ended_before)
        gone = nsmallest(limit, old, key=lambda log: (_ended(log), log.run.id))
        for log in gone:
            run = log.run
            del self._logs[run.id], self._ended[run.id]
            del self._ages[bisect_left(self._ages, log.age)]
            if run.key is not None:
                del self._keys[run.key]
        return [log.now() for log in gone]

    async def recall(self, space: str, key: str, *, now: float) -> bytes | None:
        """A result that was remembered, while its time is not over."""
        return self._results.recall(space, key, now)

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
        """Keep a result; the oldest-used go beyond the bounds."""
        self._results.remember(space, key, value, now, until, entries, size)

    async def touch(self, space: str, keys: Sequence[str], *, now: float) -> None:
        """These results were used now."""
        for key in keys:
            self._results.touch(space, key, now)

    async def evict(self, *, now: float) -> int:
        """Forget every result whose time is over."""
        return self._results.evict(now)

    def _older_than(self, before: str | None) -> int:
        if before is None:
            return len(self._ages)
        log = self._logs.get(before)
        return bisect_left(self._ages, log.age) if log else 0

    def _claimable(self, log: _Log, now: float) -> bool:
        return log.run.state not in ENDED and (log.worker is None or log.until <= now)

    def _oldest(self, pipelines: Sequence[str], now: float) -> _Log | None:
        ages = [free[0] for name in pipelines if (free := self._free.get(name))]
        for log in self._held.values():
            if log.until <= now and log.run.pipeline in pipelines:
                ages.append(log.age)
        return self._logs[min(ages)[1]] if ages else None

    def _lease(self, log: _Log, worker: str, until: float) -> Lease:
        log.run = replace(log.run, epoch=log.run.epoch + 1)
        log.worker, log.until = worker, until
        self._held[log.run.id] = log
        return Lease(log.now(), log.run.epoch, worker)

    def _renew(self, run: str, epoch: int, until: float) -> Renewal:
        log = self._held.get(run)
        if log is None or log.run.epoch != epoch:
            return Renewal(run, held=False)
        log.until = until
        return Renewal(run, held=True, cancel=log.run.cancel)

    def _let_go(self, log: _Log) -> None:
        log.worker = None
        del self._held[log.run.id]
        insort(self._free.setdefault(log.run.pipeline, []), log.age)

    def _mark(self, log: _Log, mark: Mark) -> None:
        log.run = _marked(log.run, mark)
        if mark.state in ENDED:
            log.worker = None
            self._ended[log.run.id] = self._held.pop(log.run.id)


def _ended(log: _Log) -> float:
    return log.run.ended or 0.0


def _marked(run: Run, mark: Mark) -> Run:
    """The run as a mark leaves it."""
    if mark.state in ENDED:
        return replace(run, state=mark.state, ended=mark.at)
    if mark.state == "running" and run.started is None:
        return replace(run, state=mark.state, started=mark.at)
    return replace(run, state=mark.state)
