"""The SQLite store's file: its lock, its schema, its rows, and the reading of them.

Belongs to `stores/sqlite.py`. Synchronous, called in that store's threads; knows no event loop,
no group commit and no clock. SQL is constant, so that each statement is prepared once.

Segments lie in the order in which they came, with an index over (run, first): one commit then
touches a few pages at the end of the table, where a table ordered by run would touch one page
for each run (2 to 5 times slower at 100 and 1,000 runs at once).
"""

import os
import sqlite3
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

from millstream.errors import StoreError
from millstream.events import Position, Segment
from millstream.store import Cancellation, Page, Run
from millstream.stores import fit
from millstream.stores.sqlite_results import SCHEMA as RESULTS

Durability = Literal["full", "process"]
SegmentRow = tuple[int, Position, Position, bytes]

VERSION: Final = 1
"""The schema that this code reads and writes (PRAGMA user_version)."""

APPLICATION: Final = 0x4D494C4C  # "MILL", for `file` and for refusing another program's database

ROW_BYTES: Final = 65_536
"""A longer segment is kept as several rows, so that a reader never fetches much for little."""

CHECKPOINT_PAGES: Final = 4_000
"""Of 4 KiB: when the WAL has this many, they are put into the file, which takes some milliseconds
and two syncs. Runs that append in turn write the same pages of the index again and again: the more
gather, the fewer there are to put."""

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE run (
    num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pipeline TEXT NOT NULL,
    created REAL NOT NULL, tier TEXT NOT NULL, owner TEXT, deadline REAL, unwatched REAL,
    key TEXT UNIQUE, fingerprint TEXT, state TEXT NOT NULL, started REAL, ended REAL,
    epoch INTEGER NOT NULL, worker TEXT, lease_until REAL, cancel_by TEXT, cancel_reason TEXT);
