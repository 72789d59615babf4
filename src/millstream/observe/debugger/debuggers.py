"""Debuggers: one for each live run of this process, all looked at by one timer, each second.

So alerts fire whether or not somebody looks. Each is closed when its run has ended.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import structlog

from millstream.engine.engine import Engine
from millstream.errors import Conflict, MillstreamError, NotFound
from millstream.events import (
    FLOW_DROPPED,
    STEP_DEGRADED,
    STEP_FAILED,
    STEP_RECOVERED,
    Event,
    decode,
)
from millstream.observe.debugger.alerts import AlertRules
from millstream.observe.debugger.debugger import Debugger
from millstream.observe.machine import MachineMeter

log = structlog.get_logger("millstream.debugger")

EVERY = 1.0
"""Seconds between two looks."""

_TOLD = tuple(
    f'"type":"{type}"'.encode()
    for type in (STEP_FAILED, STEP_DEGRADED, STEP_RECOVERED, FLOW_DROPPED)
)


class Debuggers:
    """Of one engine. `start` in its loop; `stop` at its end."""

    def __init__(self, engine: Engine, rules: AlertRules | None = None) -> None:
        self._engine, self.rules = engine, rules or AlertRules()
        self._debuggers: dict[str, Debugger] = {}
        self._machine = MachineMeter()
        self._task: asyncio.Task[None] | None = None
        self._over: Counter[tuple[str, str]] = Counter()
        """Alerts that have fired in runs that are over."""

    def start(self) -> None:
        """Look each second, from now on."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for run in list(self._debuggers):
            self._close(run)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """One round. What goes wrong with one run leaves the others alone."""
        lives = self._engine.lives()
        for run in [run for run in self._debuggers if run not in lives]:
            self._close(run)
        for run in lives:
            try:
                await self.of(run).look()
            except (Conflict, NotFound):
                continue  # it has not begun, or has just ended
            except MillstreamError as error:
                log.warning("debugger_failed", run=run, error=error.message)
            except Exception:
                log.exception("debugger_failed", run=run)

    def of(self, run: str) -> Debugger:
        """A live run's debugger. Raises NotFound where the run is not at work in this process."""
        found = self._debuggers.get(run)
        if found is None:
            live = self._engine.live(run)
            if live is None:
                raise NotFound(f"run {run!r} is not live here (any more)")
            found = self._debuggers[run] = Debugger(
                run,
                live,
                now=self._engine.now,
                log=_Log(self._engine, run).read,
                machine=self._machine,
                rules=self.rules,
            )
        return found

    def all(self) -> Sequence[Debugger]:
        """Of the runs that are live now."""
        return list(self._debuggers.values())

    def fired(self) -> Counter[tuple[str, str]]:
        """How many alerts have fired so far, by type and severity."""
        return sum((Counter(each.fired) for each in self.all()), Counter(self._over))

    def _close(self, run: str) -> None:
        debugger = self._debuggers.pop(run)
        self._over.update(debugger.fired)
        debugger.close()


class _Log:
    """What a run's log says of trouble, from when it is first asked. Reads the store and does not
    follow: who debugs a run is none who watches its results."""

    def __init__(self, engine: Engine, run: str) -> None:
        self._engine, self._run = engine, run
        self._cursor: int | None = None

    async def read(self) -> list[Event]:
        """The events since the last call."""
        store = self._engine.store
        if self._cursor is None:
            self._cursor = (await store.read(self._run, 0, max_bytes=0)).last
            return []
        found: list[Event] = []
        while True:
            page = await store.read(self._run, self._cursor, max_bytes=1 << 20)
            for segment in page.segments:
                lines = segment.after(self._cursor).events
                found += [decode(line) for line in lines if _is_trouble(line)]
                self._cursor = segment.last
            if not page.segments:
                return found


def _is_trouble(line: bytes) -> bool:
    head = line[:200]
    return any(told in head for told in _TOLD)
