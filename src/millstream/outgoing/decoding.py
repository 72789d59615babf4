"""Outgoing: Content-Encoding undone under a limit. Pure: bytes in, bytes out, no I/O.

Unpacks in pieces of about `PIECE` bytes and counts each before it makes the next, so that a bomb
costs its limit and not its size. RFC 9110, section 8.4.1; brotli (RFC 7932) where it is installed.
"""

import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final, Protocol

from millstream.outgoing.errors import OutgoingError, OutgoingTooLarge

PIECE: Final = 65_536
_LAYERS: Final = 3
BROTLI: Final = find_spec("brotli") is not None
ACCEPT_ENCODING: Final = "gzip, deflate, br" if BROTLI else "gzip, deflate"


class Unpacker(Protocol):
    """One encoding undone."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes give, in pieces."""
        ...

    def finished(self) -> bool:
        """Whether the packed data came to its end."""
        ...


class _Gzip:
    """gzip (RFC 1952), of one or more members. What follows the last one is passed over."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate.eof:
                if not data.startswith(b"\x1f"):
                    return
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            yield from _inflated(self._inflate, data)
            data = self._inflate.unused_data

    def finished(self) -> bool:
        return self._inflate.eof


class _Deflate:
    """deflate: zlib data (RFC 1950), or the bare form (RFC 1951) that some servers send."""

    def __init__(self) -> None:
        self._inflate: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            self._head += data
            if len(self._head) < 2:
                return
            first, second = self._head[0], self._head[1]
            wrapped = first & 0x0F == 8 and (first << 8 | second) % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            data = self._head
        if not self._inflate.eof:
            yield from _inflated(self._inflate, data)

    def finished(self) -> bool:
        return self._inflate is not None and self._inflate.eof


def _inflated(inflate: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    while True:
        piece = inflate.decompress(data, PIECE)
        data = inflate.unconsumed_tail
        if piece:
            yield piece
        if inflate.eof or (not data and len(piece) < PIECE):
            return


class _Brotli:
    def __init__(self) -> None:
        import brotli  # only where it is installed

        self._brotli = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._brotli.is_finished():
            return
        piece = self._brotli.process(data, output_buffer_limit=PIECE)
        while True:
            if piece:
                yield piece
            if self._brotli.is_finished() or self._brotli.can_accept_more_data():
                return
            piece = self._brotli.process(b"", output_buffer_limit=PIECE)

    def finished(self) -> bool:
        return self._brotli.is_finished()


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finished(self) -> bool:
        return True


class Body:
    """A body as it comes in, unpacked. `limit` is in bytes, before, between and after unpacking.

    Raises OutgoingError (`encoding_unknown`, `body_undecodable`) and OutgoingTooLarge; `url` is
    named in them.
    """

    def __init__(self, url: str, content_encoding: str | None, *, limit: int) -> None:
        self._url, self._limit = url, limit
        self._layers = [_unpacker(url, name) for name in reversed(_names(url, content_encoding))]
        self._counts = [0] * (len(self._layers) + 1)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes from the wire give."""
        try:
            yield from self._through(0, data)
        except (zlib.error, OutgoingError) as error:
            raise self._as_ours(error) from error
        except Exception as error:  # brotli has an error type of its own
            if type(error).__module__.partition(".")[0] not in ("brotli", "_brotli"):
                raise
            raise self._as_ours(error) from error

    def end(self) -> None:
        """Call at the end of the body. Raises where packed data broke off."""
        if self._counts[0] and not all(layer.finished() for layer in self._layers):
            raise OutgoingError(
                f"{self._url}: the packed body breaks off before its end", code="body_undecodable"
            )

    def _through(self, depth: int, data: bytes) -> Iterator[bytes]:
        self._counts[depth] += len(data)
        if self._counts[depth] > self._limit:
            raise OutgoingTooLarge(
                f"{self._url}: the body is larger than the limit of {self._limit} bytes"
            )
        if depth == len(self._layers):
            yield data
            return
        for piece in self._layers[depth].feed(data):
            yield from self._through(depth + 1, piece)

    def _as_ours(self, error: Exception) -> OutgoingError:
        if isinstance(error, OutgoingError):
            return error
        return OutgoingError(
            f"{self._url}: the body is not packed as its Content-Encoding says ({error})",
            code="body_undecodable",
            retryable=False,
        )


def _names(url: str, content_encoding: str | None) -> list[str]:
    said = (content_encoding or "").lower().split(",")
    names = [name.strip() for name in said if name.strip() not in ("", "identity")]
    if len(names) > _LAYERS:
        raise OutgoingError(
            f"{url}: the body is packed {len(names)} times over; at most {_LAYERS}",
            code="encoding_unknown",
            retryable=False,
        )
    return names


def _unpacker(url: str, name: str) -> Unpacker:
    match name:
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case "br" if BROTLI:
            return _Brotli()
        case _:
            raise OutgoingError(
                f"{url}: the body's encoding {name[:40]!r} is unknown; "
                f"asked for was {ACCEPT_ENCODING}",
                code="encoding_unknown",
                retryable=False,
            )
