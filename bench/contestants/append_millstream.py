"""Millstream's own Journal over its SQLite store: what every event of a run goes through."""

import sys
import time
import uuid

import uvloop

from bench.contestants.appending import Asked, Latencies, tell, timed
from millstream.engine.journal import Clock, Journal
from millstream.engine.observer import Observer
from millstream.engine.tail import Tail
from millstream.events import (
    RUN_COMPLETED,
    RUN_QUEUED,
    RUN_STARTED,
    STEP_PARTIAL,
    Event,
    Segment,
    decode,
    encode,
)
from millstream.store import Run
from millstream.stores.sqlite import SqliteStore


class TimedTail(Tail):
    """Notes when each event becomes visible."""

    def __init__(self, run: str, latencies: Latencies) -> None:
        super().__init__(run, first=1, last=1, ended=False)
        self.began: list[float] = []
        self.latencies = latencies

    def publish(self, segment: Segment, *, ended: bool) -> None:
        super().publish(segment, ended=ended)
        moment, at = time.perf_counter(), segment.first - 3  # the first two are the run's own
        for position in range(max(at, 0), min(segment.last - 2, len(self.began))):
            self.latencies.took.append(moment - self.began[position])


async def main() -> None:
    asked = Asked()
    sys.setswitchinterval(0.001)  # as `millstream serve` does
    store = SqliteStore(asked.folder / "log.db")
    await store.open()
    latencies = Latencies()
    journals: list[tuple[Journal, TimedTail]] = []
    ids = [str(uuid.uuid4()) for _ in range(asked.runs)]
    for run in ids:
        first = Segment(1, (encode(Event(run=run, seq=1, type=RUN_QUEUED)),))
        created = await store.create(
            Run(id=run, pipeline="ticks", created=time.time()),
            first,
            worker="bench",
            now=time.time(),
            ttl=3600,
        )
        assert created.lease is not None
        tail = TimedTail(run, latencies)
        journal = Journal(store, created.lease, tail, clock=Clock(time.time), observer=Observer())
        journals.append((journal, tail))

    async def write(number: int) -> None:
        journal, tail = journals[number]
        journal.append(RUN_STARTED)
        pen = journal.pen(STEP_PARTIAL, step="tick", item=None, attempt=1, fallback=False)
        for _ in range(asked.events):
            tail.began.append(time.perf_counter())
            pen(time.time_ns())
            if asked.window == 1:
                await journal.flush()
            elif journal.crowded:
                await journal.room()
        await journal.flush()
        journal.append(RUN_COMPLETED)
        await journal.close()

    before = store.statistics().commits
    figures = await timed(asked, write)
    commits = store.statistics().commits - before
    found: dict[str, list[int]] = {}
    for run in ids:
        found[run] = await _positions(store, run)
    await store.close()
    tell({**figures, **latencies.report(), "commits": commits}, found, asked)


async def _positions(store: SqliteStore, run: str) -> list[int]:
    """Of the partials, counted from 1; everything else must be in its place, too."""
    positions: list[int] = []
    cursor = 0
    while (page := await store.read(run, cursor)).segments:
        for event in (decode(line) for part in page.segments for line in part.events):
            cursor += 1
            if event.seq == cursor and event.type == STEP_PARTIAL:
                positions.append(event.seq - 2)
    return positions


if __name__ == "__main__":
    uvloop.run(main())
