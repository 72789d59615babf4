"""DiskBlobs: the conformance suite, and what is particular to files in a folder."""

import asyncio
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from millstream.blob_stores import disk
from millstream.blob_stores.disk import GATHER, DiskBlobs, DiskStatistics
from millstream.errors import StoreError
from millstream.testing.blob_conformance import CASES, check_blob_store

OPEN_FILES = Path("/proc/self/fd")
NOTHING = DiskStatistics(writing=0, kept=0, kept_bytes=0, aborted=0, deleted=0, swept=0)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Ids:
    """blob-0000, blob-0001 …, or always `fixed`."""

    def __init__(self) -> None:
        self.fixed: str | None = None
        self._counter = itertools.count()

    def __call__(self) -> str:
        return f"blob-{next(self._counter):04}" if self.fixed is None else self.fixed


def make(root: Path) -> DiskBlobs:
    return DiskBlobs(root, new_id=Ids(), now=Clock())


@contextlib.asynccontextmanager
async def opened(store: DiskBlobs) -> AsyncIterator[DiskBlobs]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def files(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.name != "lock"
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ids() -> Ids:
    return Ids()


@pytest.fixture
async def store(tmp_path: Path, ids: Ids, clock: Clock) -> AsyncIterator[DiskBlobs]:
    store = DiskBlobs(tmp_path, new_id=ids, now=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Whatever waits for it goes on at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("name", CASES)
async def test_conformance(name: str, store: DiskBlobs) -> None:
    await CASES[name](store)
    assert store.statistics().writing == 0


async def test_the_whole_suite_in_one_call(tmp_path: Path) -> None:
    counter = itertools.count()
    await check_blob_store(lambda: opened(make(tmp_path / str(next(counter)))))


async def test_the_suite_finds_a_store_that_forgets(tmp_path: Path) -> None:
    class Forgetful(DiskBlobs):
        async def sweep(self, *, keep, before):
            return await super().sweep(keep=(), before=before)

    counter = itertools.count()
    with pytest.raises(AssertionError, match="sweep_spares_what_is_kept_or_new: swept: expected 2"):
        await check_blob_store(
            lambda: opened(Forgetful(tmp_path / str(next(counter)), new_id=Ids(), now=Clock()))
        )


async def test_files_lie_in_folders_named_by_the_end_of_the_id(store: DiskBlobs) -> None:
    writer = await store.create()
    await writer.write(b"a")
    blob = await writer.commit()
    assert files(store.root) == ["00/blob-0000"]
    assert store.path(blob.id) == store.root / "00" / "blob-0000"
    assert store.path(blob.id).stat().st_mode & 0o077 == 0  # nobody else's to read


async def test_statistics_and_repr_report_the_state(store: DiskBlobs) -> None:
    assert store.statistics() == NOTHING
    kept, dropped, going = [await store.create() for _ in range(3)]
    await kept.write(b"12345")
    await kept.commit()
    await dropped.abort()
    await going.write(b"x" * GATHER)
    await store.delete(["blob-0000", "unknown-1"])
    assert store.statistics() == DiskStatistics(
        writing=1, kept=1, kept_bytes=5, aborted=1, deleted=1, swept=0
    )
    assert repr(store) == f"<DiskBlobs {store.root} open, 1 being written, 1 kept (5 bytes)>"
    assert repr(kept) == "<DiskBlobWriter blob-0000 kept, 5 bytes on disk>"
    assert repr(going) == f"<DiskBlobWriter blob-0002 open, {GATHER} bytes on disk>"
    await store.close()
    assert repr(store) == f"<DiskBlobs {store.root} closed, 0 being written, 1 kept (5 bytes)>"


async def test_small_writes_are_gathered(store: DiskBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[str] = []
    run = store.run

    async def counted(function, *arguments):
        trips.append(function.__name__)
        return await run(function, *arguments)

    monkeypatch.setattr(store, "run", counted)
    writer = await store.create()
    for _ in range(64):
        await writer.write(b"x" * 8192)
    assert trips == ["append"] * (64 * 8192 // GATHER)
    small = await store.create()
    await small.write(b"x" * 8192)
    trips.clear()
    await small.commit()
    assert trips == ["keep"]
    dropped = await store.create()
    await dropped.write(b"x" * 8192)
    await dropped.abort()
    assert trips == ["keep"]  # nothing of it was ever on the disk


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="only there a handle tells its file")
async def test_bytes_then_name_are_synced_off_the_loop(
    store: DiskBlobs, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_thread = threading.get_ident()
    synced: list[str] = []

    def fsync(handle: int) -> None:
        assert threading.get_ident() != loop_thread
        synced.append((OPEN_FILES / str(handle)).readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        await (await store.create()).commit()
    first = ["blob-0000", store.root.name, "00"]  # its bytes; that there is a folder; its name
    assert synced == [*first, "blob-0001", store.root.name, "01"]
    synced.clear()
    ids.fixed = "other-00"
    await (await store.create()).commit()
    assert synced == ["other-00", "00"]


async def test_open_removes_the_halves_of_a_dead_process(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir(parents=True)
    (tmp_path / "incoming" / "half-1").write_bytes(b"half")
    store = make(tmp_path)
    await store.open()
    assert files(tmp_path) == []
    await store.close()


async def test_open_spares_the_halves_of_a_living_store(store: DiskBlobs) -> None:
    writer = await store.create()
    await writer.write(b"x" * GATHER)
    other = make(store.root)
    await other.open()
    assert files(store.root) == ["incoming/blob-0000"]
    await writer.commit()
    assert files(store.root) == ["00/blob-0000"]
    await other.close()


async def test_open_spares_them_whoever_was_there_first(store: DiskBlobs) -> None:
    async with opened(make(store.root)) as second:
        await store.close()
        writer = await second.create()
        await writer.write(b"x" * GATHER)
        async with opened(make(store.root)):
            assert files(store.root) == ["incoming/blob-0000"]


CHILD = """
import asyncio, sys
from pathlib import Path
from millstream.blob_stores.disk import GATHER, DiskBlobs

async def main():
    ids = iter(("kept-00", "half-00"))
    store = DiskBlobs(Path(sys.argv[1]), new_id=lambda: next(ids), now=lambda: 0.0)
    await store.open()
    await (await store.create()).commit()
    await (await store.create()).write(b"x" * GATHER)
    print("ready", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


async def test_halves_live_as_long_as_the_process_that_writes_them(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    async with opened(make(tmp_path)):
        assert files(tmp_path) == ["00/kept-00", "incoming/half-00"]
    child.kill()
    await child.communicate()
    async with opened(make(tmp_path)):
        assert files(tmp_path) == ["00/kept-00"]


async def test_close_leaves_no_half_and_lets_the_next_one_clean_up(
    store: DiskBlobs,
) -> None:
    writer = await store.create()
    await writer.write(b"x" * GATHER)
    await store.close()
    assert files(store.root) == []
    (store.root / "incoming" / "half-1").write_bytes(b"half")
    other = make(store.root)
    await other.open()
    assert files(store.root) == []
    await other.close()


async def test_sweep_goes_by_the_injected_clock(store: DiskBlobs, clock: Clock) -> None:
    for clock.time in (1000.0, 2000.0, 3000.0):
        await (await store.create()).commit()
    assert await store.sweep(keep=["blob-0000"], before=3000.0) == 1
    assert files(store.root) == ["00/blob-0000", "02/blob-0002"]
    assert store.statistics().swept == 1


async def test_sweep_takes_abandoned_halves_but_not_its_own(store: DiskBlobs, clock: Clock) -> None:
    writer = await store.create()
    await writer.write(b"x" * GATHER)
    half = store.root / "incoming" / "half-1"
    half.write_bytes(b"of a process that died while this one lived")
    os.utime(half, (clock.time, clock.time))
    assert await store.sweep(keep=(), before=clock.time) == 0
    assert half.exists()
    assert await store.sweep(keep=(), before=clock.time + 1) == 0  # halves are no blobs
    assert files(store.root) == ["incoming/blob-0000"]


async def test_sweep_leaves_foreign_files_alone(store: DiskBlobs) -> None:
    (store.root / "zz").mkdir()
    (store.root / "zz" / ".hidden.txt").write_text("not ours")
    (store.root / "yy").write_text("no folder")
    assert await store.sweep(keep=(), before=float("inf")) == 0
    assert files(store.root) == ["yy", "zz/.hidden.txt"]


@pytest.mark.parametrize("made", ["", "ab", "../../etc", "-ab", "ab-", "a/b", "a.b", "x" * 129])
async def test_ids_that_could_leave_the_folder_are_refused(
    store: DiskBlobs, ids: Ids, made: str
) -> None:
    ids.fixed = made
    with pytest.raises(ValueError, match="not a blob id"):
        await store.create()


async def test_a_repeated_id_destroys_nothing(store: DiskBlobs, ids: Ids) -> None:
    ids.fixed = "the-same"
    first = await store.create()
    await first.write(b"first")
    await first.commit()
    second = await store.create()
    await second.write(b"second")
    with pytest.raises(StoreError, match="used before"):
        await second.commit()
    await second.abort()
    assert store.path("the-same").read_bytes() == b"first"
    assert files(store.root) == ["me/the-same"]


async def test_a_commit_cancelled_after_its_rename_is_taken_back(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    renamed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def sync_folder(folder: Path) -> None:
        if folder != store.root:
            loop.call_soon_threadsafe(renamed.set)
            held.wait()

    monkeypatch.setattr(disk, "_sync_folder", sync_folder)
    writer = await store.create()
    await writer.write(b"x")
    commit = asyncio.create_task(writer.commit())
    await renamed.wait()
    assert files(store.root) == ["00/blob-0000"]
    commit.cancel()
    await asyncio.wait([commit])
    abort = asyncio.create_task(writer.abort())
    held.set()
    await abort
    assert files(store.root) == []
    assert store.statistics() == DiskStatistics(
        writing=0, kept=0, kept_bytes=0, aborted=1, deleted=0, swept=0
    )


async def test_an_operation_cancelled_before_a_thread_took_it_leaves_nothing(
    store: DiskBlobs, held: threading.Event
) -> None:
    busy = [asyncio.create_task(store.run(held.wait)) for _ in range(disk.THREADS)]
    writer = await store.create()
    await asyncio.sleep(0)
    commit = asyncio.create_task(writer.commit())
    await asyncio.sleep(0)
    commit.cancel()
    await asyncio.wait([commit])
    assert commit.cancelled()
    held.set()
    await asyncio.gather(*busy)
    await writer.abort()
    assert files(store.root) == []


async def test_an_operation_that_a_thread_takes_after_the_abort_does_nothing(
    store: DiskBlobs,
) -> None:
    """Threads take work in order, and may still get to the lock out of order."""
    half = disk._Half(store, "overtaken")
    half.drop()
    half.append(b"x")
    with pytest.raises(StoreError, match="aborted"):
        half.keep(b"y")
    assert files(store.root) == []


async def test_after_a_cancelled_write_no_commit_can_lose_bytes(
    store: DiskBlobs, held: threading.Event
) -> None:
    busy = [asyncio.create_task(store.run(held.wait)) for _ in range(disk.THREADS)]
    await asyncio.sleep(0)
    writer = await store.create()
    write = asyncio.create_task(writer.write(b"x" * GATHER))
    await asyncio.sleep(0)
    write.cancel()
    await asyncio.wait([write])
    with pytest.raises(RuntimeError, match=r"create\(\)"):
        await writer.commit()
    held.set()
    await asyncio.gather(*busy)
    await writer.abort()


@pytest.mark.parametrize("after", ["commit", "abort"])
async def test_a_writer_is_used_once(store: DiskBlobs, after: str) -> None:
    writer = await store.create()
    await getattr(writer, after)()
    with pytest.raises(RuntimeError, match="begin another blob with create"):
        await writer.write(b"x")
    with pytest.raises(RuntimeError, match="begin another blob with create"):
        await writer.commit()


async def test_a_full_disk_is_a_store_error_and_leaves_nothing(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writer = await store.create()
    await writer.write(b"x" * GATHER)
    with pytest.raises(StoreError, match=r"blob store: No space left on device"):
        await writer.commit()
    await writer.abort()
    assert files(store.root) == []


async def test_a_closed_store_says_so(store: DiskBlobs) -> None:
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.create()
    with pytest.raises(StoreError, match="not open"):
        await store.delete(["blob-0000"])


async def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    store = make(tmp_path / "taken")
    with pytest.raises(StoreError):
        await store.open()
    assert "closed" in repr(store)


async def test_a_store_opens_again_and_finds_its_blobs(store: DiskBlobs) -> None:
    writer = await store.create()
    await writer.write(b"kept")
    blob = await writer.commit()
    await store.close()
    await store.open()
    assert store.path(blob.id).read_bytes() == b"kept"
