"""What the SQLite store does about files that are not its own, or not fit for use."""

import os
import sqlite3

import pytest

from millstream.errors import StoreError
from millstream.events import Segment
from millstream.store import Run
from millstream.stores import sqlite_file as file
from millstream.stores.sqlite import SqliteStore
from millstream.stores.sqlite_writer import OLDEST


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


async def opened(path, **options):
    store = SqliteStore(path, **options)
    await store.open()
    return store


async def refusal(path):
    store = SqliteStore(path)
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert str(path) in caught.value.message
    with pytest.raises(StoreError, match="not open"):
        await store.run("r")
    return caught.value.message


async def test_a_second_store_of_this_process_is_refused(path):
    store = await opened(path)
    message = await refusal(path)
    assert f"process {os.getpid()}" in message
    assert "--store" in message
    await store.close()
    await (await opened(path)).close()


async def test_a_file_that_is_no_database_is_refused_and_unharmed(path):
    path.write_bytes(b"not a database, but somebody's notes\n" * 100)
    before = path.read_bytes()
    assert "not a database" in await refusal(path)
    assert path.read_bytes() == before


async def test_another_programs_database_is_refused_and_unharmed(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = path.read_bytes()
    assert "another program" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused(path):
    await (await opened(path)).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {file.VERSION + 1}")
    db.close()
    message = await refusal(path)
    assert f"schema {file.VERSION + 1}" in message
    assert "upgrade millstream" in message


async def test_a_folder_in_place_of_the_file_is_refused(path):
    path.mkdir()
    assert "unable to open" in await refusal(path)


async def test_a_file_in_place_of_the_folder_is_refused(path):
    path.write_bytes(b"")
    await refusal(path / "runs.db")


async def test_a_refused_file_can_be_opened_once_it_is_fit(path):
    path.write_bytes(b"x" * 5000)
    store = SqliteStore(path)
    with pytest.raises(StoreError):
        await store.open()
    path.unlink()
    await store.open()
    await store.close()


async def test_the_folder_is_made_and_odd_names_work(tmp_path):
    path = tmp_path / "a b" / "100%?#é" / "runs #1.db"
    store = await opened(path)
    await store.create(Run("r", "p", 1.0), Segment(1, (b"{}",)), now=0, ttl=1)
    assert (await store.read("r", 0)).last == 1
    await store.close()
    assert path.is_file()


async def test_all_is_in_one_file_after_close(path):
    store = await opened(path)
    await store.create(Run("r", "p", 1.0), Segment(1, (b"{}",)), now=0, ttl=1)
    await store.close()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["runs.db", "runs.db.lock"]


async def test_a_damaged_file_is_a_store_error_without_payload(path):
    store = await opened(path)
    events = tuple(b'"SECRET %d"' % number for number in range(20_000))
    await store.create(Run("r", "p", 1.0, input=b'"SECRET"'), Segment(1, events), now=0, ttl=1)
    await store.close()
    with path.open("r+b") as damaged:
        size = damaged.seek(0, os.SEEK_END)
        damaged.seek(4096 * 20)
        damaged.write(b"\xff" * (size - 4096 * 20))
    store = SqliteStore(path)
    with pytest.raises(StoreError, match=r"SQLITE_CORRUPT") as caught:
        await read_all(store)
    assert "SECRET" not in str(caught.value)
    await store.close()


async def read_all(store):
    await store.open()
    after = 0
    while (page := await store.read("r", after)).segments:
        after = page.segments[-1].last


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("process", 1)])
def test_durability_is_what_sqlite_calls_synchronous(path, durability, synchronous):
    db = file.connect_writer(path, durability)
    assert db.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_readers_cannot_write(path):
    db = file.connect_writer(path, "full")
    reader = file.connect_reader(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM run")
    reader.close()
    db.close()


def steps(db, sql, values):
    """How many instructions SQLite's machine takes: work done, whatever the clock says."""
    db.execute(sql, values).fetchall()  # the first time, SQLite reads the schema as well
    count = 0

    def step():
        nonlocal count
        count += 1

    db.set_progress_handler(step, 1)
    db.execute(sql, values).fetchall()
    db.set_progress_handler(None, 0)
    return count


FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO run (id, pipeline, created, tier, state, ended, epoch, worker, lease_until)
SELECT :kind || i, iif(i % 2, 'p', 'q'), i, 'normal', :state, :ended, 1, :worker, :until FROM n
"""
KINDS = {
    "ended": {"count": 100_000, "state": "completed", "ended": 1, "worker": None, "until": None},
    "held": {"count": 1000, "state": "running", "ended": None, "worker": "w", "until": 90},
    "free": {"count": 5000, "state": "queued", "ended": None, "worker": None, "until": None},
}


@pytest.mark.parametrize("kinds", [["ended"], ["ended", "held"], ["ended", "held", "free"]])
def test_claiming_takes_as_long_however_many_runs_there_are(kinds, path):
    db = file.connect_writer(path, "process")
    db.execute("BEGIN")
    for kind in kinds:
        db.execute(FILL, {"kind": kind, **KINDS[kind]})
    db.execute("COMMIT")
    asked = {"pipelines": '["p", "q"]', "now": 50}
    assert steps(db, OLDEST, asked) < 200
    db.close()


async def test_a_page_costs_the_same_from_a_short_and_a_long_log(path):
    store = await opened(path, durability="process")
    for name, segments in (("short", 20), ("long", 2000)):
        await store.create(Run(name, "p", 1.0), Segment(1, (b"{}",)), worker="w", now=0, ttl=9)
        for position in range(2, segments):
            await store.append(name, 1, Segment(position, (b'"%0197d"' % position,)))
    await store.close()
    db = file.connect_reader(path)
    asked = {"after": 5, "max_bytes": 1000}
    short, long = (steps(db, file.PAGE, {"run": name, **asked}) for name in ("short", "long"))
    assert short == long
    db.close()


async def test_a_long_segment_is_kept_in_rows_of_bounded_size(path):
    store = await opened(path, durability="process")
    events = [b'"' + b"x" * (number * 37 % 9000) + b'"' for number in range(2000)]
    events[700] = b'"' + b"x" * 300_000 + b'"'
    await store.create(Run("r", "p", 1.0), Segment(1, tuple(events)), now=0, ttl=9)
    await store.close()
    db = file.connect_reader(path)
    rows = db.execute("SELECT first, last, length(events) FROM segment ORDER BY first").fetchall()
    assert [first for first, _, _ in rows] == [1, *(last + 1 for _, last, _ in rows[:-1])]
    assert [size for _, _, size in rows if size > file.ROW_BYTES] == [300_003]
    assert len(rows) < 160
    db.close()
