"""Engine: the one object that servers and commands hold. Starts, follows and cancels runs.

Brings the parts of this room together over one store and one blob store; knows no HTTP. Clock,
chance and ids come in here, once, and go down from here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from enum import Enum
from functools import partial
from typing import Any, Final, NoReturn

import structlog
from msgspec import Struct

from millstream.blobs import BlobStore
from millstream.core.graph import Graph, Step
from millstream.core.outcome import Document, Fold
from millstream.core.recovery import Recovered
from millstream.core.retry import Budget
from millstream.engine.caching import Caching
from millstream.engine.executors import Executors
from millstream.engine.follow import Follower
from millstream.engine.journal import Clock, Journal
from millstream.engine.live.control import LiveRun
from millstream.engine.observer import Observer
from millstream.engine.retention import Keeper
from millstream.engine.runner import Ending, Runner
from millstream.engine.tail import Tail
from millstream.engine.tails import Tails
from millstream.engine.work import Work
from millstream.engine.worker import Worker
from millstream.errors import Conflict, MillstreamError, NotFound, Unavailable
from millstream.events import (
    RUN_QUEUED,
    Event,
    Position,
    Segment,
    decode,
    decode_raw,
    encode,
    iso,
)
from millstream.inputs import InputCodec, blobs_of
from millstream.policy import Retry
from millstream.store import ENDED, Cancellation, Lease, Run, Store

log = structlog.get_logger("millstream.engine")


class Everybody(Enum):
    """In the place of an owner: whoever it is that asks sees every run."""

    EVERYBODY = "everybody"


EVERYBODY: Final = Everybody.EVERYBODY


class _Watch(Struct):
    """A run to be cancelled when nobody has followed it for `limit` seconds, nor `since`."""

    limit: float
    since: float


class EngineOptions(Struct, frozen=True):
    """How the engine works. Seconds, except where the name says otherwise.

    `drain` is how long runs may go on at shutdown before they are handed back. `keep` is how long
    runs are kept after their end (None: for ever).
    """

    max_runs: int = 1000
    lease_ttl: float = 15.0
    poll: float = 2.0
    drain: float = 5.0
    keep: float | None = 7 * 86_400.0
    housekeeping: float = 60.0
    threads: int = 32


class Start(Struct, frozen=True):
    """What a new run is asked to be. `input` is a document of its pipeline's InputCodec.

    `timeout` sets the run's deadline, in seconds from now. `unwatched`: cancel the run when nobody
    has followed it for so many seconds. `key` and `fingerprint`: see `Run`.
    """

    pipeline: str
    input: bytes
    timeout: float | None = None
    unwatched: float | None = None
    key: str | None = None
    fingerprint: str | None = None
    owner: str | None = None


class Engine:
    """Runs pipelines. `open` before use, `aclose` after (which hands unfinished runs back)."""

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        store: Store,
        blobs: BlobStore,
        *,
        now: Callable[[], float],
        chance: Callable[[], float],
        new_id: Callable[[], str],
        options: EngineOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.graphs, self.store, self.blobs = dict(graphs), store, blobs
        self.now, self._chance, self.new_id = now, chance, new_id
        self.options = options or EngineOptions()
        self.observer = observer or Observer()
        self.inputs = {name: InputCodec(graph, blobs) for name, graph in self.graphs.items()}
        self.tails = Tails(now)
        self._clock = Clock(now)
        self.caching = Caching(store, now=now)
        self.executors = Executors(
            self.graphs.values(),
            now=now,
            on_block=self._blocked,
            threads=self.options.threads,
        )
        self.worker = Worker(
            new_id(),
            store,
            list(self.graphs),
            self._prepare,
            now=now,
            adopted=self._adopted,
            finished=self._finished,
            max_runs=self.options.max_runs,
            ttl=self.options.lease_ttl,
            poll=self.options.poll,
        )
        self._budgets: dict[tuple[str, str, Retry], Budget] = {}
        self._unwatched: dict[str, _Watch] = {}
        self._housekeeper: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the stores, warm the pools, begin to claim: unfinished runs go on from here."""
        async with AsyncExitStack() as undo:  # what was opened, should the rest fail
            await self.blobs.open()
            undo.push_async_callback(self.blobs.close)
            await self.store.open()
            undo.push_async_callback(self.store.close)
            undo.push_async_callback(self.executors.aclose)
            await self.executors.prestart()
            undo.pop_all()
        self.worker.start()
        self._housekeeper = asyncio.create_task(self._keep_house())

    async def drain(self) -> None:
        """Take nothing new; let runs finish for a while; hand the rest back."""
        await self.worker.drain(self.options.drain)

    async def aclose(self) -> None:
        """Drain, then let go of everything."""
        await self.drain()
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._housekeeper
        await self.executors.aclose()
        await self.caching.aclose()
        await self.store.close()
        await self.blobs.close()

    # --- runs -------------------------------------------------------------------------------

    def graph(self, pipeline: str) -> Graph:
        """A pipeline's graph. Raises NotFound."""
        graph = self.graphs.get(pipeline)
        if graph is None:
            raise NotFound(
                f"there is no pipeline {pipeline!r}; there are: {', '.join(sorted(self.graphs))}"
            )
        return graph

    def graph_of(self, run: Run) -> Graph:
        """A run's graph: its pipeline's, or the one that is built from its input. Raises NotFound,
        or what building it raises."""
        self.graph(run.pipeline)
        return self.inputs[run.pipeline].graph(run.input)

    async def start(self, asked: Start) -> tuple[Run, bool]:
        """Accept a run: durable when this returns, begun at once if there is room. The flag says
        that the idempotency key was known and that this is its first run.

        Raises NotFound, Conflict (the key was used for another input), Unavailable (draining).
        """
        self.graph(asked.pipeline)
        if self.worker.draining:
            raise Unavailable("the server is shutting down; try again", retry_after=2)
        run, first = self._new(asked)
        with self.worker.place() as worker:
            created = await self.store.create(
                run, first, worker=worker, now=run.created, ttl=self.options.lease_ttl
            )
        if created.existing:
            if created.run.fingerprint != asked.fingerprint:
                raise Conflict(
                    f"this Idempotency-Key was used for another input (run {created.run.id}); "
                    "use a new key for a new request"
                )
            return created.run, True
        self._begin(created.run, first, created.lease)
        if created.lease is not None and self.worker.draining:  # it began to drain meanwhile
            await self.store.release(created.run.id, created.lease.epoch)
        return created.run, False

    def _new(self, asked: Start) -> tuple[Run, Segment]:
        moment = self.now()
        run = Run(
            id=self.new_id(),
            pipeline=asked.pipeline,
            created=moment,
            input=asked.input,
            owner=asked.owner,
            deadline=None if asked.timeout is None else moment + asked.timeout,
            unwatched=asked.unwatched,
            key=asked.key,
            fingerprint=asked.fingerprint,
        )
        queued = {"tier": run.tier, "position": 0, "estimated_wait": 0}
        if not self.worker.free:
            queued = {"tier": run.tier}
        event = Event(run=run.id, seq=1, type=RUN_QUEUED, time=iso(moment), data=queued)
        return run, Segment(1, (encode(event),))

    def _begin(self, run: Run, first: Segment, lease: Lease | None) -> None:
        self.observer.run_created(run.pipeline)
        tail = self.tails.begin(run.id, last=0)
        tail.publish(first, ended=False)
        self._watch(run)
        if lease is None:
            self.worker.nudge()
        elif not self.worker.draining:
            self.worker.adopt(lease)
        self.tails.finish(run.id)

    async def run(self, run: str, *, owner: str | Everybody | None = None) -> Run:
        """One run's record. Raises NotFound, also where it is another owner's."""
        found = await self.store.run(run)
        if found is None or (owner is not EVERYBODY and found.owner not in (None, owner)):
            raise NotFound(f"there is no run {run!r}")
        return found

    async def cancel(
        self, run: str, cancellation: Cancellation, *, owner: str | Everybody | None = None
    ) -> bool:
        """Stop a run, wherever it is. False where it had ended. Raises NotFound.

        Returns when the wish is durable; the log ends with who and why as soon as the work has
        stopped.
        """
        return await self._cancel(await self.run(run, owner=owner), cancellation)

    async def amend(self, run: str, input: bytes) -> None:
        """Replace the input by which a run is taken up after a restart; what works on it now is
        not told. Raises Conflict where it has ended, or what its pipeline's codec raises."""
        found = await self.run(run, owner=EVERYBODY)
        if not await self.store.amend(run, self.inputs[found.pipeline].from_json(input)):
            raise Conflict(f"run {run!r} has ended; start another one")

    async def _cancel(self, found: Run, cancellation: Cancellation) -> bool:
        run = found.id
        if found.state in ENDED or not await self.store.cancel(run, cancellation):
            return False
        if self.worker.cancel(run, cancellation):
            return True
        if found.pipeline not in self.graphs or self.worker.draining:
            return True  # whoever works on it sees the wish
        lease = await self.store.claim(
            self.worker.name,
            pipelines=[found.pipeline],
            now=self.now(),
            ttl=self.options.lease_ttl,
            run=run,
        )
        if lease is not None and self.worker.draining:
            await self.store.release(run, lease.epoch)
        elif lease is not None:  # nobody worked on it: end it here
            self.worker.adopt(lease)
        return True

    async def follow(self, run: str, after: Position = 0) -> Follower:
        """An open follower behind `after`; close it. Whose run it is, the caller has asked.
        Raises NotFound."""
        follower = Follower(self.store, self.tails, run, after, now=self.now)
        await follower.open()
        return follower

    async def events(self, run: str) -> list[Event]:
        """The log so far, decoded."""
        return [decode(line) async for line in self._lines(run)]

    async def document(self, run: str, *, owner: str | Everybody | None = None) -> Document:
        """The run as clients read it: a fold over its log so far. Raises NotFound."""
        found = await self.run(run, owner=owner)
        if found.pipeline not in self.graphs:
            raise NotFound(f"run {run!r} is of pipeline {found.pipeline!r}, not served here")
        fold = Fold(self._graph_and_input(found)[0])
        if fold.graph.keep is not None:  # the events that said so may have gone
            fold.state = found.state
            fold.started = None if found.started is None else iso(found.started)
        async for line in self._lines(run):
            fold.apply(decode(line))
        return document(found, fold)

    async def _lines(self, run: str) -> AsyncIterator[bytes]:
        cursor = 0
        while True:
            page = await self.store.read(run, cursor, max_bytes=1 << 20)
            if not page.segments:
                return
            for segment in page.segments:
                for line in segment.events:
                    yield line
            cursor = page.segments[-1].last

    def live(self, run: str) -> LiveRun | None:
        """A live run that is worked on in this process, to look into and to change; else None."""
        runner = self.worker.runner(run)
        if runner is None or runner.plane is None:
            return None
        return LiveRun(runner.plane)

    def lives(self) -> dict[str, LiveRun]:
        """All live runs that are worked on in this process, by run."""
        found = {run: self.live(run) for run in self.worker.runs()}
        return {run: live for run, live in found.items() if live is not None}

    # --- the worker's -----------------------------------------------------------------------

    async def _prepare(self, lease: Lease) -> Runner:
        """A runner for a leased run: fresh, or recovered from its log."""
        run = lease.run
        graph, load = self._graph_and_input(run)
        recovered = await self._recovered(graph, run) if run.seq > 1 else None
        self._watch(run)
        tail = self.tails.get(run.id)
        assert tail is not None, "adopt begins the tail"
        reader = await self._keeper(graph, lease, tail)
        journal = Journal(self.store, lease, reader, clock=self._clock, observer=self.observer)
        work = Work(
            graph=graph,
            run=run,
            journal=journal,
            recovered=recovered,
            now=self.now,
            chance=self._chance,
            executor=self.executors.of,
            budget=self._budget,
            observer=self.observer,
            caching=self.caching,
            watched=lambda: tail.watchers > 0,
        )
        return Runner(work, journal, load, workers=self.executors.workers)

    async def _recovered(self, graph: Graph, run: Run) -> Recovered:
        """What the log says of the work. Of a live run nothing but that it has begun: its sources
        start anew, and its log may have lost its beginning."""
        recovered = Recovered(graph)
        if not graph.live:
            async for line in self._lines(run.id):
                recovered.apply(decode_raw(line))
            recovered.settle()
        recovered.started = recovered.started or run.started is not None
        return recovered

    async def _keeper(self, graph: Graph, lease: Lease, tail: Tail) -> Tail | Keeper:
        """The tail; where the log is to be kept short, behind the one who sees to that."""
        if graph.keep is None:
            return tail
        page = await self.store.read(lease.run.id, 0, max_bytes=0)
        tail.trimmed(page.first)
        return Keeper(self.store, lease, tail, graph.keep, now=self.now)

    def _graph_and_input(self, run: Run) -> tuple[Graph, Callable[[], Any]]:
        """The graph that a run is worked by, and how its input is read. Where the graph cannot be
        built (any more), reading the input says why, and so the run fails."""
        try:
            graph = self.graph_of(run)
            if graph is not self.graphs[run.pipeline]:
                self.executors.add(graph)
        except MillstreamError as error:
            return self.graphs[run.pipeline], partial(_refuse, error)
        return graph, partial(self.inputs[run.pipeline].load, run.input)

    def _budget(self, pipeline: str, step: Step) -> Budget | None:
        if step.retry is None:
            return None
        key = (pipeline, step.name, step.retry)  # two flows may have steps of one name
        if key not in self._budgets:
            self._budgets[key] = Budget(step.retry)
        return self._budgets[key]

    def _adopted(self, lease: Lease) -> None:
        self.tails.begin(lease.run.id, last=lease.run.seq)

    def _finished(self, lease: Lease, ending: Ending, state: str | None) -> None:
        run = lease.run
        self._unwatched.pop(run.id, None)
        if ending == "ended":
            self.observer.run_ended(run.pipeline, state or "", self.now() - run.created)
        self.tails.finish(run.id)

    def _blocked(self, step: str, seconds: float) -> None:
        self.observer.blocked(step, seconds)
        log.warning(
            "event_loop_blocked",
            step=step,
            seconds=round(seconds, 3),
            fix="give the step executor='thread' or 'process'",
        )

    # --- housekeeping -----------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Cancel what nobody watches; forget what ended long ago."""
        since_prune = 0.0
        while True:
            await asyncio.sleep(1.0)
            since_prune += 1.0
            try:
                await self._look_elsewhere()
                await self._cancel_unwatched()
                if since_prune >= self.options.housekeeping:
                    since_prune = 0.0
                    await self.prune()
                    await self.caching.evict()
            except MillstreamError as error:
                log.warning("housekeeping_failed", error=error.message)
            except Exception:
                log.exception("housekeeping_failed")

    async def _look_elsewhere(self) -> None:
        """How far logs are that are followed here, but written by another process."""
        for tail in self.tails.unwritten():
            found = await self.store.run(tail.run)
            if found is None:
                tail.forget()
            else:
                tail.advance(first=1, last=found.seq, ended=found.state in ENDED)

    def _watch(self, run: Run) -> None:
        """Note who is to be cancelled when nobody watches."""
        if run.unwatched is not None and run.id not in self._unwatched:
            self._unwatched[run.id] = _Watch(run.unwatched, self.now())

    async def _cancel_unwatched(self) -> None:
        moment = self.now()
        for run, watch in list(self._unwatched.items()):
            tail = self.tails.get(run)
            if tail is not None and tail.watchers:
                watch.since = moment
            elif tail is not None and tail.left_at is not None:
                watch.since = max(watch.since, tail.left_at)
            if moment - watch.since < watch.limit:
                continue
            found = await self.store.run(run)
            self._unwatched.pop(run, None)
            if found is not None:
                reason = f"nobody has watched it for {watch.limit:g} s"
                await self._cancel(found, Cancellation(by="server", reason=reason))

    async def prune(self) -> int:
        """Forget runs that ended longer ago than `keep`, and their uploads. How many."""
        if self.options.keep is None:
            return 0
        count = 0
        while gone := await self.store.prune(ended_before=self.now() - self.options.keep):
            count += len(gone)
            for run in gone:
                await self.blobs.delete(blobs_of(run.input))
        return count

    def __repr__(self) -> str:
        return f"<Engine of {', '.join(self.graphs)}; {self.worker!r}; {len(self.tails)} tails>"


def _refuse(error: MillstreamError) -> NoReturn:
    raise error


def document(run: Run, fold: Fold) -> Document:
    """The run's document: its record, and what its log has come to."""
    return Document(
        id=run.id,
        pipeline=run.pipeline,
        state=fold.state,
        tier=run.tier,
        created=iso(run.created),
        started=fold.started,
        ended=fold.ended,
        seq=fold.seq,
        result=fold.result(),
        partial=fold.partial,
        missing=fold.missing,
        error=fold.error,
    )
