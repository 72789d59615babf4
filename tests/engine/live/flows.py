"""Live pipelines at work in an engine, on the virtual clock or a real one."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.simulation.house import NoBlobs

from millstream.engine.engine import Engine, EngineOptions, Start
from millstream.engine.follow import Follower
from millstream.engine.live.control import LiveRun
from millstream.events import Event, decode, encode
from millstream.pipeline import Pipeline
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import VirtualLoop


def now() -> float:
    """The running loop's wall clock."""
    loop = asyncio.get_running_loop()
    return loop.now() if isinstance(loop, VirtualLoop) else time.time()


class Flow:
    """One live run, from outside."""

    def __init__(self, engine: Engine, run: str, follower: Follower) -> None:
        self.engine, self.run, self._follower = engine, run, follower
        self.events: list[Event] = []

    @property
    def live(self) -> LiveRun:
        found = self.engine.live(self.run)
        assert found is not None, "it is not worked on here (any more)"
        return found

    async def begun(self) -> LiveRun:
        """Until its steps are there."""
        await until(lambda: self._laid())
        return self.live

    def _laid(self) -> bool:
        found = self.engine.live(self.run)
        return found is not None and found._plane.layout is not None

    async def end(self) -> list[Event]:
        """All its events, when it has ended."""
        while (batch := await self._follower.next()) is not None:
            self.events += [decode(line) for line in batch.events]
        return self.events

    async def seen(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event of this sort."""
        while (batch := await self._follower.next()) is not None:
            new = [decode(line) for line in batch.events]
            self.events += new
            for event in new:
                if wanted(event):
                    return event
        raise AssertionError("the run ended without it")

    def unwatch(self) -> None:
        self._follower.close()


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; it is looked at whenever something may have changed."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


@asynccontextmanager
async def flowing(
    pipeline: Pipeline, input: Any = None, *, store: Any = None, name: str = "r", **start: Any
) -> AsyncIterator[Flow]:
    """A run of this pipeline in an engine of its own, followed from its first event on."""
    ids = itertools.count(1)
    engine = Engine(
        {pipeline.name: pipeline.build()},
        store or MemoryStore(),
        NoBlobs(),  # type: ignore[arg-type]
        now=now,
        chance=random.Random(1).random,
        new_id=lambda: f"{name}{next(ids)}",
        options=EngineOptions(drain=0),
    )
    await engine.open()
    try:
        document = None if input is None else {pipeline.build().input: input}
        run, _ = await engine.start(Start(pipeline.name, encode(document), **start))
        follower = await engine.follow(run.id)
        flow = Flow(engine, run.id, follower)
        yield flow
        flow.unwatch()
    finally:
        await engine.aclose()


def values(events: list[Event], step: str) -> list[Any]:
    """What a step has published, in order."""
    kinds = ("step.partial", "step.result")
    return [event.value for event in events if event.step == step and event.type in kinds]


def of(events: list[Event], type: str, step: str | None = None) -> list[Event]:
    """The events of one type (and step)."""
    return [e for e in events if e.type == type and (step is None or e.step == step)]


def counting(count: int | None, *, pause: float | None = None) -> Callable[..., Any]:
    """A source of 0, 1, 2 ...: inline and at once, or one every `pause` seconds."""

    def numbers() -> Iterator[int]:
        yield from itertools.count() if count is None else range(count)

    async def ticks() -> AsyncIterator[int]:
        for n in itertools.count() if count is None else range(count):
            yield n
            await asyncio.sleep(pause or 0)

    return numbers if pause is None else ticks
