"""NDJSON: one envelope a line. Encoded events are that already."""

from collections.abc import Sequence

from millstream.events import Segment
from millstream.wire import Wire


def frames(lines: Sequence[bytes]) -> bytes:
    """Several, for one write."""
    return b"\n".join(lines) + b"\n" if lines else b""


def message(event: str | None, data: bytes, id: int | None) -> bytes:
    """A dialect's own message: its data; a line has no place for more."""
    return data + b"\n"


NDJSON = Wire(
    name="ndjson",
    content_type="application/x-ndjson",
    frames=frames,
    segment=Segment.ndjson,
    message=message,
)
