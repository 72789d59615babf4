"""Worker: claims runs, works them off, keeps its leases alive, hands back what it cannot finish.

Two tasks besides the runs: one claims, one renews. Knows the store as a port, and how to make a
Runner only through the function it is given.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from millstream.engine.channel import Signal
from millstream.engine.runner import Ending, Runner
from millstream.errors import StoreError
from millstream.store import Cancellation, Lease, Renewal, Store

log = structlog.get_logger("millstream.worker")


class Worker:
    """Works on up to `max_runs` runs at a time. `ttl` is a lease's life in seconds; it is renewed
    three times in that. `poll` is how often to look for runs that others left behind."""

    def __init__(
        self,
        name: str,
        store: Store,
        pipelines: Sequence[str],
        prepare: Callable[[Lease], Awaitable[Runner]],
        *,
        now: Callable[[], float],
        adopted: Callable[[Lease], None],
        finished: Callable[[Lease, Ending, str | None], None],
        max_runs: int = 1000,
        ttl: float = 15.0,
        poll: float = 2.0,
    ) -> None:
        self.name, self._store, self._pipelines = name, store, list(pipelines)
        self._prepare, self._now = prepare, now
        self._adopted, self._finished = adopted, finished
        self.max_runs, self.ttl, self._poll = max_runs, ttl, poll
        self._runs: dict[str, tuple[Lease, asyncio.Task[None]]] = {}
        self._expected = 0
        self._runners: dict[str, Runner] = {}
        self._wishes: dict[str, Cancellation] = {}
        self._nudge = Signal()
        self._tasks: list[asyncio.Task[None]] = []
        self.draining = False
        self._returning = False

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to claim and to renew."""
        self._tasks = [asyncio.create_task(self._claim()), asyncio.create_task(self._renew())]

    async def drain(self, grace: float) -> None:
        """Claim nothing more; let runs finish for `grace` seconds; hand the rest back. What
        cannot be handed back while its lease lives (the store is out of reach) is dropped."""
        self.draining = True
        self._nudge.set()
        await self._idle(grace)
        self._returning = True
        for runner in list(self._runners.values()):
            runner.hand_back()
        if not await self._idle(self.ttl):
            for runner in list(self._runners.values()):
                runner.lose()
            for _, task in self._runs.values():
                task.cancel()
            await self._idle(self.ttl)
        for claiming in self._tasks[:1]:  # what it is claiming just now, it gives back
            await asyncio.wait([claiming], timeout=self._poll)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _idle(self, seconds: float) -> bool:
        """Wait until no run is worked on, for so long at most."""
        tasks = [task for _, task in self._runs.values()]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)
        return not self._runs

    @property
    def busy(self) -> int:
        """How many runs are worked on."""
        return len(self._runs)

    @property
    def free(self) -> bool:
        """Whether one more run would be begun at once."""
        return not self.draining and self.busy + self._expected < self.max_runs

    @contextmanager
    def place(self) -> Iterator[str | None]:
        """Keeps a place free for a run that is being accepted: this worker's name, or None where
        there is no place."""
        if not self.free:
            yield None
            return
        self._expected += 1
        try:
            yield self.name
        finally:
            self._expected -= 1

    def nudge(self) -> None:
        """There may be something to claim."""
        self._nudge.set()

    def runner(self, run: str) -> Runner | None:
        """Who works on a run here."""
        return self._runners.get(run)

    def runs(self) -> list[str]:
        """The runs that are worked on here."""
        return list(self._runners)

    # --- runs -------------------------------------------------------------------------------

    def adopt(self, lease: Lease) -> None:
        """Work on a run whose lease is this worker's."""
        run = lease.run.id
        earlier = self._runs.get(run)
        self._adopted(lease)
        task = asyncio.create_task(self._work(lease, earlier[1] if earlier else None))
        self._runs[run] = (lease, task)

    def cancel(self, run: str, cancellation: Cancellation) -> bool:
        """Cancel a run that is worked on here; False where it is not."""
        if run not in self._runs:
            return False
        runner = self._runners.get(run)
        if runner is None:
            self._wishes.setdefault(run, cancellation)  # the first one counts
        else:
            runner.cancel(cancellation)
        return True

    async def _work(self, lease: Lease, earlier: "asyncio.Task[None] | None") -> None:
        run = lease.run.id
        ending: Ending = "lost"
        state: str | None = None
        try:
            if earlier is not None:
                await self._end_earlier(run, earlier)
            runner = self._runners[run] = await self._prepare(lease)
            self._heed(run, runner, lease)
            ending = await runner.run()
            state = runner.journal.state
        except asyncio.CancelledError:
            ending = "handed back"
            raise
        except Exception:  # not released: whoever tries again does so when the lease has run out
            log.exception("run_broke_off", run=run)
        finally:
            full = not self.free  # then others wait for this place
            self._forget(lease)
            self._finished(lease, ending, state)
            if ending == "handed back":
                await self._release(lease)
            if full or ending != "ended":
                self._nudge.set()

    async def _end_earlier(self, run: str, earlier: "asyncio.Task[None]") -> None:
        """We held this run before, let its lease run out (a long pause), and have claimed it
        again: what still works by the old lease must end first."""
        runner = self._runners.get(run)
        if runner is not None:
            runner.lose()
        await asyncio.wait([earlier])

    def _forget(self, lease: Lease) -> None:
        run = lease.run.id
        held = self._runs.get(run)
        if held is not None and held[0] is lease:
            del self._runs[run]
            self._wishes.pop(run, None)
        self._runners.pop(run, None)

    def _heed(self, run: str, runner: Runner, lease: Lease) -> None:
        """A wish to cancel, or to hand back, may have come before there was a runner."""
        wish = self._wishes.get(run) or lease.run.cancel
        if wish is not None:
            runner.cancel(wish)
        elif self._returning:
            runner.hand_back()

    async def _release(self, lease: Lease) -> None:
        try:
            await self._store.release(lease.run.id, lease.epoch)
        except StoreError:
            log.warning("release_failed", run=lease.run.id)  # the lease will run out by itself

    # --- claiming and renewing --------------------------------------------------------------

    async def _claim(self) -> None:
        while not self.draining:
            lease = await self._try_claim() if self.free else None
            if lease is None:
                await self._rest()
            elif self.draining:
                await self._release(lease)
            else:
                self.adopt(lease)

    async def _rest(self) -> None:
        """Until nudged, or for as long as others' leases may take to run out."""
        try:
            async with asyncio.timeout(self._poll):
                await self._nudge.wait()
        except TimeoutError:
            pass

    async def _try_claim(self) -> Lease | None:
        try:
            return await self._store.claim(
                self.name, pipelines=self._pipelines, now=self._now(), ttl=self.ttl
            )
        except StoreError as error:
            log.warning("claim_failed", error=error.message)
        except Exception:  # an adapter's defect; the next try may go better
            log.exception("claim_failed")
        return None

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.ttl / 3)
            leases = [(lease.run.id, lease.epoch) for lease, _ in self._runs.values()]
            if not leases:
                continue
            try:
                renewals = await self._store.renew(self.name, leases, now=self._now(), ttl=self.ttl)
            except StoreError as error:
                log.warning("renew_failed", error=error.message)
                continue
            except Exception:
                log.exception("renew_failed")
                continue
            for renewal, (_, epoch) in zip(renewals, leases, strict=True):
                self._obey(renewal, epoch)

    def _obey(self, renewal: Renewal, epoch: int) -> None:
        held, runner = self._runs.get(renewal.run), self._runners.get(renewal.run)
        if runner is None or held is None or held[0].epoch != epoch:
            return  # it was about an earlier lease, or there is nothing to stop yet
        if not renewal.held:
            runner.lose()
        elif renewal.cancel is not None:
            runner.cancel(renewal.cancel)

    def __repr__(self) -> str:
        state = "draining" if self.draining else "claiming"
        return f"<Worker {self.name} {state}, {self.busy}/{self.max_runs} runs>"
