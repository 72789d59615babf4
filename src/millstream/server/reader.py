"""Reader: what a client sends over an open WebSocket, from bytes to messages.

The library's codec (`websockets`, without I/O) does the work: masking, fragments, control frames,
limits, the closing handshake (RFC 6455). Here its frames become whole messages. A reader is made
when bytes come and let go of when it is `at_rest`: a socket that nothing is sent to holds none.
Knows no transport and no application.
"""

import logging
from types import GeneratorType

from msgspec import Struct
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

INVALID_DATA = 1007
"""RFC 6455, section 7.4.1: a text that is no UTF-8."""

_log = logging.getLogger("uvicorn.error")  # where the library says what failed, as under uvicorn


class Pong(Struct, frozen=True):
    """The client answers a ping (or says this without having been asked)."""

    payload: bytes


class Closed(Struct, frozen=True):
    """The client's last word, or the end because of something that it must not send. Nothing is
    heard after it."""

    code: int
    reason: str


Heard = str | bytes | Pong | Closed
"""A text message, a binary one, or one of those."""


class Reader:
    """One client's frames, from the first byte that is not read yet. `most`: bytes of a message."""

    __slots__ = ("_codec", "_over", "_parts", "_text")

    def __init__(self, most: int) -> None:
        self._codec = ServerProtocol(state=State.OPEN, max_size=most, logger=_log)
        self._parts: list[bytes] = []
        self._text = self._over = False

    def feed(self, data: bytes) -> list[Heard]:
        """What has come, in order. `output` is then what has to be written in answer."""
        if self._over:
            return []
        heard: list[Heard] = []
        self._codec.receive_data(data)
        for frame in self._codec.events_received():
            assert isinstance(frame, Frame)  # the handshake is over
            self._hear(frame, heard)
            if self._over:
                return heard
        if self._codec.parser_exc is not None:
            self._end(self._codec.close_sent, heard)
        return heard

    def _hear(self, frame: Frame, heard: list[Heard]) -> None:
        if frame.opcode is Opcode.PONG:
            heard.append(Pong(bytes(frame.data)))
        elif frame.opcode is Opcode.CLOSE:
            self._end(self._codec.close_rcvd, heard)
        elif frame.opcode is not Opcode.PING:  # which the codec answers
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            self._parts.append(bytes(frame.data))
            if frame.fin:
                self._complete(heard)

    def _complete(self, heard: list[Heard]) -> None:
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        try:
            heard.append(data.decode() if self._text else data)
        except UnicodeDecodeError:
            self._codec.fail(INVALID_DATA, "a text message is not UTF-8")
            self._end(self._codec.close_sent, heard)

    def _end(self, said: Close | None, heard: list[Heard]) -> None:
        self._over = True
        heard.append(Closed(1006, "") if said is None else Closed(said.code, said.reason))

    def output(self) -> bytes:
        """What the codec wants to be written: pongs, the answer to a close frame."""
        return b"".join(self._codec.data_to_send())

    def close(self, code: int, reason: str = "") -> bytes:
        """Our own close frame; what is read from now on waits for the client's. Nothing, where one
        has been sent."""
        if self._codec.state is not State.OPEN:
            return b""
        self._codec.send_close(code, reason)
        return self.output()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is half-received and nothing is closing: a new one would do as well."""
        codec = self._codec
        return (
            codec.state is State.OPEN
            and not self._over
            and not self._parts
            and _between_frames(codec)
        )


def _between_frames(codec: ServerProtocol) -> bool:
    """Whether the codec waits for a frame's first byte: for that it asks whether the stream ends.
    Another version of it may not show that; then a reader is kept, which costs memory and no more.
    """
    waiting = codec.parser
    while isinstance(inner := getattr(waiting, "gi_yieldfrom", None), GeneratorType):
        waiting = inner
    return getattr(getattr(waiting, "gi_code", None), "co_name", "") == "at_eof"
