"""Blobs as files of a local folder: an adapter of the port in `blobs.py`.

Touches the file system, from threads of its own and never from the event loop. Knows nothing of
requests, runs and who refers to a blob. Ids and the time come from outside.

    <root>/<last two letters of the id>/<id>   a blob: whole, durable, never changed
    <root>/incoming/<id>                       a half: what is being written
    <root>/lock                                held shared by every open store of this folder
"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from errno import EEXIST
from hashlib import sha256
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, Literal, TypeVar

from msgspec import Struct

from millstream.blobs import Blob
from millstream.errors import StoreError

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")

GATHER: Final = 256 * 1024
"""Bytes that a writer gathers in memory before it goes to a thread with them."""

THREADS: Final = 4
"""Own threads, so that waiting for the disk takes none of the pool that steps share."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,126}[A-Za-z0-9]")


class DiskStatistics(Struct, frozen=True):
    """Since the store was made. `writing` is how many blobs are under way at this moment."""

    writing: int
    kept: int
    kept_bytes: int
    aborted: int
    deleted: int
    swept: int


class DiskBlobs:
    """A blob store in one folder, which several processes of this machine may share.

    `new_id` makes ids (3 to 128 letters, digits, `-` or `_`, with a letter or digit at either
    end); `now` is the time in seconds that a blob is stamped with and `sweep` compares to.
    """

    def __init__(self, root: Path, *, new_id: Callable[[], str], now: Callable[[], float]) -> None:
        self.root = root
        self._new_id = new_id
        self._now = now
        self._threads: ThreadPoolExecutor | None = None
        self._lock: BinaryIO | None = None
        self._writing: dict[str, DiskBlobWriter] = {}
        self._kept = self._kept_bytes = self._aborted = self._deleted = self._swept = 0

    async def open(self) -> None:
        """Create the folder. Remove halves, unless another open store may be writing them."""
        if self._threads is not None:
            return
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="millstream-blobs")
        try:
            self._lock = await self.run(self._prepare)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Abort what is being written, let the threads end. Safe to call twice."""
        for writer in list(self._writing.values()):
            await writer.abort()
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def create(self) -> "DiskBlobWriter":
        """Begin a blob. Touches no disk yet: a small blob costs one trip to a thread in all."""
        if self._threads is None:
            raise StoreError("blob store: not open")
        blob = _checked(self._new_id())
        writer = self._writing[blob] = DiskBlobWriter(self, blob)
        return writer

    def path(self, blob: str) -> Path:
        """Where the blob's bytes are."""
        path = self.place(_checked(blob))
        if not path.is_file():
            raise FileNotFoundError(f"no blob {blob}")
        return path

    async def delete(self, blobs: Sequence[str]) -> None:
        """Forget these. Unknown and malformed ids, which can name no blob, are passed over."""
        places = [self.place(blob) for blob in blobs if _ID.fullmatch(blob)]
        if places:
            self._deleted += await self.run(_unlink_all, places)

    async def sweep(self, *, keep: Collection[str], before: float) -> int:
        """Delete blobs stamped before then that are not in `keep`, and halves nobody has written
        to since then; returns how many blobs that were."""
        count = await self.run(self._sweep, frozenset(keep), frozenset(self._writing), before)
        self._swept += count
        return count

    def statistics(self) -> DiskStatistics:
        """What happened so far."""
        return DiskStatistics(
            writing=len(self._writing),
            kept=self._kept,
            kept_bytes=self._kept_bytes,
            aborted=self._aborted,
            deleted=self._deleted,
            swept=self._swept,
        )

    def __repr__(self) -> str:
        state = "closed" if self._threads is None else "open"
        return (
            f"<DiskBlobs {self.root} {state}, {len(self._writing)} being written, "
            f"{self._kept} kept ({self._kept_bytes} bytes)>"
        )

    # --- for the writers -------------------------------------------------------------------------

    def place(self, blob: str) -> Path:
        """Where a blob of this (checked) id is, if there is one. The last letters spread evenly
        where the first ones are a time."""
        return self.root / blob[-2:] / blob

    def half(self, blob: str) -> Path:
        """Where a blob is while it is being written."""
        return self.root / "incoming" / blob

    def stamp(self, path: Path) -> None:
        """Give a file the time of this store's clock."""
        nanoseconds = int(self._now() * 1e9)
        os.utime(path, ns=(nanoseconds, nanoseconds))

    def ended(self, blob: str, size: int | None) -> None:
        """A writer is through: with that many bytes kept, or (None) with nothing."""
        self._writing.pop(blob, None)
        if size is None:
            self._aborted += 1
        else:
            self._kept += 1
            self._kept_bytes += size

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call it in one of the store's threads. What the disk refuses is a StoreError."""
        if self._threads is None:
            raise StoreError("blob store: not open")
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, function, *arguments)
        except OSError as error:
            raise StoreError(f"blob store: {error.strerror or type(error).__name__}") from error

    # --- in a thread -----------------------------------------------------------------------------

    def _prepare(self) -> BinaryIO:
        (self.root / "incoming").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (self.root / "lock").open("ab")
        if _alone(lock):
            _unlink_all((self.root / "incoming").iterdir())
        _share(lock)
        return lock

    def _sweep(self, keep: frozenset[str], writing: frozenset[str], before: float) -> int:
        halves = (self.root / "incoming").iterdir()
        _unlink_all(half for half in halves if half.name not in writing and _older(half, before))
        folders = (path for path in self.root.glob("??") if path.is_dir())
        blobs = (file for folder in folders for file in folder.iterdir())
        return _unlink_all(
            file
            for file in blobs
            if _ID.fullmatch(file.name) and file.name not in keep and _older(file, before)
        )


