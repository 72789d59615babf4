"""Fetching: kept pages, in a SQLite file of their own. Bounded; outlives the process.

A cache may lose, so it forgoes the fsync, and a damaged file is begun anew. Knows nothing of
freshness: the caller brings the time and decides what a page's age means.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from millstream import PolicyError
from millstream_apps.extract.fetching.database import Database

MiB = 2**20
_TOUCHES: Final = 256
_RESET: Final = "DROP TABLE IF EXISTS pages;"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS pages (
    key TEXT PRIMARY KEY,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    size INTEGER NOT NULL,
    used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS pages_used ON pages (used, key, size);
"""


class Head(Struct, frozen=True):
    """What is kept beside a body. `validated` is in seconds since the epoch."""

    final_url: str
    status: int
    headers: dict[str, str]
    content_type: str
    encoding: str | None
    redirects: tuple[str, ...]
    validated: float


class Kept(Struct, frozen=True):
    """A kept page."""

    head: Head
    body: bytes


class CacheStatistics(Struct, frozen=True):
    """A cache at one moment; `size` in bytes."""

    entries: int
    size: int
    hits: int
    misses: int
    evicted: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Head).decode


class PageCache:
    """Pages by key. `path` None keeps them in memory. At most `max_bytes` and `max_entries`; the
    ones used longest ago go first. One larger than a quarter of `max_bytes` is not kept."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_bytes: int = 512 * MiB,
        max_entries: int = 50_000,
    ) -> None:
        if max_bytes < 1 or max_entries < 1:
            raise PolicyError("PageCache: max_bytes and max_entries are at least 1")
        self._max_bytes, self._max_entries = max_bytes, max_entries
        self._database = Database(path, _SCHEMA, reset=_RESET, opened=self._count)
        self._touched: dict[str, float] = {}
        self._size = self._entries = self._hits = self._misses = self._evicted = 0

    async def get(self, key: str, now: float) -> Kept | None:
        """The page kept under this key; that counts as a use at `now`."""
        return await self._database.do(lambda db: self._get(db, key, now))

    async def put(self, key: str, page: Kept, now: float) -> None:
        """Keep a page, and let others go where there is no room."""
        await self._database.do(lambda db: self._put(db, key, page, now))

    async def drop(self, key: str) -> None:
        """Keep it no longer."""
        await self._database.do(lambda db: self._drop(db, key))

    async def statistics(self) -> CacheStatistics:
        """The cache now."""
        return await self._database.do(lambda _: self._statistics())

    async def aclose(self) -> None:
        """Write what is to be written and close the file. May be called again."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `aclose`, for where no loop runs."""
        self._database.close(self._write_touched)

    # --- on the thread ------------------------------------------------------------------------

    def _count(self, db: sqlite3.Connection) -> None:
        self._touched.clear()
        found = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM pages").fetchone()
        self._entries, self._size = found

    def _get(self, db: sqlite3.Connection, key: str, now: float) -> Kept | None:
        row = db.execute("SELECT head, body FROM pages WHERE key = ?", (key,)).fetchone()
        if row is None:
            self._misses += 1
            return None
        try:
            kept = Kept(_decode(row[0]), row[1])
        except msgspec.MsgspecError:  # written by another version
            self._misses += 1
            self._drop(db, key)
            return None
        self._hits += 1
        self._touched[key] = now
        if len(self._touched) >= _TOUCHES:
            self._write_touched(db)
        return kept

    def _put(self, db: sqlite3.Connection, key: str, page: Kept, now: float) -> None:
        head = _encode(page.head)
        size = len(head) + len(page.body)
        self._drop(db, key)
        if size > self._max_bytes // 4:
            return
        db.execute("INSERT INTO pages VALUES (?, ?, ?, ?, ?)", (key, head, page.body, size, now))
        self._entries, self._size = self._entries + 1, self._size + size
        if self._size > self._max_bytes or self._entries > self._max_entries:
            self._evict(db)

    def _drop(self, db: sqlite3.Connection, key: str) -> None:
        self._touched.pop(key, None)
        gone = db.execute("DELETE FROM pages WHERE key = ? RETURNING size", (key,)).fetchall()
        for (size,) in gone:
            self._entries, self._size = self._entries - 1, self._size - size

    def _evict(self, db: sqlite3.Connection) -> None:
        """Down to nine tenths, so that it is not done for every page."""
        self._write_touched(db)
        size, count = self._size, self._entries
        room, places = self._max_bytes * 9 // 10, max(1, self._max_entries * 9 // 10)
        keys: list[str] = []
        with closing(db.execute("SELECT key, size FROM pages ORDER BY used, key")) as oldest:
            for key, freed in oldest:
                if size <= room and count <= places:
                    break
                keys.append(key)
                size, count = size - freed, count - 1
        db.execute("BEGIN")
        for key in keys:
            self._drop(db, key)
        db.execute("COMMIT")
        self._evicted += len(keys)

    def _write_touched(self, db: sqlite3.Connection) -> None:
        touched, self._touched = self._touched, {}
        if touched:
            db.execute("BEGIN")
            rows = [(now, key) for key, now in touched.items()]
            db.executemany("UPDATE pages SET used = ? WHERE key = ?", rows)
            db.execute("COMMIT")

    def _statistics(self) -> CacheStatistics:
        return CacheStatistics(
            entries=self._entries,
            size=self._size,
            hits=self._hits,
            misses=self._misses,
            evicted=self._evicted,
        )
