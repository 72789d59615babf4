"""StreamDebugger: the engine's debugger, looking at streams by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec

from millstream import (
    AlertRules,
    DebugEvent,
    DebugExport,
    Debugger,
    DebugReport,
    MachineMeter,
    Snapshot,
    Threshold,
    read_export,
)
from millstream_apps.nodeflow.streaming.engine import StreamEngine


class StreamDebugger:
    """Looks at a StreamEngine each second while it records."""

    def __init__(self, engine: StreamEngine, *, every: float = 1.0) -> None:
        self._engine, self._every = engine, every
        self.debugger = Debugger(
            "streams", engine, now=engine.now, machine=MachineMeter(), samples=0
        )
        self._task: asyncio.Task[None] | None = None
        self._unlisten: Any = None

    def start_recording(self) -> None:
        """Begin: a snapshot a second, alerts, and every debug event (the newest 10,000)."""
        if self._task is None:
            self.debugger.start_recording()
            self._unlisten = self._engine.listen(self.debugger.note)
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def stop_recording(self) -> None:
        """End; what was recorded stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._unlisten()
            self.debugger.stop_recording()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.debugger.look()

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """Each snapshot while it records, from here on."""
        async for taken in self._told("debug.snapshot", Snapshot):
            yield taken

    async def alerts(self) -> AsyncIterator[dict[str, Any]]:
        """Each alert as it fires (and, with `cleared`, as it clears), from here on."""
        async for alert in self._told("debug.alert", dict[str, Any], "debug.cleared"):
            yield alert

    async def _told(self, kind: str, type: Any, other: str = "") -> AsyncIterator[Any]:
        reader = self.debugger.follow()
        try:
            while (batch := await reader.next()) is not None:
                for line in batch.events:
                    event = msgspec.json.decode(line)
                    if event["type"] in (kind, other):
                        yield msgspec.convert(event["data"], type)
        finally:
            reader.close()

    def get_event_history(self) -> list[DebugEvent]:
        """What was recorded, oldest first."""
        return self.debugger.history()

    def get_events_for_connection(self, id: str) -> list[DebugEvent]:
        """Of one connection."""
        return self.debugger.history(id)

    def get_performance_report(self) -> DebugReport:
        """`overview`, `recent_alerts`, `top_connections`."""
        return self.debugger.report()

    def export_debug_data(self) -> DebugExport:
        """All that was recorded; `msgspec.json.encode` makes its file."""
        return read_export(self.debugger.export())

    def clear_history(self) -> None:
        """Forget it."""
        self.debugger.clear_history()

    def set_thresholds(self, **thresholds: Threshold) -> AlertRules:
        """`latency` (ms), `error_rate`, `backpressure`, `memory`: from where on alerts fire."""
        self.debugger.rules = msgspec.structs.replace(self.debugger.rules, **thresholds)
        return self.debugger.rules
