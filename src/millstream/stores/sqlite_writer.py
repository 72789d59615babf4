"""What the SQLite store writes: operations, checked one by one, kept as one transaction.

Belongs to `stores/sqlite.py`. Synchronous; all of it runs in that store's one writer thread and
needs no lock. Knows no event loop, no reader and no clock.

An operation checks its preconditions before it writes anything, and raises Refused where they do
not hold: so a refused one spoils nothing for its neighbours in the same transaction. The checks
are made on what this process remembers of the live runs (nobody else writes the file), so that
an append costs no statement of its own: all segments of a transaction go in together.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from millstream.errors import StaleEpoch, StoreError
from millstream.events import Position, Segment
from millstream.store import ENDED, Cancellation, Created, Lease, Mark, Renewal, Run
from millstream.stores import check_new, unfit
from millstream.stores import sqlite_file as file
from millstream.stores.sqlite_operations import Append, Write
from millstream.stores.sqlite_results import Results

_INSERT_RUN: Final = """
INSERT INTO run (id, pipeline, created, tier, owner, deadline, unwatched, key, fingerprint, state,
    started, ended, epoch, worker, lease_until, cancel_by, cancel_reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_INSERT_INPUT: Final = "INSERT INTO input (run, body) VALUES (?, ?)"
_LIVE: Final = f"""
SELECT num, {file.LAST}, iif(worker IS NULL, NULL, epoch), cancel_by, cancel_reason
FROM run WHERE id = ? AND ended IS NULL
"""
_CLAIMABLE: Final = """
SELECT id FROM run WHERE id = :run AND pipeline IN (SELECT value FROM json_each(:pipelines))
    AND ended IS NULL AND (worker IS NULL OR lease_until <= :now)
"""
OLDEST: Final = """
SELECT id FROM run WHERE num IN (
    SELECT (SELECT num FROM run INDEXED BY run_free WHERE pipeline = wanted.value
            AND worker IS NULL AND ended IS NULL ORDER BY created, id LIMIT 1)
    FROM json_each(:pipelines) AS wanted
    UNION ALL
    SELECT num FROM run INDEXED BY run_held WHERE worker IS NOT NULL AND lease_until <= :now
        AND pipeline IN (SELECT value FROM json_each(:pipelines)))
ORDER BY created, id LIMIT 1
"""
"""Of the oldest free run of each pipeline and all whose lease has expired, the oldest."""

_LEASE: Final = "UPDATE run SET epoch = epoch + 1, worker = ?, lease_until = ? WHERE id = ?"
_RENEW: Final = "UPDATE run SET lease_until = ? WHERE num IN (SELECT value FROM json_each(?))"
_RELEASE: Final = "UPDATE run SET worker = NULL, lease_until = NULL WHERE num = ?"
_CANCEL: Final = "UPDATE run SET cancel_by = ?, cancel_reason = ? WHERE num = ?"
_AMEND: Final = "UPDATE input SET body = ? WHERE run = ?"
_MARK: Final = "UPDATE run SET state = ? WHERE num = ?"
_MARK_RUNNING: Final = (
    "UPDATE run SET state = 'running', started = coalesce(started, ?) WHERE num = ?"
)
_MARK_ENDED: Final = """
UPDATE run SET state = ?, ended = ?, worker = NULL, lease_until = NULL WHERE num = ?
"""
_TRIM: Final = """
DELETE FROM segment WHERE run = :num AND first < :before AND last < :before
    AND first < (SELECT max(first) FROM segment WHERE run = :num)
"""
_FIRST: Final = f"SELECT {file.FIRST} FROM (SELECT ? AS num)"
_GONE: Final = "(SELECT num FROM run WHERE id IN (SELECT value FROM json_each(?)))"
_FORGET: Final = (
    f"DELETE FROM segment WHERE run IN {_GONE}",
    f"DELETE FROM input WHERE run IN {_GONE}",
    f"DELETE FROM run WHERE num IN {_GONE}",
)
_EXACT, MOST_ROWS = 16, 512
"""One statement for many rows, because each step of a statement gives up the interpreter's lock,
and may wait long (sys.getswitchinterval) for a busy event loop to return it. There is a statement
for each number of rows up to the first of these, then for every eighth of a power of two up to the
second; what is missing is filled up with rows of NULL, which it leaves out."""


def rows_for(count: int) -> int:
    """How many rows the statement has that takes `count` of them (at most MOST_ROWS)."""
    if count <= _EXACT:
        return count
    step = 1 << ((count - 1).bit_length() - 4)
    return -(-count // step) * step


@cache
def _insert_segments(rows: int) -> str:
    values = "VALUES " + ", ".join(["(?, ?, ?, ?)"] * rows)
    if rows > _EXACT:
        values = f"SELECT * FROM ({values}) WHERE column1 IS NOT NULL"
    return f"INSERT INTO segment (run, first, last, events) {values}"


class Refused(Exception):
    """An operation's preconditions do not hold; `reason` is what its caller gets to see."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason


class _Live:
    """What the checks need of a run that has not ended. `epoch` may write; None: nobody may."""

    __slots__ = ("cancel", "epoch", "num", "seq")

    def __init__(
        self, num: int, seq: Position, epoch: int | None, cancel: Cancellation | None
    ) -> None:
        self.num, self.seq, self.epoch, self.cancel = num, seq, epoch, cancel


class Writer:
    """The connection that writes, and the operations on it."""

    def __init__(self, path: Path, durability: file.Durability) -> None:
        self._path = path
        self._durability: file.Durability = durability
        self.commits = 0
        self._live: dict[str, _Live] = {}
        self._rows: list[Any] = []  # of segments not yet inserted; four values each
        self.results = Results(self._write)

    def open(self) -> None:
        """Take the file, create what is missing, void every lease. Raises StoreError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = file.FileLock(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror or error}") from error
        try:
            self._db = file.connect_writer(self._path, self._durability)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, sqlite3.Error):
                raise as_store_error(self._path, error) from error
            raise

    def close(self) -> None:
        """Let go of the file; the last connection to close puts all into the one file."""
        self._live.clear()
        try:
            self._db.close()
        finally:
            self._lock.release()

    # --- transactions ---

    def commit(self, batch: Sequence[Write]) -> list[Any]:
        """Carry out a batch as one transaction. Returns a result or an exception for each.

        Where the transaction fails, nothing of it is kept and all of its operations have failed;
        unless one operation is itself at fault (a value that SQLite cannot hold): then each is
        carried out alone.
        """
        try:
            outcomes = self._carry_out(batch)
            self._finish()
        except Exception as error:
            self._undo()
            if len(batch) > 1 and not _is_the_machines(error):
                return [outcome for operation in batch for outcome in self.commit([operation])]
            return [as_store_error(self._path, error) for _ in batch]
        return outcomes

    def _carry_out(self, batch: Sequence[Write]) -> list[Any]:
        outcomes: list[Any] = []
        for each in batch:
            try:
                if isinstance(each, Append):
                    self.append(each.run, each.epoch, each.segment, each.mark)
                    outcomes.append(None)
                else:
                    outcomes.append(each.call())
            except Refused as refused:
                outcomes.append(refused.reason)
        return outcomes

    def _finish(self) -> None:
        if not self._rows and not self._db.in_transaction:
            return  # everything was refused, or there was nothing to do
        if len(self._rows) > 4 * MOST_ROWS:
            self._begin()  # otherwise one statement is a transaction already
        self._insert_segments()
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self.commits += 1

    def _undo(self) -> None:
        self._live.clear()
        self._rows.clear()
        self.results.forget_counts()
        if self._db.in_transaction:
            with suppress(sqlite3.Error):  # the failure may have ended the transaction already
                self._db.execute("ROLLBACK")

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _write(self, sql: str, values: Sequence[Any] | dict[str, Any]) -> sqlite3.Cursor:
        self._begin()
        return self._db.execute(sql, values)

    def _settle(self) -> None:
        """Before a look at runs: what was kept so far stands in the tables."""
        if self._rows:
            self._begin()
            self._insert_segments()

    def _insert_segments(self) -> None:
        values, self._rows = self._rows, []
        for start in range(0, len(values), 4 * MOST_ROWS):
            part = values[start : start + 4 * MOST_ROWS]
            size = rows_for(len(part) // 4)
            part += [None] * (4 * size - len(part))
            self._db.execute(_insert_segments(size), part)

    # --- operations: as in the port, with `until` for now + ttl ---

    def create(self, run: Run, first: Segment, worker: str | None, until: float) -> Created:
        """Keep a new run and the first events of its log, unless its key is known."""
        if run.key is not None and (known := self._look_up(file.RUN_BY_KEY, run.key)):
            return Created(known, existing=True)
        try:
            check_new(run, first)
        except ValueError as error:
            raise Refused(error) from None
        epoch = 0 if worker is None else 1
        held_until = None if worker is None else until
        row = file.as_row(replace(run, epoch=epoch), worker, held_until)
        inserted = self._write(_INSERT_RUN, row)
        if not inserted.rowcount:
            raise Refused(ValueError(f"run {run.id}: there is one of this id already"))
        num = inserted.lastrowid or 0
        self._write(_INSERT_INPUT, (num, run.input))
        live = self._live[run.id] = _Live(num, 0, epoch or None, run.cancel)
        self._keep(live, first)
        kept = replace(run, epoch=epoch, seq=live.seq)
        return Created(kept, False, Lease(kept, epoch, worker) if worker is not None else None)

    def claim(
        self, worker: str, pipelines: Sequence[str], now: float, until: float, run: str | None
    ) -> Lease | None:
        """Lease the oldest run that is free, or just `run`."""
        wanted = {"pipelines": json.dumps(list(pipelines)), "now": now, "run": run}
        row = self._db.execute(OLDEST if run is None else _CLAIMABLE, wanted).fetchone()
        if row is None:
            return None
        self._write(_LEASE, (worker, until, *row))
        claimed = self._look_up(file.RUN_BY_ID, *row)
        live = self._find(*row)
        assert claimed is not None and live is not None  # noqa: PT018  (it was just updated)
        live.epoch = claimed.epoch
        return Lease(claimed, claimed.epoch, worker)

    def renew(self, leases: Sequence[tuple[str, int]], until: float) -> list[Renewal]:
        """Prolong the leases that are still held."""
        held = [(run, self._holding(run, epoch)) for run, epoch in leases]
        numbers = [live.num for _, live in held if live]
        if numbers:
            self._write(_RENEW, (until, json.dumps(numbers)))
        return [Renewal(run, live is not None, live and live.cancel) for run, live in held]

    def release(self, run: str, epoch: int) -> None:
        """Hand a run back."""
        if live := self._holding(run, epoch):
            self._write(_RELEASE, (live.num,))
            live.epoch = None

    def append(self, run: str, epoch: int, segment: Segment, mark: Mark | None) -> None:
        """Keep a segment, and what it means for the run."""
        live = self._live.get(run) or self._find(run)
        if live is None or live.epoch != epoch:
            raise Refused(StaleEpoch(run, epoch))
        if segment.first != live.seq + 1 or segment.last < segment.first:
            raise Refused(unfit(run, segment, live.seq))
        self._keep(live, segment)
        if mark is not None:
            self._mark(run, live.num, mark)

    def trim(self, run: str, epoch: int, before: Position) -> Position:
        """Let go of whole rows at the log's beginning; the last one stays."""
        live = self._holding(run, epoch)
        if live is None:
            raise Refused(StaleEpoch(run, epoch))
        self._settle()
        self._write(_TRIM, {"num": live.num, "before": before})
        return self._write(_FIRST, (live.num,)).fetchone()[0]

    def cancel(self, run: str, cancellation: Cancellation) -> bool:
        """Note a wish to cancel; the first one stays."""
        live = self._find(run)
        if live is None:
            return False
        if live.cancel is None:
            self._write(_CANCEL, (cancellation.by, cancellation.reason, live.num))
            live.cancel = cancellation
        return True

    def amend(self, run: str, input: bytes) -> bool:
        """Replace a run's input."""
        live = self._find(run)
        if live is None:
            return False
        self._write(_AMEND, (input, live.num))
        return True

    def prune(self, ended_before: float, limit: int) -> list[Run]:
        """Forget the oldest of the runs that ended before then."""
        self._settle()
        rows = self._db.execute(file.RUNS_ENDED, (ended_before, max(limit, 0))).fetchall()
        gone = [file.as_run(row) for row in rows]
        if gone:
            ids = json.dumps([run.id for run in gone])
            for statement in _FORGET:
                self._write(statement, (ids,))
        return gone

    def _look_up(self, sql: str, value: str) -> Run | None:
        self._settle()
        return file.find_run(self._db, sql, value)

    def _find(self, run: str) -> _Live | None:
        live = self._live.get(run)
        if live is None and (row := self._db.execute(_LIVE, (run,)).fetchone()):
            num, seq, epoch, by, reason = row
            cancel = None if by is None else Cancellation(by, reason)
            live = self._live[run] = _Live(num, seq, epoch, cancel)
        return live

    def _holding(self, run: str, epoch: int) -> _Live | None:
        live = self._find(run)
        return live if live and live.epoch == epoch else None

    def _keep(self, live: _Live, segment: Segment) -> None:
        lines = segment.ndjson()
        if len(lines) <= file.ROW_BYTES:
            self._rows.extend((live.num, segment.first, segment.last, lines))
        else:
            for row in file.as_rows(live.num, segment):
                self._rows.extend(row)
        live.seq = segment.last

    def _mark(self, run: str, num: int, mark: Mark) -> None:
        if mark.state in ENDED:
            self._write(_MARK_ENDED, (mark.state, mark.at, num))
            del self._live[run]
        elif mark.state == "running":
            self._write(_MARK_RUNNING, (mark.at, num))
        else:
            self._write(_MARK, (mark.state, num))


def _is_the_machines(error: Exception) -> bool:
    theirs = sqlite3.DataError, sqlite3.ProgrammingError  # too big; of no type that SQLite knows
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, theirs)


def as_store_error(path: Path, error: BaseException) -> StoreError:
    """What failed, in SQLite's words; they name columns, and never hold a value."""
    kind = getattr(error, "sqlite_errorname", type(error).__name__)
    if isinstance(error, sqlite3.Error):
        return StoreError(f"{path}: {error} ({kind})")
    return StoreError(f"{path}: a value here cannot be kept ({kind})")
