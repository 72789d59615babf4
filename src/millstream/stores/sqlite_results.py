"""Remembered results in the SQLite store's file: the part of `sqlite_writer.py` that is the cache.

Belongs to `stores/sqlite.py`. Synchronous; the writes run in that store's one writer thread,
inside its transactions. How much each space holds is counted here, so that a bound costs no scan.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS result (
    space TEXT NOT NULL, key TEXT NOT NULL, until REAL NOT NULL, used REAL NOT NULL,
    value BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS result_at ON result (space, key);
CREATE INDEX IF NOT EXISTS result_by_use ON result (space, used, key);
CREATE INDEX IF NOT EXISTS result_by_end ON result (until);
"""
"""Stands beside the runs' tables; a file made before there were results gets it when opened."""

_RECALL: Final = "SELECT value FROM result WHERE space = ? AND key = ? AND until > ?"
_TALLY: Final = "SELECT count(*), coalesce(sum(length(value)), 0) FROM result WHERE space = ?"
_SIZE: Final = "SELECT length(value) FROM result WHERE space = ? AND key = ?"
_PUT: Final = (
    "INSERT OR REPLACE INTO result (space, key, until, used, value) VALUES (?, ?, ?, ?, ?)"
)
_OLDEST: Final = """
SELECT key, length(value) FROM result WHERE space = ? ORDER BY used, key LIMIT 1
"""
_DROP: Final = "DELETE FROM result WHERE space = ? AND key = ?"
_TOUCH: Final = """
UPDATE result SET used = :now WHERE space = :space AND used < :now
    AND key IN (SELECT value FROM json_each(:keys))
"""
_EVICT: Final = "DELETE FROM result WHERE until <= ?"

Write = Callable[[str, Sequence[Any] | dict[str, Any]], sqlite3.Cursor]
"""Carries out a statement inside the transaction that is under way."""


def recall(db: sqlite3.Connection, space: str, key: str, now: float) -> bytes | None:
    """A result, while its time is not over."""
    row = db.execute(_RECALL, (space, key, now)).fetchone()
    return row and row[0]


class Results:
    """What is written. `write` is the writer's; `forget_counts` follows a transaction that failed.

    The methods are the port's.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._held: dict[str, tuple[int, int]] = {}  # by space: results, bytes of values

    def forget_counts(self) -> None:
        """What was counted may not have been kept: count anew when asked."""
        self._held.clear()

    def remember(
        self, space: str, key: str, value: bytes, now: float, until: float, entries: int, size: int
    ) -> None:
        """Keep a result; the oldest-used go beyond the bounds."""
        count, held = self._held.get(space) or self._write(_TALLY, (space,)).fetchone()
        earlier = self._write(_SIZE, (space, key)).fetchone()
        if earlier is not None:
            count, held = count - 1, held - earlier[0]
        self._write(_PUT, (space, key, until, now, value))
        count, held = count + 1, held + len(value)
        while count > entries or held > size:
            oldest, length = self._write(_OLDEST, (space,)).fetchone()
            self._write(_DROP, (space, oldest))
            count, held = count - 1, held - length
        self._held[space] = count, held

    def touch(self, space: str, keys: Sequence[str], now: float) -> None:
        """These results were used now."""
        self._write(_TOUCH, {"space": space, "keys": json.dumps(list(keys)), "now": now})

    def evict(self, now: float) -> int:
        """Forget every result whose time is over."""
        self._held.clear()
        return self._write(_EVICT, (now,)).rowcount
