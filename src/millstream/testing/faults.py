"""Public test kit: a store that fails when told to, for tests of whoever uses a store.

Wraps any adapter of the port. Which call fails how is decided by a plan, which is a script or a
seeded draw: the same plan and the same calls give the same faults. Nothing here waits for time;
what is held up goes on when the test says so. Imports the standard library and `millstream`.

    store = FaultyStore(MemoryStore(), script({("append", 3): "after"}))
    store = FaultyStore(MemoryStore(), drawn(random.Random(7), before=0.1, steal=0.05))
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Literal, TypeVar

from msgspec import Struct

from millstream.errors import StoreError
from millstream.events import Position, Segment
from millstream.store import (
    Cancellation,
    Created,
    Lease,
    Mark,
    Page,
    Renewal,
    Run,
    State,
    Store,
)

Fault = Literal["before", "after", "hold", "steal"]
"""`before`: StoreError, and nothing was done. `after`: it was done, and StoreError all the same
(the outcome that nobody can tell from `before`). `hold`: the call waits for `let_go`, and is done
then. `steal`: another worker takes the run first, and hands it back at once."""

Plan = Callable[[str, int], Fault | None]
"""What happens to the nth call (from 1) of a method, by the method's name."""

WRITES: Final = frozenset(
    {"create", "claim", "renew", "release", "append", "trim", "cancel", "amend", "prune"}
    | {"remember", "touch", "evict"}
)
STEALABLE: Final = frozenset({"renew", "release", "append", "trim"})
"""The methods that come with a lease, so that there is something to steal."""

_THIEF: Final = "thief"
_FAR_FUTURE: Final = 1e11  # by then every lease has expired
_T = TypeVar("_T")


def script(faults: Mapping[tuple[str, int], Fault]) -> Plan:
    """Exactly these faults: `{("append", 3): "after"}` strikes the third append."""
    return lambda method, number: faults.get((method, number))


def drawn(
    rng: random.Random,
    *,
    before: float = 0.0,
    after: float = 0.0,
    hold: float = 0.0,
    steal: float = 0.0,
    methods: Collection[str] = WRITES,
) -> Plan:
    """For each call of `methods` one fault at most, each with its chance (0 to 1).

    Where there is no lease to steal, `steal` strikes nothing.
    """
    kinds: tuple[Fault, ...] = ("before", "after", "hold", "steal")
    chances = (before, after, hold, steal)
    if min(chances) < 0 or sum(chances) > 1:
        raise ValueError(f"chances are at least 0 and at most 1 together, not {chances}")

    def plan(method: str, number: int) -> Fault | None:
        if method not in methods:
            return None
        (fault,) = rng.choices((*kinds, None), (*chances, 1 - sum(chances)))
        return None if fault == "steal" and method not in STEALABLE else fault

    return plan


class Statistics(Struct, frozen=True):
    """Calls so far, the faults among them by kind, and the calls that are held up now."""

    calls: int
    before: int
    after: int
    hold: int
    steal: int
    waiting: int


