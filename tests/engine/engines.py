"""Engines on the virtual clock, and a pipeline that sleeps, for the tests of this folder."""

import asyncio
import itertools
import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

from millstream.engine.engine import Engine, EngineOptions, Start
from millstream.events import Event, decode, encode
from millstream.pipeline import Pipeline
from millstream.store import Cancellation
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now

WISH = Cancellation(by="test", reason="enough")


class Blobs:
    def __init__(self) -> None:
        self.deleted: list[str] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def path(self, blob: str) -> Path:
        return Path(blob)

    async def delete(self, blobs: Collection[str]) -> None:
        self.deleted += blobs


class Shared:
    """One store for several engines: opening it does not void the leases of the others."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def engine(
    pipeline: Pipeline, store: Any = None, *, now: Any = virtual_now, **options: Any
) -> Engine:
    ids = itertools.count(1)
    name = options.pop("name", "r")
    return Engine(
        {pipeline.name: pipeline.build()},
        store or MemoryStore(),
        Blobs(),  # type: ignore[arg-type]
        now=now,
        chance=random.Random(1).random,
        new_id=lambda: f"{name}{next(ids)}",
        options=EngineOptions(**options),
    )


def sleeper() -> Pipeline:
    """Sleeps as long as its input says."""
    pipeline = Pipeline("p")

    @pipeline.step
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    return pipeline


async def events(found: Engine, run: str) -> list[Event]:
    """The whole log, when it has ended."""
    follower = await found.follow(run)
    lines = [decode(line) async for batch in follower.batches() for line in batch.events]
    follower.close()
    return lines


def napping(seconds: float, **more: Any) -> Start:
    return Start("p", encode({"seconds": seconds}), **more)


def virtual(test):
    """Run an async test on the virtual clock, for a day at most."""

    def run():
        async def main():
            async with asyncio.timeout(86_400):
                await test()

        run_virtual(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
