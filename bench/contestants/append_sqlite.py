"""sqlite3 by hand: one row an event, WAL, synchronous=FULL, group commit in a thread."""

import sqlite3
from collections.abc import Sequence

import uvloop

from bench.contestants.appending import Asked, Group, Row, tell, timed


async def main() -> None:
    asked = Asked()
    db = sqlite3.connect(asked.folder / "log.db", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE event (run TEXT, seq INTEGER, line BLOB, PRIMARY KEY (run, seq))")

    def commit(rows: Sequence[Row]) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO event VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")

    group = Group(commit)
    figures = await timed(
        asked, lambda number: group.write(f"run-{number:032}", asked.events, asked.window)
    )
    found: dict[str, list[int]] = {}
    for run, seq in db.execute("SELECT run, seq FROM event ORDER BY run, seq"):
        found.setdefault(run, []).append(seq)
    db.close()
    tell({**figures, **group.latencies.report(), "commits": group.commits}, found, asked)


if __name__ == "__main__":
    uvloop.run(main())
