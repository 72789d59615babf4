"""What only the SQLite store promises: group commit, whole transactions, reads that never wait."""

import asyncio
import sqlite3
import threading
from contextlib import asynccontextmanager

import pytest
import uvloop

from millstream.errors import StaleEpoch, StoreError
from millstream.events import Segment, flatten
from millstream.store import Cancellation, Mark, Promise, Run
from millstream.stores import sqlite_file as file
from millstream.stores.sqlite import SqliteStore, Statistics
from millstream.stores.sqlite_writer import MOST_ROWS, Writer, rows_for
from millstream.testing.store_conformance import check_store


@asynccontextmanager
async def opened(path, runs=0, **options):
    """An open store with so many runs, each held by w at epoch 1."""
    store = SqliteStore(path, **options)
    await store.open()
    for number in range(runs):
        await create(store, f"r{number}")
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def connections(monkeypatch):
    """The writing connections that stores open from here on."""
    opened = []
    connect = file.connect_writer

    def remember(*values):
        opened.append(connect(*values))
        return opened[-1]

    monkeypatch.setattr(file, "connect_writer", remember)
    return opened


def event(position, text=b"{}"):
    return Segment(position, (text,))


async def create(store, name, **fields):
    run = Run(name, "p", 1.0, **fields)
    return await store.create(run, event(1), worker="w", now=0.0, ttl=100.0)


async def last(store, name):
    return (await store.read(name, 0)).last


# --- group commit ---


async def test_what_is_asked_at_once_is_one_transaction(path):
    async with opened(path, runs=100) as store:
        before = store.statistics()
        await asyncio.gather(*(store.append(f"r{n}", 1, event(2)) for n in range(100)))
        now = store.statistics()
    assert now.operations - before.operations == 100
    assert now.commits - before.commits == 1
    assert now.largest_batch == 100


async def test_the_first_goes_at_once_and_the_rest_gather(path):
    async with opened(path, runs=50) as store:
        before = store.statistics()
        first = asyncio.ensure_future(store.append("r0", 1, event(2)))
        assert store.statistics().waiting == 1
        await asyncio.sleep(0)
        assert store.statistics().waiting == 0  # under way, with no other to wait for
        rest = [store.append(f"r{n}", 1, event(2)) for n in range(1, 50)]
        await asyncio.gather(first, *rest)
        assert store.statistics().commits - before.commits == 2


async def test_busy_writers_share_their_commits(path):
    async with opened(path, runs=40) as store:
        before = store.statistics()

        async def work(name):
            for position in range(2, 22):
                await store.append(name, 1, event(position))

        await asyncio.gather(*(work(f"r{n}") for n in range(40)))
        now = store.statistics()
    assert now.operations - before.operations == 800
    assert now.commits - before.commits <= 60


async def test_what_is_refused_takes_no_transaction(path):
    async with opened(path, runs=1) as store:
        before = store.statistics().commits
        for epoch, position, refusal in ((2, 2, StaleEpoch), (1, 5, ValueError)):
            with pytest.raises(refusal):
                await store.append("r0", epoch, event(position))
        assert await store.claim("w2", pipelines=["p"], now=0, ttl=1) is None
        assert store.statistics().commits == before


@pytest.mark.parametrize(
    "count", [1, 16, 17, 18, 33, 255, MOST_ROWS - 1, MOST_ROWS, MOST_ROWS + 1, 2 * MOST_ROWS + 17]
)
async def test_any_number_of_segments_is_one_transaction(path, count):
    async with opened(path, runs=1) as store:
        before = store.statistics().commits
        appends = [store.append("r0", 1, event(n, b'"%d"' % n)) for n in range(2, count + 2)]
        await asyncio.gather(*appends)
        now = store.statistics()
        assert (now.commits - before, now.largest_batch) == (1, count)
        page = await store.read("r0", 0, max_bytes=10**6)
    assert flatten(page.segments)[1:] == [b'"%d"' % n for n in range(2, count + 2)]


def test_few_statements_take_any_number_of_rows():
    sizes = [rows_for(count) for count in range(1, MOST_ROWS + 1)]
    assert all(n <= size <= max(16, n * 9 / 8) for n, size in enumerate(sizes, 1))
    assert max(sizes) == MOST_ROWS
    assert len(set(sizes)) < 64