class FaultyStore:
    """Any store, with faults by plan. What is not struck passes through unchanged."""

    def __init__(self, inner: Store, plan: Plan) -> None:
        self._inner, self._plan = inner, plan
        self._calls: Counter[str] = Counter()
        self._faults: Counter[Fault] = Counter()
        self._held: list[asyncio.Event] = []
        self._arrival = asyncio.Event()

    def __repr__(self) -> str:
        return f"<FaultyStore {self.statistics()} around {self._inner!r}>"

    def statistics(self) -> Statistics:
        """What struck so far."""
        return Statistics(
            calls=self._calls.total(),
            before=self._faults["before"],
            after=self._faults["after"],
            hold=self._faults["hold"],
            steal=self._faults["steal"],
            waiting=len(self._held),
        )

    async def holding(self, count: int = 1) -> None:
        """Wait until so many calls are held up."""
        while len(self._held) < count:
            self._arrival.clear()
            await self._arrival.wait()

    def let_go(self) -> int:
        """Let all calls that are held up go on; returns how many there were."""
        held, self._held = self._held, []
        for gate in held:
            gate.set()
        return len(held)

    async def open(self) -> None:
        """See the port."""
        await self._inner.open()

    async def close(self) -> None:
        """See the port. Lets go of what is held up first: a store finishes what it accepted."""
        self.let_go()
        await self._inner.close()

    async def create(
        self, run: Run, first: Segment, *, worker: str | None = None, now: float, ttl: float
    ) -> Created:
        """See the port."""
        return await self._call(
            "create", lambda: self._inner.create(run, first, worker=worker, now=now, ttl=ttl)
        )

    async def run(self, run: str) -> Run | None:
        """See the port."""
        return await self._call("run", lambda: self._inner.run(run))

    async def runs(
        self,
        *,
        pipeline: str | None = None,
        state: State | None = None,
        owner: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """See the port."""
        return await self._call(
            "runs",
            lambda: self._inner.runs(
                pipeline=pipeline, state=state, owner=owner, before=before, limit=limit
            ),
        )

    async def claim(
        self,
        worker: str,
        *,
        pipelines: Sequence[str],
        now: float,
        ttl: float,
        run: str | None = None,
    ) -> Lease | None:
        """See the port."""
        return await self._call(
            "claim",
            lambda: self._inner.claim(worker, pipelines=pipelines, now=now, ttl=ttl, run=run),
        )

    async def renew(
        self, worker: str, leases: Sequence[tuple[str, int]], *, now: float, ttl: float
    ) -> Sequence[Renewal]:
        """See the port."""
        return await self._call(
            "renew",
            lambda: self._inner.renew(worker, leases, now=now, ttl=ttl),
            *(run for run, _ in leases),
        )

    async def release(self, run: str, epoch: int) -> None:
        """See the port."""
        await self._call("release", lambda: self._inner.release(run, epoch), run)

    async def append(
        self, run: str, epoch: int, segment: Segment, mark: Mark | None = None
    ) -> None:
        """See the port."""
        await self._call("append", lambda: self._inner.append(run, epoch, segment, mark), run)

    async def trim(self, run: str, epoch: int, before: Position) -> Position:
        """See the port."""
        return await self._call("trim", lambda: self._inner.trim(run, epoch, before), run)

    async def read(self, run: str, after: Position, *, max_bytes: int = 65_536) -> Page:
        """See the port."""
        return await self._call("read", lambda: self._inner.read(run, after, max_bytes=max_bytes))

    async def cancel(self, run: str, cancellation: Cancellation) -> bool:
        """See the port."""
        return await self._call("cancel", lambda: self._inner.cancel(run, cancellation))

    async def amend(self, run: str, input: bytes) -> bool:
        """See the port."""
        return await self._call("amend", lambda: self._inner.amend(run, input))

    async def prune(self, *, ended_before: float, limit: int = 100) -> Sequence[Run]:
        """See the port."""
        return await self._call(
            "prune", lambda: self._inner.prune(ended_before=ended_before, limit=limit)
        )

    async def recall(self, space: str, key: str, *, now: float) -> bytes | None:
        """See the port."""
        return await self._call("recall", lambda: self._inner.recall(space, key, now=now))

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
        """See the port."""
        await self._call(
            "remember",
            lambda: self._inner.remember(
                space, key, value, now=now, until=until, entries=entries, size=size
            ),
        )

    async def touch(self, space: str, keys: Sequence[str], *, now: float) -> None:
        """See the port."""
        await self._call("touch", lambda: self._inner.touch(space, keys, now=now))

    async def evict(self, *, now: float) -> int:
        """See the port."""
        return await self._call("evict", lambda: self._inner.evict(now=now))

    async def _call(self, method: str, call: Callable[[], Awaitable[_T]], *leased: str) -> _T:
        self._calls[method] += 1
        number = self._calls[method]
        fault = self._plan(method, number)
        if fault is None:
            return await call()
        self._faults[fault] += 1
        if fault == "before":
            raise StoreError(f"{method} {number}: a planned fault, before anything was done")
        if fault == "hold":
            await self._hold()
        elif fault == "steal":
            await self._steal(leased)
        outcome = await call()
        if fault == "after":
            raise StoreError(f"{method} {number}: a planned fault, after it was done")
        return outcome

    async def _hold(self) -> None:
        gate = asyncio.Event()
        self._held.append(gate)
        self._arrival.set()
        try:
            await gate.wait()
        finally:
            if gate in self._held:  # cancelled while held up
                self._held.remove(gate)

    async def _steal(self, runs: Sequence[str]) -> None:
        for name in runs:
            run = await self._inner.run(name)
            if run is None:
                continue
            lease = await self._inner.claim(
                _THIEF, pipelines=[run.pipeline], now=_FAR_FUTURE, ttl=0.0, run=name
            )
            if lease is not None:
                await self._inner.release(name, lease.epoch)
