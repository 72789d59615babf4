"""Server-Sent Events (WHATWG HTML, "Server-sent events"): `event:` on line 1, `data:` on line 2,
`id:` on line 3, LF only. Some clients destructure a block into its first two lines.
"""

from collections.abc import Sequence
from functools import lru_cache

from millstream.events import Segment, Single
from millstream.wire import Wire, kind, one_line, position

RETRY_MS = 1000


def frame(line: bytes) -> bytes:
    """One encoded event."""
    return b"event: %b\ndata: %b\nid: %b\n\n" % (kind(line), line, position(line))


def frames(lines: Sequence[bytes]) -> bytes:
    """Several, for one write.

    Events of one log stand one after another, so each one's number and the place of its type
    follow from the first one's; only where the type changes is it read.
    """
    if not lines:
        return b""
    number = int(position(lines[0]))
    if any(int(position(line)) != at for at, line in enumerate(lines, number)):
        return b"".join(map(frame, lines))  # notices stand among them
    return b"".join(_numbered(lines, number))


def _numbered(lines: Sequence[bytes], number: int) -> list[bytes]:
    """Each framed; the first one has that position."""
    place, longer = lines[0].index(b'"type":"') + 8, 10 ** len(str(number))
    parts: list[bytes] = []
    known, opening = b"", b""
    for line in lines:
        if number == longer:  # one digit more, from here on
            place, longer = place + 1, longer * 10
        if not (known and line.startswith(known, place)):
            name = kind(line)
            known, opening = name + b'"', b"event: %b\ndata: " % name
        parts += (opening, line, b"\nid: %d\n\n" % number)
        number += 1
    return parts


_CLOSING = b"\nid: %d\n\n"


@lru_cache(maxsize=16)
def _opening(kind: bytes) -> bytes:
    return b"event: " + kind + b"\ndata: "


def segment(events: Segment) -> bytes:
    """A whole segment. What its events have in common is framed once."""
    pieces = events.pieces
    if isinstance(pieces, Single):
        return pieces.filled(events.first, _opening(pieces.pattern.kind), _CLOSING, id=True)
    parts: list[bytes] = []
    lines: list[bytes] = []
    number = events.first
    for piece in pieces:
        if isinstance(piece, bytes):
            lines.append(piece)
            continue
        if lines:
            parts += _numbered(lines, number)
            number += len(lines)
            lines = []
        parts.append(piece.filled(number, _opening(piece.pattern.kind), _CLOSING, id=True))
        number += len(piece.data)
    if lines:
        parts += _numbered(lines, number)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def message(event: str | None, data: bytes, id: int | None) -> bytes:
    """A dialect's own message."""
    name = b"" if event is None else b"event: " + one_line(event) + b"\n"
    mark = b"" if id is None else b"id: %d\n" % id
    return b"%bdata: %b\n%b\n" % (name, data, mark)


def with_retry(frames: bytes, milliseconds: int = RETRY_MS) -> bytes:
    """The first frame told when to reconnect. Its own last line, since a block of `retry:` alone
    would surprise clients that expect an event in every block."""
    end = frames.index(b"\n\n")
    return b"%b\nretry: %d%b" % (frames[:end], milliseconds, frames[end:])


SSE = Wire(
    name="sse",
    content_type="text/event-stream; charset=utf-8",
    frames=frames,
    segment=segment,
    message=message,
    heartbeat=b": \n\n",
    farewell=b"retry: %d\n\n" % RETRY_MS,
)
