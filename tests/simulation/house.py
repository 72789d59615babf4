"""Engines over one store, the trouble that a test makes for them, followers that come and go."""

import asyncio
import itertools
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from millstream.core.graph import Graph
from millstream.engine.channel import Channel
from millstream.engine.engine import Engine, EngineOptions
from millstream.engine.follow import Follower
from millstream.errors import NotFound, StaleEpoch, StoreError
from millstream.events import (
    LOG_GAP,
    LOG_MERGED,
    STEP_PROGRESS,
    TERMINAL,
    Event,
    decode,
    flatten,
)
from millstream.store import Store
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import virtual_now

WRITES = frozenset({"create", "claim", "renew", "release", "append", "cancel", "prune"})


class NoBlobs:
    """A blob store that holds nothing."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def path(self, blob: str) -> Path:
        raise KeyError(blob)

    async def delete(self, blobs: Collection[str]) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody should ask for {name}")


class Line:
    """One engine's line to the shared store: it can be cut for ever, or held up for a while.

    The store itself is opened once: opening it again would void the leases of the others.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clear = asyncio.Event()
        self._clear.set()
        self.dead = False
        self.refused = 0
        self.waiting = 0

    def hold(self) -> None:
        self._clear.clear()

    def let_go(self) -> None:
        self._clear.set()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.waiting += 1
            try:
                await self._clear.wait()
            finally:
                self.waiting -= 1
            if self.dead:
                raise StaleEpoch("any", 0) if name == "append" else StoreError("dead")
            try:
                return await method(*args, **kwargs)
            except StaleEpoch:
                self.refused += 1
                raise

        return call


_house: ContextVar[str] = ContextVar("house", default="")


class House:
    """Several engines on one store and one clock. `kill` ends one as a power cut would."""

    def __init__(self, graphs: Mapping[str, Graph], seed: int, **options: Any) -> None:
        self.graphs, self.options = graphs, EngineOptions(**options)
        self.rng = random.Random(seed)
        self.ids = itertools.count()
        self.store = MemoryStore()
        self.engines: dict[str, Engine] = {}
        self.lines: dict[str, Line] = {}
        self._tasks: dict[str, dict[asyncio.Task[Any], None]] = {}
        asyncio.get_running_loop().set_task_factory(self._task)

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **more)
        mine = self._tasks.setdefault(_house.get(), {})  # a dict: in order
        mine[task] = None
        task.add_done_callback(lambda done: mine.pop(done, None))
        return task

    async def engine(self, name: str) -> Engine:
        """One more engine, open."""
        line = self.lines[name] = Line(self.store)
        token = _house.set(name)
        try:
            engine = self.engines[name] = Engine(
                self.graphs,
                line,  # type: ignore[arg-type]
                NoBlobs(),  # type: ignore[arg-type]
                now=virtual_now,
                chance=self.rng.random,
                new_id=lambda: f"{name}{next(self.ids)}",
                options=self.options,
            )
            await engine.open()
        finally:
            _house.reset(token)
        return engine

    def tasks(self, name: str) -> list[asyncio.Task[Any]]:
        """What an engine has under way."""
        return [task for task in self._tasks.get(name, {}) if not task.done()]

    async def kill(self, name: str) -> None:
        """No goodbye: nothing of it reaches the store from now on, and its tasks end."""
        line = self.lines[name]
        line.dead = True
        line.let_go()
        for _ in range(50):
            left = self.tasks(name)
            if not left:
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1)
        assert not self.tasks(name), self.tasks(name)
        del self.engines[name]

    async def close(self) -> None:
        """Close what is still alive; nothing may be left."""
        for line in self.lines.values():
            line.let_go()
        for name, engine in list(self.engines.items()):
            await engine.aclose()
            assert not self.tasks(name), f"left over after aclose: {self.tasks(name)}"
            assert len(engine.tails) == engine.tails.watchers, engine

    async def log(self, run: str) -> list[bytes]:
        """The log as the store has it."""
        page = await self.store.read(run, 0, max_bytes=1 << 30)
        return flatten(page.segments)

    async def ended(self, run: str, limit: float = 3000.0) -> None:
        """Until the log has ended. A run that does not end in this time never will."""
        for _ in range(int(limit * 2)):
            found = await self.store.run(run)
            if found is not None and found.ended is not None:
                return
            await asyncio.sleep(0.5)
        raise TimeoutError(f"run {run} does not end")


