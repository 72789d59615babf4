"""Event <-> bytes, for each framing. Pure: no transport, no clock; of ours only `events`, `errors`.

An event arrives here encoded; framing it is cutting and joining bytes, never encoding again.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from millstream.events import Segment, decode_head


class Wire(Struct, frozen=True):
    """One framing over HTTP. `frames` turns encoded events into bytes for one write, `segment` a
    whole segment; `heartbeat` is sent when nothing else is (empty: this framing has none).
    `farewell` is sent by a server that goes, to a client that was told nothing yet."""

    name: str
    content_type: str
    frames: Callable[[Sequence[bytes]], bytes]
    segment: Callable[[Segment], bytes]
    message: Callable[[str | None, bytes, int | None], bytes]
    heartbeat: bytes = b""
    farewell: bytes = b""


def position(line: bytes) -> bytes:
    """The digits of `seq` in an encoded event. (The envelope's fields have a fixed order.)"""
    start = line.index(b'"seq":') + 6
    return line[start : line.index(b",", start)]


def kind(line: bytes) -> bytes:
    """The `type` of an encoded event, in one line of UTF-8."""
    start = line.index(b'"type":"') + 8
    name = line[start : line.index(b'"', start)]
    if 0x5C in name:  # a backslash: an app's own name with a quote or worse in it
        return one_line(decode_head(line).type)
    return name


def one_line(name: str) -> bytes:
    """A name that cannot end its line, whatever it holds: for framings by lines."""
    return name.replace("\r", " ").replace("\n", " ").encode()
