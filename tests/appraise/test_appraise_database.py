"""Opening a database while others open it: a service's processes all do so when it starts."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, create_engine, event, inspect, select
from sqlalchemy.exc import OperationalError

from millstream_apps.appraise import tables
from millstream_apps.appraise.catalogue import Catalogue, schema
from millstream_apps.appraise.database import make_row, make_tables, open_database

ALL = (schema.metadata, tables.metadata)


@contextmanager
def another_is_faster(metadata: MetaData, other: Engine) -> Iterator[list[str]]:
    """Each time that it was seen which tables are missing, another one makes one of them."""
    left, made = list(metadata.sorted_tables), []

    def meanwhile(*_: object, **__: object) -> None:
        while left and inspect(other).has_table(left[0].name):
            left.pop(0)
        if left:
            left[0].create(other)
            made.append(left[0].name)

    event.listen(metadata, "before_create", meanwhile)
    try:
        yield made
    finally:
        event.remove(metadata, "before_create", meanwhile)


@pytest.mark.parametrize("metadata", ALL)
def test_what_another_process_makes_meanwhile_is_not_made_twice(
    metadata: MetaData, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/new/pins.db"
    (tmp_path / "new").mkdir()
    with another_is_faster(metadata, create_engine(url)) as made:
        engine = open_database(url, metadata)
    assert made
    assert set(inspect(engine).get_table_names()) == metadata.tables.keys()


def test_a_database_that_cannot_have_tables_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pins.db"
    path.touch()
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(OperationalError, match="readonly"):
        make_tables(engine, schema.metadata)


def test_a_row_that_is_there_is_left_alone(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/pins.db", schema.metadata)
    for version in (0, 7):
        make_row(engine, schema.state, {"only": 1, "version": version})
    with engine.connect() as connection:
        assert connection.execute(select(schema.state.c.version)).all() == [(0,)]


def test_many_processes_open_a_new_catalogue_at_once(tmp_path: Path) -> None:
    several = get_context("spawn")
    gate = several.Barrier(4)
    url = f"sqlite:///{tmp_path}/pins.db"
    others = [several.Process(target=_opened, args=(url, gate)) for _ in range(4)]
    for each in others:
        each.start()
    for each in others:
        each.join()
    assert [each.exitcode for each in others] == [0] * 4
    with Catalogue(url) as catalogue:
        assert catalogue.count() == 0


def _opened(url: str, gate) -> None:
    gate.wait(60)
    with Catalogue(url):
        pass
