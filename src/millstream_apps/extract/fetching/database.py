"""Fetching: one SQLite file, all of its SQL on one thread. What is damaged is begun anew.

Knows no tables: its users bring the schema and the statements.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")


class Database:
    """`path` None is memory. `sync` FULL outlives a power cut, OFF the process's death alone.

    `format` counts up when the schema changes; a file of another format is emptied by `reset`.
    `opened` is called on the thread with each fresh connection.
    """

    def __init__(
        self,
        path: Path | None,
        schema: str,
        *,
        reset: str,
        format: int = 1,
        sync: Literal["OFF", "FULL"] = "OFF",
        opened: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._path, self._schema, self._reset = path, schema, reset
        self._format, self._sync, self._on_open = format, sync, opened
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="extract-db")
        self._db: sqlite3.Connection | None = None

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run it on the thread; once more on an empty file where this one is damaged."""

        def run() -> T:
            try:
                return work(self._opened())
            except sqlite3.OperationalError:
                raise  # a full disk, a lock: the file itself is sound
            except sqlite3.DatabaseError:
                self._begin_anew()
                return work(self._opened())

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def close(self, last: Callable[[sqlite3.Connection], object] | None = None) -> None:
        """Wait for what is under way, do the last thing, and close. May be called again."""
        self._thread.shutdown()
        db, self._db = self._db, None
        if db is not None:
            if last is not None:
                last(db)
            db.close()

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._open()
            if self._on_open is not None:
                self._on_open(self._db)
        return self._db

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        where = str(self._path) if self._path is not None else ":memory:"
        db = sqlite3.connect(where, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={self._sync}")
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found not in (0, self._format):
                db.executescript(self._reset)
            db.executescript(self._schema)
            db.execute(f"PRAGMA user_version={self._format}")
        except BaseException:
            db.close()
            raise
        return db

    def _begin_anew(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._path is not None:
            for ending in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
