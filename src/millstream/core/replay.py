"""What a reader gets next: catch up, follow, be told of a gap, or end. Pure.

A reader is a cursor. It holds no queue; what it has not taken stays in the log.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from millstream.events import (
    LOG_GAP,
    LOG_MERGED,
    STEP_PROGRESS,
    Position,
    Segment,
    decode_head,
    notice,
)


class Edge(Struct, frozen=True):
    """What is known of a log: the oldest position still kept, the newest that is durable, the
    oldest that is at hand in memory (newest + 1 where none is), and whether it has ended."""

    first: Position
    last: Position
    held: Position
    ended: bool


_PROGRESS = b'"type":"step.progress"'
_FRONT = 160  # bytes at the front of an envelope in which its type stands

Next = Literal["wait", "tail", "store", "gap", "end"]


def decide(cursor: Position, edge: Edge) -> Next:
    """What a reader at `cursor` does next.

    "gap": retention took positions cursor + 1 … first - 1. "tail": what follows is at hand in
    memory; "store": it must be read from the store. "end": everything was delivered, and nothing
    more will come.
    """
    if cursor >= edge.last:
        return "end" if edge.ended else "wait"
    if cursor + 1 < edge.first:
        return "gap"
    return "tail" if cursor + 1 >= edge.held else "store"


def gap(run: str, cursor: Position, first: Position, time: str) -> bytes:
    """The notice for what retention took: `log.gap` over cursor + 1 … first - 1."""
    return notice(run, LOG_GAP, cursor + 1, first - 1, time)


def merge(run: str, events: Sequence[bytes], first: Position, time: str) -> list[bytes]:
    """A lagging reader's share: `step.progress` events that a later one of the same step and item
    supersedes become `log.merged` notices; all else stays, in order (law 5).

    `events` are consecutive, from position `first` on. What comes back covers the same positions:
    kept events and the ranges of the notices, without gap or overlap.
    """
    superseded = _superseded(events)
    if not superseded:
        return list(events)
    kept: list[bytes] = []
    run_start: int | None = None
    for offset, event in enumerate(events):
        if offset in superseded:
            run_start = offset if run_start is None else run_start
            continue
        if run_start is not None:
            kept.append(notice(run, LOG_MERGED, first + run_start, first + offset - 1, time))
            run_start = None
        kept.append(event)
    return kept


def _superseded(events: Iterable[bytes]) -> set[int]:
    """Offsets of progress events that a later one replaces. (The last one always stays, so a
    merged range never ends the batch.)"""
    latest: dict[tuple[str | None, int | None], int] = {}
    gone: set[int] = set()
    for offset, event in enumerate(events):
        if event.find(_PROGRESS, 0, _FRONT) < 0:
            continue  # spares the decoding
        head = decode_head(event)
        if head.type != STEP_PROGRESS:
            continue
        key = (head.step, head.item)
        if key in latest:
            gone.add(latest[key])
        latest[key] = offset
    return gone


def take(segments: Sequence[Segment], cursor: Position) -> list[Segment]:
    """The parts of some segments behind the cursor."""
    return [segment.after(cursor) for segment in segments if segment.last > cursor]
