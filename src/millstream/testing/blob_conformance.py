"""Public test kit: what every blob store must do, as checks that run on any adapter of the port.

Imports the standard library and `millstream` alone, no test framework. Knows of the store only
what `blobs.py` says. With pytest, one test a check:

    @pytest.mark.parametrize("name", CASES)
    async def test_my_store(name):
        async with my_open_store() as store:
            await CASES[name](store)

Each check takes a store that is open and empty. What outlives the death of a process cannot be
asked from inside it: test that with a child process of your own.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import quote

from millstream.blobs import Blob, BlobStore

Case = Callable[[BlobStore], Awaitable[None]]

ALWAYS: Final = float("inf")
"""A `before` that every blob is older than."""

MALFORMED: Final = (
    "",
    ".",
    "..",
    "../secret",
    "..%2fsecret",
    "/etc/passwd",
    "a/b/c",
    "a\\b\\c",
    "ab.cd",
    "ab cd",
    "abc\0",
    "abc\n",
    "äöü",
    "x" * 4096,
)


async def check_blob_store(
    make: Callable[[], AbstractAsyncContextManager[BlobStore]],
) -> None:
    """Run every check on a fresh open store from `make`; AssertionError names the check."""
    for name, case in CASES.items():
        async with make() as store:
            try:
                await case(store)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


async def keeps_the_bytes_in_order(store: BlobStore) -> None:
    """Size, sum and content are those of all chunks, one behind the other."""
    chunks = [bytes([number]) * (number * 997) for number in range(64)]
    blob = await _keep(store, *chunks)
    data = b"".join(chunks)
    _equal(blob.size, len(data), "size")
    _equal(blob.sha256, hashlib.sha256(data).hexdigest(), "sha256")
    _equal(store.path(blob.id).read_bytes() == data, True, "the same bytes come back")


async def keeps_large_chunks(store: BlobStore) -> None:
    """A chunk may be larger than any buffer inside."""
    data = bytes(range(256)) * 16_384  # 4 MiB
    blob = await _keep(store, data, b"end")
    _equal(store.path(blob.id).read_bytes() == data + b"end", True, "the same bytes")


async def keeps_an_empty_blob(store: BlobStore) -> None:
    """No bytes are a blob too."""
    blob = await _keep(store)
    _equal(blob.size, 0, "size")
    _equal(blob.sha256, hashlib.sha256().hexdigest(), "sha256")
    _equal(store.path(blob.id).read_bytes(), b"", "content")


async def ids_are_safe(store: BlobStore) -> None:
    """Every id is new, and goes into a path or a URL as it is."""
    ids = [(await _keep(store, b"same")).id for _ in range(8)]
    _equal(len(set(ids)), 8, "different ids")
    for blob in ids:
        _equal(quote(blob, safe=""), blob, "id as part of a URL")
        _equal(blob.strip(".") == blob and blob != "", True, f"{blob!r} is safe in a path")


async def keeps_writers_apart(store: BlobStore) -> None:
    """Blobs that are written at the same time do not mix."""
    wanted = [bytes([number]) * 300_000 for number in range(8)]
    blobs = await asyncio.gather(*(_keep(store, data[:100_000], data[100_000:]) for data in wanted))
    for blob, data in zip(blobs, wanted, strict=True):
        _equal(store.path(blob.id).read_bytes() == data, True, "its own bytes alone")


async def shows_nothing_before_commit(store: BlobStore) -> None:
    """A blob that is being written is not there yet, and no sweep takes it away."""
    writer = await store.create()
    await writer.write(b"x" * 2_000_000)
    _equal(await _count(store), 0, "visible blobs before commit")
    blob = await writer.commit()
    _equal(store.path(blob.id).stat().st_size, 2_000_000, "size after commit")


async def abort_leaves_no_trace(store: BlobStore) -> None:
    """Whatever was written, and twice."""
    for size in (0, 10, 2_000_000):
        writer = await store.create()
        await writer.write(b"x" * size)
        await writer.abort()
        await writer.abort()
    _equal(await _count(store), 0, "visible blobs after abort")


async def abort_after_commit_does_nothing(store: BlobStore) -> None:
    """What was kept stays kept."""
    writer = await store.create()
    await writer.write(b"kept")
    blob = await writer.commit()
    await writer.abort()
    _equal(store.path(blob.id).read_bytes(), b"kept", "content")


async def abort_undoes_a_cancelled_commit(store: BlobStore) -> None:
    """Nobody learned the id of a commit that was cancelled, so an abort takes the blob back,
    at whichever moment the cancellation came."""
    for turns in range(12):
        writer = await store.create()
        await writer.write(b"x" * 100_000)
        if not await _cancel_after(turns, writer.commit()):
            break
        await writer.abort()
        _equal(await _count(store), 0, f"visible blobs, cancelled after {turns} turns")


async def abort_undoes_a_cancelled_write(store: BlobStore) -> None:
    """The same for a write."""
    for turns in range(4):
        writer = await store.create()
        await _cancel_after(turns, writer.write(b"x" * 2_000_000))
        await writer.abort()
        _equal(await _count(store), 0, f"visible blobs, cancelled after {turns} turns")


async def tells_unknown_from_malformed(store: BlobStore) -> None:
    """`path`: FileNotFoundError for what is not there, ValueError for what can be no id."""
    blob = await _keep(store, b"x")
    await store.delete([blob.id])
    _equal(_failure(store, blob.id), FileNotFoundError, "a deleted id")
    for malformed in MALFORMED:
        _equal(_failure(store, malformed), ValueError, f"the id {malformed[:40]!r}")


async def delete_forgets_these_alone(store: BlobStore) -> None:
    """Others stay; unknown, malformed and repeated ids are no error."""
    one, two, three = [await _keep(store, b"x") for _ in range(3)]
    await store.delete([one.id, two.id, one.id, *MALFORMED])
    await store.delete([one.id])
    await store.delete([])
    _equal(_failure(store, one.id), FileNotFoundError, "the first deleted id")
    _equal(_failure(store, two.id), FileNotFoundError, "the second deleted id")
    _equal(store.path(three.id).read_bytes(), b"x", "the one that was not named")


async def sweep_spares_what_is_kept_or_new(store: BlobStore) -> None:
    """Only what nothing refers to and is older than `before` goes; the count says how many."""
    one, two, three = [await _keep(store, b"x") for _ in range(3)]
    _equal(await store.sweep(keep=(), before=-1.0), 0, "older than all of them")
    _equal(await store.sweep(keep=[two.id, "unknown"], before=ALWAYS), 2, "swept")
    _equal(store.path(two.id).read_bytes(), b"x", "the one to keep")
    for gone in (one, three):
        _equal(_failure(store, gone.id), FileNotFoundError, "one that was swept")
    _equal(await store.sweep(keep=(), before=ALWAYS), 1, "nothing to keep any more")


async def close_may_be_repeated(store: BlobStore) -> None:
    """Also with a blob half written."""
    writer = await store.create()
    await writer.write(b"x" * 2_000_000)
    await store.close()
    await store.close()


CASES: Final[dict[str, Case]] = {
    case.__name__: case
    for case in (
        keeps_the_bytes_in_order,
        keeps_large_chunks,
        keeps_an_empty_blob,
        ids_are_safe,
        keeps_writers_apart,
        shows_nothing_before_commit,
        abort_leaves_no_trace,
        abort_after_commit_does_nothing,
        abort_undoes_a_cancelled_commit,
        abort_undoes_a_cancelled_write,
        tells_unknown_from_malformed,
        delete_forgets_these_alone,
        sweep_spares_what_is_kept_or_new,
        close_may_be_repeated,
    )
}
"""Every check by its name."""


async def _keep(store: BlobStore, *chunks: bytes) -> Blob:
    writer = await store.create()
    for chunk in chunks:
        await writer.write(chunk)
    return await writer.commit()


async def _count(store: BlobStore) -> int:
    """How many blobs are visible; they are gone after it."""
    return await store.sweep(keep=(), before=ALWAYS)


async def _cancel_after(turns: int, work: Coroutine[Any, Any, object]) -> bool:
    """Let the loop turn that often, then cancel; whether it was in time."""
    task = asyncio.create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


def _failure(store: BlobStore, blob: str) -> type[Exception] | None:
    try:
        store.path(blob)
    except (FileNotFoundError, ValueError) as error:
        return type(error)
    return None


def _equal(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, found {found!r}")
