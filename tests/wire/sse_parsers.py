"""Two readers of SSE, written from their specifications and not from ours."""

import codecs
from dataclasses import dataclass


@dataclass
class Block:
    """One dispatched event. `id` is the last id seen; `own_id` and `retry` stood in this block."""

    event: str
    data: str
    id: str
    own_id: str | None
    retry: int | None


class SpecParser:
    """WHATWG HTML, 9.2.6 "Interpreting an event stream"; feed it bytes cut anywhere."""

    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._last_id = ""
        self._clear()

    def _clear(self):
        self._data, self._event, self._own_id, self._retry = [], "", None, None

    def feed(self, data):
        self._text += self._decoder.decode(data)
        while True:
            ends = [at for at in (self._text.find("\n"), self._text.find("\r")) if at >= 0]
            if not ends or (self._text[min(ends)] == "\r" and min(ends) == len(self._text) - 1):
                return
            at = min(ends)
            width = 2 if self._text[at : at + 2] == "\r\n" else 1
            line, self._text = self._text[:at], self._text[at + width :]
            if line == "":
                yield from self._dispatch()
            else:
                self._field(line)

    def _field(self, line):
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ") if colon else ""
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._last_id = self._own_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value)

    def _dispatch(self):
        if self._data:
            yield Block(
                self._event or "message",
                "\n".join(self._data),
                self._last_id,
                self._own_id,
                self._retry,
            )
        self._clear()


def spec(data):
    """Every event of a whole body."""
    return SpecParser().feed(data)


def naive(text):
    """A client that exists: splits at blank lines, and each block into its first two lines."""
    told = []
    for block in text.split("\n\n"):
        if not block:
            continue
        event_line, data_line, *_ = block.split("\n")
        assert event_line.startswith("event: "), block
        assert data_line.startswith("data: "), block
        told.append((event_line.removeprefix("event: "), data_line.removeprefix("data: ")))
    return told