class DiskBlobWriter:
    """One file on its way in. For one task at a time.

    An operation that is cancelled goes on in its thread. So the thread's side is under a lock, and
    a writer that was cancelled or failed within an operation accepts nothing but `abort`.
    """

    def __init__(self, store: DiskBlobs, blob: str) -> None:
        self._store = store
        self._blob = blob
        self._state: Literal["open", "busy", "kept", "gone"] = "open"
        self._gathered = bytearray()
        self._disk = _Half(store, blob)

    async def write(self, chunk: bytes) -> None:
        """Append bytes; goes to a thread once `GATHER` bytes are there."""
        self._require_open()
        self._gathered += chunk
        if len(self._gathered) >= GATHER:
            gathered, self._gathered = self._gathered, bytearray()
            self._state = "busy"
            await self._store.run(self._disk.append, gathered)
            self._state = "open"

    async def commit(self) -> Blob:
        """Make it durable and visible."""
        self._require_open()
        self._state = "busy"
        blob = await self._store.run(self._disk.keep, self._gathered)
        self._state = "kept"
        self._store.ended(self._blob, blob.size)
        return blob

    async def abort(self) -> None:
        """Leave no trace, of a commit that was cancelled either. Does nothing after a commit."""
        if self._state in ("kept", "gone"):
            return
        self._gathered = bytearray()
        if self._state == "busy" or self._disk.begun:
            self._state = "busy"
            await self._store.run(self._disk.drop)
        if self._state != "gone":  # two may have aborted at once: a request, and close()
            self._state = "gone"
            self._store.ended(self._blob, None)

    def _require_open(self) -> None:
        if self._state != "open":
            raise RuntimeError(f"{self!r}: begin another blob with create()")

    def __repr__(self) -> str:
        return f"<DiskBlobWriter {self._blob} {self._state}, {self._disk.size} bytes on disk>"


class _Half:
    """A writer's side in the threads: the file under its temporary name, and the sum so far."""

    def __init__(self, store: DiskBlobs, blob: str) -> None:
        self.size = 0
        self.begun = False
        self._store = store
        self._blob = blob
        self._hash = sha256()
        self._file: FileIO | None = None
        self._published = self._dropped = False
        self._lock = Lock()

    def append(self, data: bytes | bytearray) -> None:
        with self._lock:
            if not self._dropped:
                self._append(data)

    def keep(self, data: bytes | bytearray) -> Blob:
        with self._lock:
            if self._dropped:  # nobody hears this: whoever dropped it was the one that cancelled
                raise StoreError("blob store: aborted before it was kept")
            os.fsync(self._append(data).fileno())
            self._close()
            self._publish()
        return Blob(self._blob, self.size, self._hash.hexdigest())

    def drop(self) -> None:
        with self._lock:
            self._dropped = True
            self._close()
            _unlink_all(self._made())

    def _made(self) -> Iterator[Path]:
        """What is ours to remove. Not more: the name may have been taken by another's file."""
        if self._file is not None:
            yield self._store.half(self._blob)
        if self._published:
            yield self._store.place(self._blob)

    def _append(self, data: bytes | bytearray) -> FileIO:
        if self._file is None:
            self.begun = True
            self._file = _create(self._store.half(self._blob))
        rest = memoryview(data)
        while rest:  # unbuffered: a write may be partial, and close() has nothing left to fail at
            rest = rest[self._file.write(rest) :]
        self._hash.update(data)
        self.size += len(data)
        self._store.stamp(self._store.half(self._blob))
        return self._file

    def _publish(self) -> None:
        """Rename, then see to it that the name is on the disk as the bytes are."""
        place = self._store.place(self._blob)
        if not place.parent.exists():
            place.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(self._store.root)
        if place.exists():
            raise FileExistsError(EEXIST, "the id of a new blob was used before")
        self._published = True
        self._store.half(self._blob).replace(place)
        _sync_folder(place.parent)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()


def _checked(blob: str) -> str:
    if not _ID.fullmatch(blob):
        raise ValueError(f"not a blob id: {blob[:140]!r}")
    return blob


def _create(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:  # gone meanwhile
        return False


def _unlink_all(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            count += 1
    return count


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # no handle on a folder there; NTFS journals names by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alone(lock: BinaryIO) -> bool:
    """Whether no other open store, of this process or another, has this folder."""
    if sys.platform == "win32":  # one process a folder there
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _share(lock: BinaryIO) -> None:
    if sys.platform != "win32":
        fcntl.flock(lock, fcntl.LOCK_SH)
