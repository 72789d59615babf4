"""WebSocket frames: text, one JSON object each. Events go out as they are; requests come in here.

`{"type": "subscribe", "run": "…", "after": 7}` and the like. `ref`, where a client gives one, comes
back in the answer.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from millstream.errors import MillstreamError, RequestError
from millstream.events import Position, Segment, Single, encode, filled

TEXT, BINARY, PING = 0x1, 0x2, 0x9
"""Opcodes (RFC 6455, section 11.8)."""

COMMON = 4096
"""Bytes below which the head of a message of that size is kept."""

Ref = str | int | None
Cursor = Annotated[int, Meta(ge=0, lt=10**18)]
Seconds = Annotated[float, Meta(gt=0, lt=1e9)]
Key = Annotated[str, Meta(min_length=1, max_length=255)]


class Subscribe(Struct, tag="subscribe", tag_field="type"):
    """Follow a run behind a cursor."""

    run: str
    after: Cursor = 0
    ref: Ref = None


class Unsubscribe(Struct, tag="unsubscribe", tag_field="type"):
    """Follow it no longer. The run goes on."""

    run: str
    ref: Ref = None


class Start(Struct, tag="start", tag_field="type"):
    """Start a run and follow it. `timeout`: seconds until its deadline; `unwatched`: cancel it when
    nobody has followed it for so many; `key`: the idempotency key."""

    pipeline: str
    input: dict[str, Any] = {}
    timeout: Seconds | None = None
    unwatched: Seconds | None = None
    key: Key | None = None
    on_disconnect: Literal["detach", "cancel"] = "detach"
    ref: Ref = None


class Cancel(Struct, tag="cancel", tag_field="type"):
    """Stop a run."""

    run: str
    reason: str = "asked to"
    ref: Ref = None


class Ping(Struct, tag="ping", tag_field="type"):
    """Answered by `pong`."""

    ref: Ref = None


Request = Subscribe | Unsubscribe | Start | Cancel | Ping
_decoder = msgspec.json.Decoder(Request)


class _Referred(Struct):
    ref: Ref = None


_refs = msgspec.json.Decoder(_Referred)


def parse(frame: str | bytes) -> Request:
    """A client's frame. Raises RequestError, naming the field."""
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RequestError(f"not a request of this socket: {error}") from error


def ref_of(frame: str | bytes) -> Ref:
    """The `ref` of a frame that `parse` refused, where it can still be read."""
    try:
        return _refs.decode(frame).ref
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def head(size: int, opcode: int = TEXT) -> bytes:
    """What stands before a payload of so many bytes: a server's frame, final and unmasked (RFC
    6455, section 5.2)."""
    first = 0x80 | opcode
    if size < 126:
        return b"%c%c" % (first, size)
    if size < 65_536:
        return b"%c\x7e" % first + size.to_bytes(2, "big")
    return b"%c\x7f" % first + size.to_bytes(8, "big")


class _Heads(dict[int, bytes]):
    """Heads of text messages by size, made once: sizes of events come again and again."""

    def __missing__(self, size: int) -> bytes:
        made = head(size)
        if size < COMMON:
            self[size] = made
        return made


_heads = _Heads()


def frames(texts: Iterable[bytes]) -> bytes:
    """Text messages as a server's frames, ready to be written."""
    parts: list[bytes] = []
    for text in texts:
        parts += (_heads[len(text)], text)
    return b"".join(parts)


def segment(events: Segment) -> bytes:
    """A whole segment, each event a frame. What its events have in common is not made anew for
    each of them."""
    if isinstance(events.pieces, Single):
        text = events.pieces.filled(events.first, b"", b"")
        return _heads[len(text)] + text
    parts: list[bytes] = []
    number = events.first
    for piece in events.pieces:
        if isinstance(piece, bytes):
            parts += (_heads[len(piece)], piece)
            number += 1
            continue
        line = piece.pattern.before + piece.time + piece.pattern.after
        if len(piece.data) == 1:
            text = line % (number, piece.data[0])
            parts += (_heads[len(text)], text)
        else:
            parts.append(_strip(line, piece.data, number))
        number += len(piece.data)
    return b"".join(parts)


def _strip(line: bytes, data: Sequence[bytes], first: Position) -> bytes:
    """Events that are alike, of one template. `first` is the position of the first. Their sizes
    follow from what differs: the data, and how many digits the position has."""
    heads: list[bytes] = []
    bare = len(line % (0, b"")) - 1
    while len(heads) < len(data):
        digits = len(str(first + len(heads)))
        size = bare + digits
        alike = data[len(heads) : 10**digits - first]
        heads += [_heads[size + len(each)] for each in alike]
    return filled(b"%b" + line, heads, range(first, first + len(data)), data)


def answer(type: str, ref: Ref = None, **fields: Any) -> str:
    """A frame that is not an event."""
    told = {"type": type, **fields} | ({} if ref is None else {"ref": ref})
    return encode(told).decode()


def refusal(error: MillstreamError, ref: Ref = None, **fields: Any) -> str:
    """An error's frame: `{"type": "error", "code": …, "message": …}`."""
    return answer("error", ref, code=error.code, message=error.message, **fields, **error.details())