CREATE INDEX run_by_age ON run (created, id);
CREATE INDEX run_by_state ON run (state, created, id);
CREATE INDEX run_by_owner ON run (owner, created, id) WHERE owner IS NOT NULL;
CREATE INDEX run_free ON run (pipeline, created, id) WHERE worker IS NULL AND ended IS NULL;
CREATE INDEX run_held ON run (lease_until) WHERE worker IS NOT NULL;
CREATE INDEX run_ended ON run (ended, id) WHERE ended IS NOT NULL;
CREATE TABLE input (run INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE segment (run INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    events BLOB NOT NULL);
CREATE UNIQUE INDEX segment_at ON segment (run, first);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""

LAST: Final = "(SELECT last FROM segment WHERE run = num ORDER BY first DESC LIMIT 1)"
"""The position of a run's last event; kept nowhere else, so that an append writes one row."""

FIRST: Final = "(SELECT first FROM segment WHERE run = num ORDER BY first LIMIT 1)"
"""The position of its oldest event that is kept; kept nowhere else either."""

_RUN: Final = f"""
SELECT id, pipeline, created, body, tier, owner, deadline, unwatched, key, fingerprint, state,
       started, ended, {LAST}, epoch, cancel_by, cancel_reason
FROM run JOIN input ON input.run = num
"""  # in the order of Run's fields
RUN_BY_ID: Final = _RUN + "WHERE id = ?"
RUN_BY_KEY: Final = _RUN + "WHERE key = ?"
RUNS_ENDED: Final = _RUN + "WHERE ended < ? ORDER BY ended, id LIMIT ?"

_VOID_LEASES: Final = "UPDATE run SET worker = NULL, lease_until = NULL WHERE worker IS NOT NULL"

_FILTERS: Final = {
    "pipeline": "pipeline = :pipeline",
    "state": "state = :state",
    "owner": "owner = :owner",
    "before": "(created, id) < (SELECT created, id FROM run WHERE id = :before)",
}
_RUNS: Final = {
    names: _RUN
    + "WHERE "
    + " AND ".join(["TRUE", *(_FILTERS[name] for name in names)])
    + " ORDER BY created DESC, id DESC LIMIT :limit"
    for chosen in product((False, True), repeat=len(_FILTERS))
    for names in [tuple(name for name, wanted in zip(_FILTERS, chosen, strict=True) if wanted)]
}

PAGE: Final = f"""
WITH RECURSIVE
    this AS (SELECT num, ended IS NOT NULL AS over FROM run WHERE id = :run),
    page (run, first, last, events, size) AS (
        SELECT run, first, last, events, iif(first > :after, length(events), 0)
        FROM this JOIN segment ON run = num
            AND first = coalesce(
                (SELECT max(first) FROM segment WHERE run = num AND first <= :after + 1), {FIRST})
        WHERE last > :after
        UNION ALL
        SELECT next.run, next.first, next.last, next.events, size + length(next.events)
        FROM page JOIN segment AS next ON next.run = page.run AND next.first = page.last + 1
        WHERE size < :max_bytes)
SELECT over, {FIRST}, {LAST}, min(first), CAST(group_concat(events, '') AS BLOB)
FROM this LEFT JOIN page
"""  # one step for a page of many rows: each step takes the interpreter's lock anew


def find_run(db: sqlite3.Connection, sql: str, value: str) -> Run | None:
    """The run of an id (RUN_BY_ID) or a key (RUN_BY_KEY), or None."""
    row = db.execute(sql, (value,)).fetchone()
    return row and as_run(row)


def list_runs(db: sqlite3.Connection, limit: int, wanted: dict[str, str | None]) -> list[Run]:
    """Newest first; `wanted` holds pipeline, state, owner and before, None where all are."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return [as_run(row) for row in db.execute(_RUNS[tuple(given)], {**given, "limit": limit})]


def read_page(db: sqlite3.Connection, run: str, after: Position, max_bytes: int) -> Page:
    """Part of a log, from one snapshot; fetches at most about `max_bytes` + 2 * ROW_BYTES."""
    asked = {"run": run, "after": max(after, 0), "max_bytes": max_bytes}
    over, kept, last, first, lines = db.execute(PAGE, asked).fetchone()
    if lines is None:
        return Page((), kept or 1, last or 0, ended=bool(over))
    found = Segment.from_ndjson(first, lines).after(asked["after"])
    return Page((fit(found, max_bytes, at_least=1),), kept, last, ended=bool(over))


def as_run(row: tuple[Any, ...]) -> Run:
    """A row of _RUN as a Run."""
    *fields, by, reason = row
    return Run(*fields, cancel=None if by is None else Cancellation(by, reason))


def as_row(run: Run, worker: str | None, until: float | None) -> tuple[Any, ...]:
    """A new run as a row of `run` (its `num` is SQLite's to choose), with who holds it."""
    by, reason = (run.cancel.by, run.cancel.reason) if run.cancel else (None, None)
    kept = (run.id, run.pipeline, run.created, run.tier, run.owner, run.deadline, run.unwatched)
    kept += (run.key, run.fingerprint, run.state, run.started, run.ended, run.epoch)
    return (*kept, worker, until, by, reason)


def as_rows(num: int, segment: Segment) -> list[SegmentRow]:
    """A segment as rows of `segment`: one, or several of at most ROW_BYTES (or one event) each."""
    lines = segment.ndjson()
    if len(lines) <= ROW_BYTES or len(segment) == 1:
        return [(num, segment.first, segment.last, lines)]
    rows: list[SegmentRow] = []
    while len(segment):
        part = fit(segment, ROW_BYTES, at_least=1)
        rows.append((num, part.first, part.last, part.ndjson()))
        segment = segment.after(part.last)
    return rows


class FileLock:
    """An exclusive lock on `<path>.lock`, held as long as this process lives at most.

    The operating system lets go of it when the process dies, however it dies. The file itself
    stays: removing it would let two processes lock two files of one name. A child made by fork
    alone shares the lock and would hold it on: start workers with spawn or forkserver.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(self._file)
        except (BlockingIOError, PermissionError):  # POSIX says the one, Windows the other
            message = (
                f"{path} is in use by another store{self._holder()}: stop that process, "
                "or choose another file (--store sqlite:///PATH)"
            )
            os.close(self._file)
            raise StoreError(message) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Let the next process have it."""
        os.close(self._file)

    def _holder(self) -> str:
        with suppress(OSError):  # where a lock forbids reading as well
            pid = os.read(self._file, 20).decode("ascii", "replace")
            return f" (process {pid})" if pid.isdigit() else ""
        return ""


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def connect_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """The one connection that writes; creates or checks the schema. Raises StoreError."""
    db = _connect(path, "rwc")
    try:
        _check_schema(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        # FULL syncs the WAL at every commit. NORMAL leaves it to the kernel, which keeps it when
        # this process dies, but not when the power does; it cannot damage the file either way.
        db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
        db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone stops at the drive's own cache
        db.execute("PRAGMA cache_size = -16000")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            db.executescript(_SCHEMA)
        db.executescript(RESULTS)
        # Whoever held a lease is dead: this process holds the lock, and has only now opened.
        db.execute(_VOID_LEASES)
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it never waits for the writer, nor the writer for it."""
    return _connect(path, "ro")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,  # transactions begin where this code says BEGIN
        check_same_thread=False,  # closed by another thread than the one that used it
        cached_statements=256,
    )


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname != "SQLITE_NOTADB":
            raise
        raise StoreError(f"{path} is not a database: choose another file") from None
    if application != APPLICATION and (tables or application):
        raise StoreError(f"{path} is a database of another program: choose another file")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer millstream (schema {version}; this one knows "
            f"{VERSION}): upgrade millstream, or choose another file"
        )