async def test_who_is_told_badly_keeps_it_from_nobody(path):
    heard: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    def fail(_):
        raise RuntimeError("told badly")

    async with opened(path, runs=3) as store:
        appends = [store.append(f"r{n}", 1, event(2)) for n in range(3)]
        first, odd, second = appends
        assert isinstance(odd, Promise)
        odd.then(fail)
        await asyncio.gather(first, second)
        assert [await last(store, f"r{n}") for n in range(3)] == [2, 2, 2]
    assert [str(context["exception"]) for context in heard] == ["told badly"]


# --- transactions that fail ---


async def appended(store, *what):
    """Asked for in its turn, as the other operations are: so they share a transaction."""
    await store.append(*what)


async def test_a_full_disk_fails_whole_transactions_and_then_they_work_again(path, connections):
    async with opened(path, runs=3) as store:
        await create(store, "free")
        await store.release("free", 1)
        (db,) = connections
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 4}")
        before = await state(store)
        outcomes = await asyncio.gather(
            appended(store, "r0", 1, event(2)),
            appended(store, "r1", 1, event(2), Mark("completed", 5.0)),
            store.cancel("r2", Cancellation("me", "enough")),
            store.claim("w2", pipelines=["p"], now=0.0, ttl=9.0),
            create(store, "new"),
            appended(store, "r0", 9, event(3)),
            appended(store, "r0", 1, event(3, b'"' + b"x" * 200_000 + b'"')),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {StoreError}
        assert "SQLITE_FULL" in str(outcomes[0])
        assert await state(store) == before

        await store.append("r0", 1, event(2))  # small enough
        lease = await store.claim("w2", pipelines=["p"], now=0.0, ttl=9.0)
        assert (lease and lease.run.id, lease and lease.epoch) == ("free", 2)
        db.execute("PRAGMA max_page_count = 100000")
        await store.append("r0", 1, event(3, b'"' + b"x" * 200_000 + b'"'))
        assert await last(store, "r0") == 3


FIRST_KEPT_ALONE = {
    "segments of two statements": lambda store: [
        appended(store, "r0", 1, event(2)),
        appended(store, "r1", 1, event(2)),
    ],
    "segments before a look at the tables": lambda store: [
        appended(store, "r0", 1, event(2)),
        store.prune(ended_before=0.0),
    ],
    "a new run": lambda store: [create(store, "new")],
    "a renewed lease": lambda store: [store.renew("w", [("r0", 1)], now=50.0, ttl=100.0)],
}


@pytest.mark.parametrize("small", FIRST_KEPT_ALONE)
async def test_what_fails_late_takes_back_what_went_before(small, path, connections):
    async with opened(path, runs=3) as store:
        (db,) = connections
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 4}")
        before = await state(store)
        outcomes = await asyncio.gather(
            *FIRST_KEPT_ALONE[small](store),
            appended(store, "r2", 1, event(2, b'"' + b"x" * 200_000 + b'"')),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {StoreError}
        assert await state(store) == before
        assert await store.claim("w2", pipelines=["p"], now=99.0, ttl=1.0) is None
        assert await store.claim("w2", pipelines=["p"], now=100.0, ttl=1.0, run="r0")


async def state(store):
    runs = await store.runs()
    return runs, [await store.read(run.id, 0) for run in runs]


async def test_a_database_locked_by_another_program_is_a_store_error(path, connections):
    async with opened(path, runs=2) as store:
        connections[0].execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        appends = [store.append(f"r{n}", 1, event(2), Mark("running", 2.0)) for n in range(2)]
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
        assert "SQLITE_BUSY" in str(outcomes[0])
        assert await last(store, "r0") == 1
        other.execute("ROLLBACK")
        other.close()
        await store.append("r0", 1, event(2))
        assert await last(store, "r0") == 2


async def test_a_value_that_sqlite_cannot_hold_harms_no_neighbour(path):
    async with opened(path, runs=2) as store:
        outcomes = await asyncio.gather(
            store.append("r0", 1, event(2)),
            create(store, "odd", owner="\ud800 SECRET"),
            store.append("r1", 1, event(2), Mark("running", 3.0)),
            store.append("r0", 2, event(3)),
            return_exceptions=True,
        )
        assert [type(one) for one in outcomes] == [type(None), StoreError, type(None), StaleEpoch]
        assert "SECRET" not in str(outcomes[1])
        assert [await last(store, name) for name in ("r0", "r1", "odd")] == [2, 2, 0]
        assert (await create(store, "odd")).existing is False


# --- reads, cancellation, closing ---


@pytest.fixture
def held_up(monkeypatch):
    """Appends stay inside the writer's thread: `entered` says that one is there, until `leave`."""
    entered, leave = threading.Event(), threading.Event()
    append = Writer.append

    def slow(self, *values):
        entered.set()
        leave.wait()
        return append(self, *values)

    monkeypatch.setattr(Writer, "append", slow)
    yield entered, leave
    leave.set()


async def test_closing_waits_for_the_transaction_after_the_one_under_way(path, held_up):
    entered, leave = held_up
    async with opened(path, runs=2) as store:
        first = asyncio.ensure_future(store.append("r0", 1, event(2)))
        await asyncio.to_thread(entered.wait)
        second = asyncio.ensure_future(store.append("r1", 1, event(2)))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leave.set()
        await asyncio.gather(first, second, closing)
    async with opened(path) as store:
        assert [await last(store, name) for name in ("r0", "r1")] == [2, 2]


async def test_reads_do_not_wait_for_the_writer(path, held_up):
    entered, leave = held_up
    async with opened(path, runs=1) as store:
        writing = asyncio.ensure_future(store.append("r0", 1, event(2)))
        await asyncio.to_thread(entered.wait)
        page, run, runs = await asyncio.gather(store.read("r0", 0), store.run("r0"), store.runs())
        assert (page.last, run.seq if run else None, len(runs)) == (1, 1, 1)
        assert not writing.done()
        leave.set()
        await writing
        assert await last(store, "r0") == 2


async def test_a_cancelled_caller_does_not_cancel_the_write(path):
    async with opened(path, runs=2) as store:
        gone = asyncio.ensure_future(store.append("r0", 1, event(2)))
        stays = asyncio.ensure_future(store.append("r1", 1, event(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        assert gone.cancelled()
        assert [await last(store, name) for name in ("r0", "r1")] == [2, 2]


async def test_a_closed_store_refuses_until_it_is_open_again(path):
    async with opened(path, runs=1) as store:
        await store.close()
        for asked in (store.run("r0"), store.append("r0", 1, event(2)), store.runs()):
            with pytest.raises(StoreError, match="closed, not open"):
                await asked
        await store.open()
        with pytest.raises(StoreError, match="open already"):
            await store.open()
        with pytest.raises(StaleEpoch):  # a lease ends with the store that gave it
            await store.append("r0", 1, event(2))
        lease = await store.claim("w", pipelines=["p"], now=0.0, ttl=1.0)
        assert lease is not None
        assert lease.epoch == 2


async def test_closing_waits_for_reads_under_way(path):
    async with opened(path, runs=5) as store:
        reads = [asyncio.ensure_future(store.read(f"r{n % 5}", 0)) for n in range(200)]
        await asyncio.sleep(0)
        await store.close()
        assert [page.last for page in await asyncio.gather(*reads)] == [1] * 200


async def test_repr_and_statistics_tell_its_state(path):
    store = SqliteStore(path)
    assert store.statistics() == Statistics(0, 0, 0, 0)
    assert "new, durability full" in repr(store)
    async with opened(path, runs=2, durability="process") as store:
        assert store.statistics() == Statistics(2, 2, 1, 0)
        assert "open, durability process, 2 operations in 2 commits, 0 waiting" in repr(store)
    assert "closed" in repr(store)


def test_all_of_it_under_uvloop(tmp_path):
    made = iter(range(1000))

    async def main():
        await check_store(lambda: opened(tmp_path / f"{next(made)}.db", durability="process"))

    uvloop.run(main())
    assert next(made) > 40
