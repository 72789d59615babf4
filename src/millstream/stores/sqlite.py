"""A store adapter: one SQLite file (WAL) in this process, no server. The embedded default.

The asynchronous face of `sqlite_writer.py`, `sqlite_results.py` and `sqlite_file.py`: which thread
runs what, and when. Group commit: the first write goes at once; whatever is asked for while a
transaction is under way is the next transaction, all of it. Never a timer. A transaction costs one
hand-over to the writer's thread and one call back, however many it holds. Reads have connections
and threads of their own and never wait for the writer.

Knows no SQL, and nothing of what an operation means.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct

from millstream.errors import StoreError
from millstream.events import Position, Segment
from millstream.store import Answer, Cancellation, Created, Lease, Mark, Page, Renewal, Run, State
from millstream.stores import sqlite_file as file
from millstream.stores import sqlite_results as results
from millstream.stores.sqlite_file import Durability
from millstream.stores.sqlite_operations import Append, Operation, Write
from millstream.stores.sqlite_thread import Thread
from millstream.stores.sqlite_writer import Writer, as_store_error

_T = TypeVar("_T")

READERS: Final = 4
"""Threads that read, each with its connection: more would only wait for one another."""


class Statistics(Struct, frozen=True):
    """Since `open`: write operations carried out, the transactions they took, the most that one
    transaction took; and the operations that wait for the next one now."""

    operations: int
    commits: int
    largest_batch: int
    waiting: int


class SqliteStore:
    """Keeps runs and their logs in the file `path`, which it holds exclusively while open.

    With durability "full" what was kept outlives a power cut; with "process" it outlives the
    death of this process (kill -9), and a power cut may take the last few commits.
    """

    def __init__(self, path: str | Path, *, durability: Durability = "full") -> None:
        self._path = Path(path)
        self._durability: Durability = durability
        self._writer = Writer(self._path, durability)
        self._state = "new"
        self._waiting: list[Write] = []
        self._committing = False
        self._operations = self._largest_batch = 0

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<SqliteStore {self._path}: {self._state}, durability {self._durability}, "
            f"{now.operations} operations in {now.commits} commits, {now.waiting} waiting>"
        )

    def statistics(self) -> Statistics:
        """What was written so far, and in how many transactions."""
        waiting = len(self._waiting)
        return Statistics(self._operations, self._writer.commits, self._largest_batch, waiting)

    async def open(self) -> None:
        """Take the file, create what is missing, void the leases of whoever died holding them.

        Raises StoreError where another store has the file, or it is none of ours.
        """
        if self._state in ("open", "closing"):
            raise StoreError(f"{self._path}: this store is {self._state} already")
        self._loop = asyncio.get_running_loop()
        self._thread = Thread("millstream-sqlite-writer")
        try:
            await self._thread.run(self._writer.open)
        except BaseException:
            self._thread.end()
            raise
        self._readers = ThreadPoolExecutor(READERS, "millstream-sqlite-reader")
        self._connections: list[sqlite3.Connection] = []
        self._of_thread = threading.local()
        self._state = "open"

    async def close(self) -> None:
        """Finish what was accepted, then let go of the file and the threads."""
        if self._state == "open":
            last = self._write(_nothing)  # behind all that was accepted
            self._closing = asyncio.ensure_future(self._shut(last))
            self._state = "closing"
        if self._state == "closing":
            await asyncio.shield(self._closing)

    async def create(
        self, run: Run, first: Segment, *, worker: str | None = None, now: float, ttl: float
    ) -> Created:
        """Keep a new run and the first events of its log."""
        return await self._write(partial(self._writer.create, run, first, worker, now + ttl))

    async def run(self, run: str) -> Run | None:
        """One run, or None."""
        return await self._read(file.find_run, file.RUN_BY_ID, run)

    async def runs(
        self,
        *,
        pipeline: str | None = None,
        state: State | None = None,
        owner: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Newest first."""
        wanted = {"pipeline": pipeline, "state": state, "owner": owner, "before": before}
        return await self._read(file.list_runs, max(limit, 0), wanted)

    async def claim(
        self,
        worker: str,
        *,
        pipelines: Sequence[str],
        now: float,
        ttl: float,
        run: str | None = None,
    ) -> Lease | None:
        """Lease the oldest run that is free, or just `run`."""
        claim = partial(self._writer.claim, worker, tuple(pipelines), now, now + ttl, run)
        return await self._write(claim)

    async def renew(
        self, worker: str, leases: Sequence[tuple[str, int]], *, now: float, ttl: float
    ) -> Sequence[Renewal]:
        """Prolong leases that are still the newest of their runs."""
        return await self._write(partial(self._writer.renew, tuple(leases), now + ttl))

    async def release(self, run: str, epoch: int) -> None:
        """Hand a run back."""
        await self._write(partial(self._writer.release, run, epoch))

    def append(
        self, run: str, epoch: int, segment: Segment, mark: Mark | None = None
    ) -> Awaitable[None]:
        """Keep a segment, in one transaction with what else gathered meanwhile."""
        if self._state != "open":
            return Answer(self._not_open())
        append = Append(run, epoch, segment, mark)
        self._ask(append)
        return append

    async def trim(self, run: str, epoch: int, before: Position) -> Position:
        """Let go of the log's beginning; the file's pages are used again."""
        return await self._write(partial(self._writer.trim, run, epoch, before))

    async def read(self, run: str, after: Position, *, max_bytes: int = 65_536) -> Page:
        """The log behind `after`; fetches little more than it returns."""
        return await self._read(file.read_page, run, after, max_bytes)

    async def cancel(self, run: str, cancellation: Cancellation) -> bool:
        """Note a wish to cancel."""
        return await self._write(partial(self._writer.cancel, run, cancellation))

    async def amend(self, run: str, input: bytes) -> bool:
        """Replace a run's input."""
        return await self._write(partial(self._writer.amend, run, input))

    async def prune(self, *, ended_before: float, limit: int = 100) -> Sequence[Run]:
        """Forget runs that ended before then."""
        return await self._write(partial(self._writer.prune, ended_before, limit))

    async def recall(self, space: str, key: str, *, now: float) -> bytes | None:
        """A result that was remembered, while its time is not over."""
        return await self._read(results.recall, space, key, now)

    async def remember(
        self,
        space: str,
        key: str,
        value: bytes,
        *,
        now: float,
        until: float,
        entries: int,
        size: int,
    ) -> None:
        """Keep a result; the oldest-used go beyond the bounds."""
        written = self._writer.results.remember
        await self._write(partial(written, space, key, value, now, until, entries, size))

    async def touch(self, space: str, keys: Sequence[str], *, now: float) -> None:
        """These results were used now."""
        await self._write(partial(self._writer.results.touch, space, tuple(keys), now))

    async def evict(self, *, now: float) -> int:
        """Forget every result whose time is over."""
        return await self._write(partial(self._writer.results.evict, now))

    # --- writing: group commit ---

    def _write(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """Have an operation carried out, whether or not the caller stays to see it."""
        self._check_open()
        operation = Operation(call)
        self._ask(operation)
        return operation.future

    def _ask(self, each: Write) -> None:
        self._waiting.append(each)
        if not self._committing:
            self._committing = True
            # Not this instant, but as soon as whatever else is ready to run has run.
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        self._operations += len(batch)
        self._largest_batch = max(self._largest_batch, len(batch))
        self._thread.give(partial(self._writer.commit, batch), partial(self._committed, batch))

    def _committed(self, batch: Sequence[Write], outcomes: list[Any]) -> None:
        """One call answers all of a commit. The next one begins behind whom these answers wake,
        since they write into it, too: with ten short runs at a time that is a tenth fewer."""
        for each, outcome in zip(batch, outcomes, strict=True):
            try:
                each.settle(outcome)
            except Exception as error:  # one who is told badly must not keep it from the others
                context = {"message": "an answer could not be told", "exception": error}
                self._loop.call_exception_handler(context)
        if self._waiting:
            self._loop.call_soon(self._commit)
        else:
            self._committing = False

    # --- reading ---

    async def _read(self, query: Callable[..., _T], *values: Any) -> _T:
        self._check_open()
        try:
            return await self._loop.run_in_executor(self._readers, self._query, query, values)
        except sqlite3.Error as error:
            raise as_store_error(self._path, error) from error

    def _query(self, query: Callable[..., _T], values: tuple[Any, ...]) -> _T:
        db = getattr(self._of_thread, "db", None)
        if db is None:
            db = self._of_thread.db = file.connect_reader(self._path)
            self._connections.append(db)
        return query(db, *values)

    # --- closing ---

    def _check_open(self) -> None:
        if self._state != "open":
            raise self._not_open()

    def _not_open(self) -> StoreError:
        return StoreError(f"{self._path}: this store is {self._state}, not open")

    async def _shut(self, last: asyncio.Future[None]) -> None:
        try:
            await last
            await self._thread.run(self._let_go)
        finally:
            self._state = "closed"
            self._thread.end()

    def _let_go(self) -> None:
        self._readers.shutdown()
        for db in self._connections:
            db.close()
        self._writer.close()


def _nothing() -> None:
    """The operation that only waits for its turn."""
