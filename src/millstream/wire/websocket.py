"""WebSocket frames: text, one JSON object each. Events go out as they are; requests come in here.

`{"type": "subscribe", "run": "…", "after": 7}` and the like. `ref`, where a client gives one, comes
back in the answer.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from millstream.errors import MillstreamError, RequestError
from millstream.events import Segment, encode

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


def frames(texts: Iterable[bytes]) -> bytes:
    """Text messages as a server's frames, ready to be written: final, unmasked, of opcode 1 (RFC
    6455, section 5.2)."""
    parts: list[bytes] = []
    for text in texts:
        size = len(text)
        if size < 126:
            parts += (b"\x81%c" % size, text)
        elif size < 65_536:
            parts += (b"\x81\x7e" + size.to_bytes(2, "big"), text)
        else:
            parts += (b"\x81\x7f" + size.to_bytes(8, "big"), text)
    return b"".join(parts)


def segment(events: Segment) -> bytes:
    """A whole segment, each event a frame."""
    return frames(events.events)


def answer(type: str, ref: Ref = None, **fields: Any) -> str:
    """A frame that is not an event."""
    told = {"type": type, **fields} | ({} if ref is None else {"ref": ref})
    return encode(told).decode()


def refusal(error: MillstreamError, ref: Ref = None, **fields: Any) -> str:
    """An error's frame: `{"type": "error", "code": …, "message": …}`."""
    return answer("error", ref, code=error.code, message=error.message, **fields, **error.details())