class Listener:
    """A follower that lags, leaves and comes back, on whichever engine is there."""

    def __init__(self, house: House, run: str, rng: random.Random, after: int = 0) -> None:
        self.house, self.run, self.rng = house, run, rng
        self.began = self.cursor = after
        self.seen: list[tuple[int, bytes]] = []
        self.done = False

    async def listen(self) -> None:
        """Until the terminal event has come."""
        while not self.done:
            name = self.rng.choice([*self.house.engines] or [""])
            if not name:
                await asyncio.sleep(1)
                continue
            with suppress(NotFound, StoreError):
                await self._sit(self.house.engines[name], name)
            await asyncio.sleep(self.rng.choice([0, 0.01, 1, 4]))

    async def _sit(self, engine: Engine, name: str) -> None:
        follower = await engine.follow(self.run, self.cursor)
        try:
            for _ in range(self.rng.choice([1, 3, 10, 1000])):
                if not await self._take(follower):
                    return
                await asyncio.sleep(self.rng.choice([0, 0, 0.05, 2.0]))
                if name not in self.house.engines:
                    return
        finally:
            follower.close()

    async def _take(self, follower: Follower) -> bool:
        try:
            async with asyncio.timeout(7):
                batch = await follower.next()
        except TimeoutError:
            return False
        if batch is None:
            self.done = True
            return False
        for line in batch.events:
            event = decode(line)
            first = event.value["from"] if event.type in (LOG_MERGED, LOG_GAP) else event.seq
            assert first == self.cursor + 1, f"{first} follows {self.cursor}"
            self.cursor = event.seq
            self.seen.append((event.seq, line))
        assert batch.last == self.cursor
        return True

    def check(self, log: list[bytes]) -> None:
        """It has seen exactly the log after its first cursor, but for superseded progress."""
        assert self.cursor == len(log)
        covered = self.began
        for seq, line in self.seen:
            event = decode(line)
            if event.type == LOG_MERGED:
                for merged in log[event.value["from"] - 1 : event.value["to"]]:
                    assert decode(merged).type == STEP_PROGRESS
            else:
                assert line == log[seq - 1]
            covered = event.seq
        assert covered == len(log)


@contextmanager
def bounded_channels() -> Iterator[None]:
    """No channel ever holds more than its size."""
    original = Channel.put

    async def put(self: Channel[Any], message: Any) -> None:
        await original(self, message)
        found = self.statistics()
        assert found.waiting <= found.size, found

    Channel.put = put  # type: ignore[method-assign]
    try:
        yield
    finally:
        Channel.put = original  # type: ignore[method-assign]


# --- the laws that can be read off a log ----------------------------------------------------------


def check_log(lines: list[bytes], graph: Graph, *, stable: bool) -> list[Event]:
    """Positions without gaps, one end and that last, attempts in order, nothing redone."""
    events = [decode(line) for line in lines]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.terminal for event in events] == [False] * (len(events) - 1) + [True]
    assert [event.type for event in events if event.type == "run.started"] in ([], ["run.started"])
    check_attempts(events, graph, stable=stable)
    return events


def check_attempts(events: list[Event], graph: Graph, *, stable: bool) -> None:
    """Each step's attempts at each item: begun, told, ended, one after the other."""
    open_attempt: dict[tuple[str, int | None], int] = {}
    last: dict[tuple[str, int | None], str] = {}
    attempts: dict[tuple[str, int | None], int] = {}
    for event in events:
        if event.step is None or event.type in TERMINAL:
            continue
        key = (event.step, event.item)
        if event.type == "step.started":
            assert event.attempt == attempts.get(key, 0) + 1, event
            attempts[key] = event.attempt
            if stable and not graph.steps[event.step].internal:
                assert last.get(key) not in ("result", "failed"), f"begun again: {event}"
            open_attempt[key], last[key] = event.attempt, "started"
            continue
        assert event.attempt == attempts.get(key), event
        if event.type in ("step.partial", "step.progress", "step.result"):
            assert open_attempt.get(key) == event.attempt, event
        if event.type in ("step.result", "step.failed"):
            open_attempt.pop(key, None)
            again = event.type == "step.failed" and (
                event.value["will_retry"] or event.value["fallback"]
            )
            last[key] = "again" if again else event.type.removeprefix("step.")


def raw(value: Any) -> bytes:
    """JSON, keys sorted: for comparisons."""
    return msgspec.json.encode(value, order="sorted")
