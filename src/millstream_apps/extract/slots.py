"""Slots: how many URLs of one run are fetched at a time, and whether new ones may begin.

One object a process. What it knows of a run is forgotten when nobody waits for it or works: the
log holds all that lasts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class _Lane:
    """One run's places, and until when each of its URLs may take."""

    def __init__(self, places: int) -> None:
        self.free = asyncio.Semaphore(places)
        self.users = 0
        self.deadlines: dict[int | None, float] = {}


class Slots:
    """Places for fetches, by run. `now` is a clock of seconds that only goes forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lanes: dict[str, _Lane] = {}
        self._paused: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def place(
        self, run: str, item: int | None, *, places: int, seconds: float
    ) -> AsyncIterator[float]:
        """Wait for one of a run's `places`, and hold it. Gives the seconds that are left for this
        URL: counted from when it first had a place, over all attempts."""
        lane = self._lanes.setdefault(run, _Lane(places))
        lane.users += 1
        try:
            async with lane.free:
                while (resumed := self._paused.get(run)) is not None:
                    await resumed.wait()
                now = self._now()
                yield max(0.0, lane.deadlines.setdefault(item, now + seconds) - now)
        finally:
            lane.users -= 1
            if not lane.users and self._lanes.get(run) is lane and not lane.deadlines:
                del self._lanes[run]

    def done(self, run: str, item: int | None) -> None:
        """A URL needs no further attempt."""
        lane = self._lanes.get(run)
        if lane is None:
            return
        lane.deadlines.pop(item, None)
        if not lane.users and not lane.deadlines:
            del self._lanes[run]

    def pause(self, run: str) -> None:
        """Let no further URL of a run begin, until `resume`."""
        self._paused.setdefault(run, asyncio.Event())

    def resume(self, run: str) -> bool:
        """Go on. False where the run was not paused."""
        resumed = self._paused.pop(run, None)
        if resumed is not None:
            resumed.set()
        return resumed is not None

    def __repr__(self) -> str:
        return f"<Slots of {len(self._lanes)} runs, {len(self._paused)} paused>"
