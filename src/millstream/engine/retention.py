"""Retention: a live run's log forgets its beginning while it grows.

Stands between the journal and the tail: what has become durable passes through to the readers, and
is counted. What goes, and when, is decided by `core/retention.py`. A reader who falls off the end
is told so in-band (`log.gap`), since the tail knows how far back the log goes.
"""

import asyncio
from collections.abc import Callable

import structlog

from millstream.core.retention import Marks
from millstream.engine.tail import Tail
from millstream.errors import StaleEpoch, StoreError
from millstream.events import Segment
from millstream.policy import Retain
from millstream.store import Lease, Store

log = structlog.get_logger("millstream.retention")


class Keeper:
    """Keeps one run's log short, by right of its lease; `publish` takes the place of the tail's."""

    def __init__(
        self, store: Store, lease: Lease, tail: Tail, policy: Retain, *, now: Callable[[], float]
    ) -> None:
        self._store, self._lease, self._tail, self._now = store, lease, tail, now
        last = lease.run.seq
        self._marks = Marks(policy, first=tail.first, last=last, now=now())
        self._trimming: asyncio.Task[None] | None = None

    def publish(self, segment: Segment, *, ended: bool) -> None:
        """A segment has become durable: to the readers, and perhaps the oldest ones may go."""
        self._tail.publish(segment, ended=ended)
        moment = self._now()
        self._marks.note(segment.last, moment)
        if self._trimming is not None and not self._trimming.done():
            return
        before = self._marks.due(moment)
        if before is not None and not ended:
            self._trimming = asyncio.create_task(self._trim(before))

    async def _trim(self, before: int) -> None:
        run, epoch = self._lease.run.id, self._lease.epoch
        try:
            first = await self._store.trim(run, epoch, before)
        except StaleEpoch:
            return  # the run has ended, or is another worker's
        except StoreError as error:
            log.warning("trim_failed", run=run, error=error.message)  # tried again as it grows
            return
        self._marks.trimmed(first)
        self._tail.trimmed(first)

    def __repr__(self) -> str:
        return f"<Keeper of {self._lease.run.id}: {self._marks!r}>"
