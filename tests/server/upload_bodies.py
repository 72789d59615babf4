"""Bodies as clients send them, and a store in memory whose operations can be stopped."""

import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from millstream.blobs import Blob
from millstream.server.uploads import Form, Limits, read_multipart

BOUNDARY = "----WebKitFormBoundaryx7Lq"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
LIMITS = Limits()
PAST_1_KB = b"x" * 1025


# --- a store in memory, whose operations can be stopped ------------------------------------------


class MemoryBlobs:
    """The port, and nothing more. `before` is awaited before create, write, commit and delete."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.halves: set[str] = set()
        self.calls: list[str] = []
        self.before: Callable[[str], Any] | None = None
        self._ids = itertools.count()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def create(self) -> "MemoryWriter":
        await self.step("create")
        return MemoryWriter(self, f"blob{next(self._ids)}")

    def path(self, blob: str) -> Path:
        self.calls.append("path")
        if blob not in self.kept:
            raise FileNotFoundError(blob)
        return Path("memory") / blob

    async def delete(self, blobs: Sequence[str]) -> None:
        await self.step("delete")
        for blob in blobs:
            self.kept.pop(blob, None)

    async def sweep(self, *, keep, before) -> int:
        raise NotImplementedError

    async def step(self, name: str) -> None:
        self.calls.append(name)
        if self.before is not None:
            await self.before(name)


class MemoryWriter:
    def __init__(self, store: MemoryBlobs, blob: str) -> None:
        self.store, self.blob, self.data = store, blob, b""
        store.halves.add(blob)

    async def write(self, chunk: bytes) -> None:
        await self.store.step("write")
        self.data += chunk

    async def commit(self) -> Blob:
        await self.store.step("commit")
        self.store.kept[self.blob] = self.data
        self.store.halves.remove(self.blob)
        return Blob(self.blob, len(self.data), hashlib.sha256(self.data).hexdigest())

    async def abort(self) -> None:
        self.store.halves.discard(self.blob)


async def chunked(body: bytes, cuts: Iterable[int] = ()) -> AsyncIterator[bytes]:
    edges = [0, *sorted(cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        yield body[start:end]


def part(disposition: str | bytes, data: bytes = b"", *headers: str) -> bytes:
    said = disposition.encode() if isinstance(disposition, str) else disposition
    lines = [b"Content-Disposition: " + said, *(header.encode() for header in headers)]
    return b"\r\n".join([f"--{BOUNDARY}".encode(), *lines, b"", data, b""])


def field(name: str, value: str = "") -> bytes:
    return part(f'form-data; name="{name}"', value.encode())


def file(name: str, filename: str, data: bytes, content_type: str = "image/png") -> bytes:
    disposition = f'form-data; name="{name}"; filename="{filename}"'
    return part(disposition, data, f"Content-Type: {content_type}")


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def read(
    data: bytes, blobs: MemoryBlobs | None = None, limits: Limits = LIMITS, **options: Any
) -> Form:
    blobs = MemoryBlobs() if blobs is None else blobs
    return await read_multipart(FORM_TYPE, chunked(data), blobs, limits, **options)


async def only_filename(disposition: str | bytes) -> str:
    form = await read(body(part(disposition, b"x")))
    return form.files[0][1].filename
