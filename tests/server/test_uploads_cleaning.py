"""Whatever ends an upload, none of its blobs is left behind."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from upload_bodies import (
    FORM_TYPE,
    LIMITS,
    MemoryBlobs,
    body,
    chunked,
    field,
    file,
    read,
)

from millstream.errors import (
    RequestError,
    StoreError,
)
from millstream.server.uploads import read_multipart

TWO_FILES = body(file("f", "a", b"a" * 50), field("x", "1"), file("f", "b", b"b" * 50))


class ClientGone(Exception):
    pass


@pytest.mark.parametrize("at", range(0, len(TWO_FILES), 5))
async def test_a_client_that_goes_away_leaves_no_blob(at: int) -> None:
    blobs = MemoryBlobs()

    async def cut_short() -> AsyncIterator[bytes]:
        yield TWO_FILES[:at]
        raise ClientGone

    with pytest.raises(ClientGone):
        await read_multipart(FORM_TYPE, cut_short(), blobs, LIMITS)
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_cancelled_read_leaves_no_blob_wherever_it_stood() -> None:
    last_calls: set[str] = set()
    kept: dict[str, bytes] = {}
    for turns in itertools.count():
        blobs = MemoryBlobs()
        blobs.before = lambda _: asyncio.sleep(0)
        chunks = chunked(TWO_FILES, range(0, len(TWO_FILES), 30))
        reading = asyncio.create_task(read_multipart(FORM_TYPE, chunks, blobs, LIMITS))
        for _ in range(turns):
            await asyncio.sleep(0)
        last_calls.update(blobs.calls[-1:])
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            kept = blobs.kept
            break
        assert (blobs.kept, blobs.halves) == ({}, set()), turns
    assert len(kept) == 2  # it came to the end at last
    assert last_calls >= {"create", "write", "commit"}


async def test_being_cancelled_again_and_again_does_not_stop_the_cleaning_up() -> None:
    blobs = MemoryBlobs()
    stalled, reached, freed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def before(name: str) -> None:
        if name == "delete":
            reached.set()
            await freed.wait()

    async def endless() -> AsyncIterator[bytes]:
        yield TWO_FILES[:-40]
        stalled.set()
        await asyncio.Event().wait()

    blobs.before = before
    reading = asyncio.create_task(read_multipart(FORM_TYPE, endless(), blobs, LIMITS))
    await stalled.wait()
    assert (len(blobs.kept), len(blobs.halves)) == (1, 1)
    reading.cancel()
    await reached.wait()
    for _ in range(5):
        reading.cancel()
        await asyncio.sleep(0)
    assert not reading.done()
    freed.set()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_cancellation_during_the_cleaning_up_is_not_lost() -> None:
    blobs = MemoryBlobs()
    reached, freed = asyncio.Event(), asyncio.Event()

    async def before(name: str) -> None:
        if name == "delete":
            reached.set()
            await freed.wait()

    blobs.before = before
    reading = asyncio.create_task(read(TWO_FILES[:-10], blobs))
    await reached.wait()
    reading.cancel()
    freed.set()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert (blobs.kept, blobs.halves) == ({}, set())


@pytest.mark.parametrize("call", ["create", "write", "commit"])
@pytest.mark.parametrize("time", [1, 2])
async def test_a_store_that_fails_leaves_no_blob(call: str, time: int) -> None:
    blobs = MemoryBlobs()

    async def before(name: str) -> None:
        if name == call and blobs.calls.count(call) == time:
            raise StoreError("disk full")

    blobs.before = before
    with pytest.raises(StoreError, match="disk full"):
        await read(TWO_FILES, blobs)
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_blob_that_is_gone_right_after_its_commit_leaves_no_other() -> None:
    class Vanishing(MemoryBlobs):
        def path(self, blob: str) -> Path:
            raise FileNotFoundError(blob)

    blobs = Vanishing()
    with pytest.raises(FileNotFoundError):
        await read(TWO_FILES, blobs)
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_cleaning_up_that_fails_does_not_hide_the_error() -> None:
    blobs = MemoryBlobs()

    async def before(name: str) -> None:
        if name == "delete":
            raise StoreError("gone")

    blobs.before = before
    with pytest.raises(RequestError, match="ends early") as refused:
        await read(TWO_FILES[:-10], blobs)
    assert refused.value.__notes__ == [
        "a blob of the request is left for the next sweep: StoreError('gone')"
    ]
    assert blobs.halves == set()
