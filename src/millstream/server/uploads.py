"""Request bodies under limits, in the server room: multipart forms whose files go straight to the
blob store while they arrive, and plain bodies.

Touches the blob store through its port. Knows no web framework: a body is an async iterable of
bytes. What a form must hold is not decided here, only what it may cost.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Coroutine
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from millstream.blobs import Blob, BlobStore, BlobWriter, Upload
from millstream.errors import RequestError, TooLarge
from millstream.server.filenames import clean_filename, short
from millstream.server.limits import Limits, Meter, human_size
from millstream.server.multipart import Parser, Token, pieces
from millstream.server.part_headers import Head, boundary_of

OnFileTooLarge = Literal["refuse", "keep_head"]
"""Refuse the request, or keep what fits of that file and go on with its neighbours."""


class Form(Struct, frozen=True):
    """A multipart form: (name, value) in the order they came, repeated names too.

    `oversized` has (index into `files`, size in bytes as sent) for each file that was cut at the
    limit; its Upload holds the head alone. Always empty unless "keep_head" was asked for.
    """

    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, Upload], ...] = ()
    oversized: tuple[tuple[int, int], ...] = ()


async def read_body(
    chunks: AsyncIterable[bytes], limit: int, *, content_length: int | None = None
) -> bytes:
    """The whole body. Raises TooLarge as soon as `limit` bytes are passed, or said to be."""
    meter = Meter(limit, content_length)
    body = bytearray()
    async for chunk in chunks:
        meter.count(chunk)
        body += chunk
    return bytes(body)


async def read_multipart(
    content_type: str,
    chunks: AsyncIterable[bytes],
    blobs: BlobStore,
    limits: Limits,
    *,
    content_length: int | None = None,
    on_file_too_large: OnFileTooLarge = "refuse",
) -> Form:
    """Read a `multipart/form-data` body (RFC 7578); its files are durable when this returns.

    Raises UnsupportedMedia, TooLarge, or RequestError for a malformed body. After any error or
    cancellation, of the chunks or the blob store too, no blob of this request is left.
    """
    parser = Parser(boundary_of(content_type), limits.header_bytes)
    meter = Meter(limits.body_bytes, content_length)
    assembly = _Assembly(blobs, limits, on_file_too_large)
    try:
        async for chunk in chunks:
            meter.count(chunk)
            for piece in pieces(chunk):
                for token in parser.feed(piece):
                    await assembly.take(token)
        parser.finish()
    except BaseException as error:
        await _uncancelled(assembly.discard(error))
        raise
    return assembly.form()


async def _uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end, however often this task is cancelled meanwhile."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


# --- tokens into a form --------------------------------------------------------------------------


class _FieldIn:
    """A text field on its way in."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._value = bytearray()

    def add(self, data: bytes) -> None:
        self._value += data
        if len(self._value) > self._limit:
            most = f"the limit of {human_size(self._limit)} a field"
            raise TooLarge(f"{short(self._name)}: exceeds {most}; send it as a file, or less of it")

    def value(self) -> str:
        try:
            return self._value.decode()
        except UnicodeDecodeError:
            raise RequestError(
                f"{short(self._name)}: not UTF-8 text; to send a file, give the part a filename"
            ) from None


class _FileIn:
    """A file on its way in: the head of it goes to the writer, all of it is counted."""

    def __init__(self, head: Head, label: str, writer: BlobWriter, limit: int) -> None:
        self._head = head
        self.writer = writer
        self.size = 0
        self._label = label
        self._limit = limit

    @property
    def too_large(self) -> bool:
        return self.size > self._limit

    async def write(self, data: bytes) -> None:
        room = max(self._limit - self.size, 0)
        self.size += len(data)
        if room:
            await self.writer.write(data[:room])

    def refusal(self) -> TooLarge:
        most = f"the limit of {human_size(self._limit)} a file"
        return TooLarge(f"{self._label}: exceeds {most}; send a smaller one")

    def upload(self, blob: Blob, path: Path) -> Upload:
        return Upload(
            blob=blob.id,
            filename=clean_filename(self._head.filename or ""),
            content_type=self._head.content_type,
            size=blob.size,
            sha256=blob.sha256,
            path=path,
        )


class _Assembly:
    """The form as far as it has come, and every blob that was made for it."""

    def __init__(self, blobs: BlobStore, limits: Limits, on_file_too_large: OnFileTooLarge) -> None:
        self._blobs = blobs
        self._limits = limits
        self._refuse = on_file_too_large == "refuse"
        self._fields: list[tuple[str, str]] = []
        self._files: list[tuple[str, Upload]] = []
        self._oversized: list[tuple[int, int]] = []
        self._kept: list[str] = []
        self._parts = 0
        self._seen: Counter[str] = Counter()  # files so far, by field name
        self._head = Head("")
        self._field: _FieldIn | None = None
        self._file: _FileIn | None = None

    async def take(self, token: Token) -> None:
        """The next token. Raises TooLarge or RequestError; then `discard` is due."""
        if isinstance(token, Head):
            self._begin(token)
        elif token is not None:
            await self._add(token)
        else:
            await self._end()

    def form(self) -> Form:
        return Form(tuple(self._fields), tuple(self._files), tuple(self._oversized))

    async def discard(self, error: BaseException) -> None:
        """Leave no blob. Where that fails, `error` gets a note and a later sweep does it."""
        steps = [self._blobs.delete(self._kept)]
        if self._file is not None:
            steps.append(self._file.writer.abort())
        for result in await asyncio.gather(*steps, return_exceptions=True):
            if isinstance(result, BaseException):
                error.add_note(f"a blob of the request is left for the next sweep: {result!r}")

    def _begin(self, head: Head) -> None:
        self._head = head
        self._parts += 1
        if self._parts > self._limits.files + self._limits.fields:  # "no file chosen" counts here
            raise TooLarge(f"{short(head.name)}: more than {self._parts - 1} parts in one request")
        if head.filename is None:
            self._begin_field(head.name)

    def _begin_field(self, name: str) -> None:
        if len(self._fields) == self._limits.fields:
            raise TooLarge(f"{short(name)}: more than {self._limits.fields} fields in one request")
        self._field = _FieldIn(name, self._limits.field_bytes)

    async def _begin_file(self) -> _FileIn:
        head, limits = self._head, self._limits
        if len(self._files) == limits.files:
            most = f"more than {limits.files} files in one request"
            raise TooLarge(f"{short(head.name)}: {most}; send fewer at once")
        filename = short(clean_filename(head.filename or ""))
        label = f'{short(head.name)}[{self._seen[head.name]}] "{filename}"'
        self._seen[head.name] += 1
        return _FileIn(head, label, await self._blobs.create(), limits.file_bytes)

    async def _add(self, data: bytes) -> None:
        if self._field is not None:
            self._field.add(data)
            return
        if self._file is None:
            self._file = await self._begin_file()
        await self._file.write(data)
        if self._refuse and self._file.too_large:
            raise self._file.refusal()

    async def _end(self) -> None:
        if self._field is not None:
            self._fields.append((self._head.name, self._field.value()))
            self._field = None
        elif self._file is not None or self._head.filename:
            await self._end_file()
        # otherwise no name and no bytes: how a browser says that no file was chosen

    async def _end_file(self) -> None:
        if self._file is None:  # named and empty
            self._file = await self._begin_file()
        if self._file.too_large:
            self._oversized.append((len(self._files), self._file.size))
        blob = await self._file.writer.commit()
        self._kept.append(blob.id)
        upload = self._file.upload(blob, self._blobs.path(blob.id))
        self._files.append((self._head.name, upload))
        self._file = None
