"""The tables of the analyses' database, and how it is opened: SQLAlchemy Core.

The catalogue has tables of its own, which may stand in the same database.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    make_url,
)

metadata = MetaData()

analyses = Table(
    "appraise_analyses",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False, unique=True),
    Column("owner", String(255), index=True),
    Column("session_id", String(12), index=True),
    Column("created", String(32), nullable=False),
    Column("reference", String(255)),
    Column("name", Text),
    Column("characters", Text),
    Column("verdict", String(16), nullable=False),
    Column("authentic", Boolean),
    Column("rating", Float),
    Column("confidence", Float, nullable=False),
    Column("note", Text),
    Column("parts", JSON, nullable=False),
    Column("state", String(16), nullable=False),
)
"""One row a run. `authentic` and `rating` are NULL where there was no verdict. `created` is
RFC 3339, in UTC. `state`: provisional, confirmed or disputed."""

feedback = Table(
    "appraise_feedback",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("analysis", ForeignKey(analyses.c.id), nullable=False, index=True),
    Column("created", String(32), nullable=False),
    Column("source", String(16), nullable=False),
    Column("agreement", String(16), nullable=False),
    Column("comment", Text, nullable=False),
)
"""What people said. `source`: confirm (one an analysis, the latest) or feedback (any number)."""

pages = Table(
    "appraise_pages",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("view", String(16), primary_key=True),
    Column("html", Text, nullable=False),
)
"""Display pages, by run: they are there before the analysis is complete."""


@lru_cache(maxsize=8)
def open_database(url: str) -> Engine:
    """The process's one engine for this database, tables made."""
    parts = make_url(url)
    sqlite = parts.get_backend_name() == "sqlite"
    if sqlite and parts.database and parts.database != ":memory:":
        Path(parts.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parts, pool_pre_ping=not sqlite)
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
    metadata.create_all(engine)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
