"""Site: the journal of each crawl, in a SQLite file: what was looked at, in order.

A record is on disk before its page is told of (law 2), so that a crawl which is taken up again
tells the same pages in the same order before it goes on.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Final

import msgspec

from millstream_apps.extract.fetching.database import Database
from millstream_apps.extract.site.models import Record

KEEP: Final = 7 * 86_400.0
_RESET: Final = "DROP TABLE IF EXISTS records;"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    written REAL NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class CrawlJournal:
    """Records by run. `path` None keeps them in memory: then a crawl begins anew after a restart.
    `keep` is for how many seconds they are kept; `now` is the wall clock."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        keep: float = KEEP,
        now: Callable[[], float] = time,
    ) -> None:
        self._keep, self._now = keep, now
        self._database = Database(path, _SCHEMA, reset=_RESET, sync="FULL", opened=self._forget)

    async def read(self, run: str) -> list[Record]:
        """What is known of a run, in order."""

        def read(db: sqlite3.Connection) -> list[Record]:
            rows = db.execute("SELECT data FROM records WHERE run = ? ORDER BY number", (run,))
            return [_decode(data) for (data,) in rows]

        return await self._database.do(read)

    async def append(self, run: str, number: int, record: Record) -> None:
        """Keep the next record; on disk when this returns. The same number replaces."""
        row = (run, number, _encode(record), self._now())
        statement = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)"
        await self._database.do(lambda db: db.execute(statement, row).close())

    async def aclose(self) -> None:
        """Close the file. May be called again."""
        await asyncio.to_thread(self._database.close)

    def close(self) -> None:
        """As `aclose`, for where no loop runs."""
        self._database.close()

    def _forget(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM records WHERE written < ?", (self._now() - self._keep,))
