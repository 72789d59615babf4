"""The adapters of the store port, one file each; and the two checks that all of them make.

Imports `store`, `events` and the standard library. Names no adapter: settings choose one.
"""

from millstream.events import Position, Segment
from millstream.store import ENDED, Run


def check_new(run: Run, first: Segment) -> None:
    """Raises ValueError where a run cannot begin like this (law 1, from the first event on)."""
    check_next(run.id, first, 0)
    if run.state in ENDED:
        raise ValueError(f"run {run.id}: a new run cannot be {run.state} already")


def check_next(run: str, segment: Segment, last: Position) -> None:
    """Raises ValueError where `segment` does not continue a log that ends at `last` (law 1)."""
    if segment.first != last + 1 or segment.last < segment.first:
        raise unfit(run, segment, last)


def unfit(run: str, segment: Segment, last: Position) -> ValueError:
    """Why `segment` does not."""
    if segment.last < segment.first:
        return ValueError(f"run {run}: a segment holds at least one event, this one holds none")
    return ValueError(f"run {run}: the next position is {last + 1}, not {segment.first}")


def fit(segment: Segment, max_bytes: int, *, at_least: int) -> Segment:
    """The events from its start on that fit into `max_bytes` of NDJSON; `at_least` so many."""
    if segment.size <= max_bytes:
        return segment
    left = max_bytes
    for count, event in enumerate(segment.events):
        left -= len(event) + 1
        if left < 0:
            return Segment(segment.first, segment.events[: max(count, at_least)])
    return segment
