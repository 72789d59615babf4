"""Multipart bytes into tokens: what begins, what it holds, where it ends. No I/O, no store."""

import logging
import re
from collections.abc import Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from millstream.errors import RequestError, TooLarge
from millstream.server.limits import human_size
from millstream.server.part_headers import Head, read_head

PIECE = 64 * 1024  # what the parser gets at a time, however large the chunks are
_PART_HEADERS = 32

_SILENT = logging.Logger("multipart")  # the parser would log bytes of the request; we raise
_SILENT.disabled = True
_OFFSET = re.compile(r" (at \d+|\(\d+\))$")

Token = Head | bytes | None
"""A part begins, goes on, ends."""


class Parser:
    """python-multipart's push parser, turned from callbacks into tokens.

    Skips the preamble itself (RFC 2046, section 5.1.1): the parser knows none.
    """

    def __init__(self, boundary: bytes, header_bytes: int) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._preamble: bytes | None = b"\r\n"  # as if a line had ended just before the body
        self._header_limit = header_bytes
        self._tokens: list[Token] = []
        self._headers: dict[str, bytes] = {}
        self._header_bytes = self._parts = 0
        self._key = self._value = b""
        self._ended = False
        self._parser = self._connected(boundary)

    def feed(self, data: bytes) -> list[Token]:
        """The tokens that these bytes complete. Raises RequestError or TooLarge."""
        try:
            self._parser.write(self._behind_preamble(data))
        except FormParserError as error:
            raise self._malformed(error) from error
        tokens, self._tokens = self._tokens, []
        return tokens

    def finish(self) -> None:
        """The body is over. Raises RequestError where the form is not."""
        if self._preamble is not None:
            raise RequestError("body: holds no boundary line as the Content-Type names it")
        if not self._ended:
            raise RequestError(
                f"body: ends early, within part {self._parts}; the closing boundary is missing"
            )

    def _malformed(self, error: FormParserError) -> RequestError:
        where = f"part {self._parts}" if self._parts else "before the first part"
        reason = _OFFSET.sub("", str(error))  # it counts from some chunk's start: of no use
        return RequestError(f"body: malformed multipart, {where}: {reason}")

    def _connected(self, boundary: bytes) -> MultipartParser:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_begin": self._header_begins,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda data, start, end: self._tokens.append(data[start:end]),
                "on_part_end": lambda: self._tokens.append(None),
                "on_end": self._form_ends,
            },
            max_header_count=_PART_HEADERS,
            # Ours is counted below, over all headers of a part. This stops what shows in no
            # callback (spaces before a value), and must not be met before ours is.
            max_header_size=self._header_limit + 2 * PIECE,
        )
        parser.logger = _SILENT
        return parser

    def _behind_preamble(self, data: bytes) -> bytes:
        if self._preamble is None:
            return data
        data = self._preamble + data
        at = data.find(self._delimiter)
        if at < 0:
            self._preamble = data[-len(self._delimiter) + 1 :]
            return b""
        self._preamble = None
        return data[at + 2 :]

    def _part_begins(self) -> None:
        self._parts += 1
        self._headers = {}
        self._header_bytes = 0

    def _header_begins(self) -> None:
        self._key = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._key += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._header_limit:
            most = f"the limit of {human_size(self._header_limit)}"
            raise TooLarge(f"part {self._parts}: its headers exceed {most}")

    def _header_ends(self) -> None:
        name = self._key.decode("ascii").lower()
        if name in self._headers:  # two readers might each believe another one
            raise RequestError(f"part {self._parts}: has the header {name} twice")
        self._headers[name] = self._value.strip(b" \t")

    def _headers_end(self) -> None:
        self._tokens.append(read_head(f"part {self._parts}", self._headers))

    def _form_ends(self) -> None:
        self._ended = True


def pieces(chunk: bytes) -> Iterator[bytes]:
    """A chunk, in pieces that cost the parser little."""
    if len(chunk) <= PIECE:
        yield chunk
        return
    for start in range(0, len(chunk), PIECE):
        yield chunk[start : start + PIECE]
