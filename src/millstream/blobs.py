"""The blob store port, and `Upload`: a file of a request, kept in the blob store.

Adapters live in `blob_stores/`. A run's input holds an upload as a reference (blob, name, type,
size); the bytes are written once while the request arrives, and read by the steps.
"""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from msgspec import Struct


class Blob(Struct, frozen=True):
    """What was kept: `id` finds it again, `size` in bytes, `sha256` as lower-case hex."""

    id: str
    size: int
    sha256: str


class BlobWriter(Protocol):
    """One blob on its way in. Nothing is visible before `commit`."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        ...

    async def commit(self) -> Blob:
        """Make it durable and visible."""
        ...

    async def abort(self) -> None:
        """Leave no trace. Safe after commit (then it does nothing) and twice."""
        ...


class BlobStore(Protocol):
    """Keeps uploads. Ids are made by the store and safe in a path and a URL."""

    async def open(self) -> None:
        """Create what is missing; remove halves that a dead process left."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    async def create(self) -> BlobWriter:
        """Begin a blob."""
        ...

    def path(self, blob: str) -> Path:
        """A local file with the blob's bytes, readable from any process of this machine.
        Raises FileNotFoundError where there is none, ValueError where the id is malformed."""
        ...

    async def delete(self, blobs: Sequence[str]) -> None:
        """Forget these; unknown ones are no error."""
        ...

    async def sweep(self, *, keep: Collection[str], before: float) -> int:
        """Delete blobs made before that time which nothing refers to; how many that were."""
        ...


class Upload:
    """A file of the request. In a pipeline's input type it says "here a file is expected".

    `filename` and `content_type` are what the client said: not to be trusted. `size` is in bytes.
    Pickles small (a path), so that steps in other processes read the file themselves.
    """

    __slots__ = ("blob", "content_type", "filename", "path", "sha256", "size")

    def __init__(
        self,
        *,
        blob: str,
        filename: str,
        content_type: str,
        size: int,
        sha256: str,
        path: Path,
    ) -> None:
        self.blob = blob
        self.filename = filename
        self.content_type = content_type
        self.size = size
        self.sha256 = sha256
        self.path = path

    def open(self) -> BinaryIO:
        """The file, open for reading. Blocks: for steps in threads and processes."""
        return self.path.open("rb")

    def read(self) -> bytes:
        """All bytes. Blocks: for steps in threads and processes."""
        return self.path.read_bytes()

    async def aread(self) -> bytes:
        """All bytes, without holding up the event loop."""
        return await asyncio.to_thread(self.path.read_bytes)

    def reference(self) -> dict[str, Any]:
        """What the run's stored input holds in this file's place."""
        return {
            "blob": self.blob,
            "filename": self.filename,
            "content_type": self.content_type,
            "size": self.size,
            "sha256": self.sha256,
        }

    def resized(self, size: int) -> "Upload":
        """The same with another size told: what the client sent, where only a head was kept."""
        return Upload(**{**self.reference(), "size": size}, path=self.path)

    def moved(self, blob: str, path: Path) -> "Upload":
        """The same file, kept elsewhere."""
        return Upload(**{**self.reference(), "blob": blob}, path=path)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Lets a pydantic model hold files; who validates says how a reference is resolved."""
        from pydantic_core import core_schema  # only where pydantic is in use already

        def resolve(value: Any, info: Any) -> Upload:
            if isinstance(value, cls):
                return value
            return info.context["upload"](value)

        return core_schema.with_info_plain_validator_function(resolve)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Upload) and self.reference() == other.reference()

    def __hash__(self) -> int:
        return hash(self.blob)

    def __repr__(self) -> str:
        return f"<Upload {self.filename!r} {self.content_type} {self.size} bytes>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.reference(), "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
