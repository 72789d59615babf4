"""The tables of the analyses' database, and how it is opened: SQLAlchemy Core.

The catalogue has tables of its own, which may stand in the same database.
"""

from functools import lru_cache

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
)

from millstream_apps.appraise.database import open_database

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
def engine_of(url: str) -> Engine:
    """The process's one engine for this database, tables made."""
    return open_database(url, metadata)
