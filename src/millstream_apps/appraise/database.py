"""Opening a database by its SQLAlchemy URL, its tables made, whoever else is doing so just now."""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Engine,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError


def open_database(url: str, metadata: MetaData) -> Engine:
    """An engine for it. Raises ArgumentError for a URL that is none, ImportError for a driver that
    is not installed, OSError, and SQLAlchemyError.
    """
    parts = make_url(url)
    sqlite = parts.get_backend_name() == "sqlite"
    if sqlite and parts.database and parts.database != ":memory:":
        Path(parts.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parts, pool_pre_ping=not sqlite)
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
    make_tables(engine, metadata)
    return engine


def make_tables(engine: Engine, metadata: MetaData) -> None:
    """Those that are not there. To look and to make is two steps, between which another process may
    make one: as long as there are fewer to make each time, we look again.
    """
    before = len(metadata.tables) + 1
    while True:
        try:
            metadata.create_all(engine)
            return
        except DBAPIError:
            left = len(metadata.tables.keys() - set(inspect(engine).get_table_names()))
            if left >= before:
                raise
            before = left


def make_row(engine: Engine, table: Table, row: dict[str, Any]) -> None:
    """The one row of a table that has one, where it is not there."""
    try:
        with engine.begin() as connection:
            if connection.execute(select(table)).first() is None:
                connection.execute(insert(table), row)
    except IntegrityError:  # another process was first
        pass


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    # first of all to wait for others; with WAL readers do not wait for a writer
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
