"""The catalogue in a database: references, what recognition needs of their photos, their sales.

Every method blocks: call it in a thread or a process. Several processes may hold one catalogue;
each change has a version, by which an index in memory follows.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from millstream_apps.appraise.catalogue import importing
from millstream_apps.appraise.catalogue.models import (
    CatalogueError,
    Imported,
    Photo,
    Reference,
    Sale,
    UnknownReference,
    check_reference,
    check_sale,
    identifier_from,
)
from millstream_apps.appraise.catalogue.schema import (
    changes,
    from_columns,
    metadata,
    photos,
    references,
    sales,
    state,
    to_columns,
)
from millstream_apps.appraise.database import make_row, open_database
from millstream_apps.appraise.recognition import Index, View
from millstream_apps.appraise.recognition.frame import frame_of
from millstream_apps.appraise.recognition.index import compact
from millstream_apps.appraise.recognition.photo import decode

PAGE = 500  # references read at once where all are read


class Catalogue:
    """Open with a SQLAlchemy URL (`sqlite:///PATH`, or another database whose driver is installed).

    Raises CatalogueError where the URL or the database cannot be used. A context manager.
    """

    def __init__(self, url: str) -> None:
        self._engine = _open(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalogue({self._engine.url.render_as_string(hide_password=True)})"

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def add(
        self,
        reference: Reference,
        photos: Sequence[tuple[View, bytes]],
        replace: bool = False,
    ) -> Reference:
        """Keep a reference with its photos (at least one front) and sales; the reference as kept.

        An id that exists is an error unless `replace`. Raises CatalogueError, PhotoError.
        """
        check_reference(reference)
        if not any(view == "front" for view, _ in photos):
            raise CatalogueError(
                f"photos of {reference.name!r}: at least one front photo is needed"
            )
        rows = _photo_rows(photos)  # the slow part, before the database is held
        with self._engine.begin() as connection:
            name = reference.id or _free_id(connection, identifier_from(reference.name))
            if replace:
                connection.execute(delete(references).where(references.c.id == name))
            try:
                connection.execute(insert(references), _columns(name, reference))
            except IntegrityError as problem:
                told = f"id {name!r}: is taken; choose another one or replace the reference"
                raise CatalogueError(told) from problem
            _insert(connection, photos_table(), [{**row, "reference": name} for row in rows])
            _insert(connection, sales, [_sale_row(name, sale) for sale in reference.sales])
            _note_change(connection, name)
        return self.get(name)

    def add_sales(self, reference: str, more: Sequence[Sale]) -> None:
        """Keep further sales of a reference. Raises UnknownReference, CatalogueError."""
        for sale in more:
            check_sale(sale)
        with self._engine.begin() as connection:
            _must_exist(connection, reference)
            _insert(connection, sales, [_sale_row(reference, sale) for sale in more])

    def remove(self, reference: str) -> None:
        """Forget a reference, its photos and its sales. Raises UnknownReference."""
        with self._engine.begin() as connection:
            _must_exist(connection, reference)
            connection.execute(delete(references).where(references.c.id == reference))
            _note_change(connection, reference)

    def get(self, reference: str) -> Reference:
        """One reference. Raises UnknownReference."""
        with self._engine.connect() as connection:
            row = connection.execute(select(references).where(references.c.id == reference)).first()
            if row is None:
                raise UnknownReference(reference)
            return _complete(connection, [row])[0]

    def list(self, query: str = "", after: str = "", limit: int = 100) -> list[Reference]:
        """References by id, those behind `after`, whose name, id, characters, series or edition
        holds `query`.
        """
        wanted = select(references).where(references.c.id > after)
        if query:
            columns = (
                references.c[name] for name in ("id", "name", "characters", "series", "edition")
            )
            kept = [
                func.lower(column).contains(query.lower(), autoescape=True) for column in columns
            ]
            wanted = wanted.where(kept[0] | kept[1] | kept[2] | kept[3] | kept[4])
        with self._engine.connect() as connection:
            found = connection.execute(wanted.order_by(references.c.id).limit(max(limit, 0))).all()
            return _complete(connection, found)

    def count(self) -> int:
        """How many references there are."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(references)).scalar_one()

    def thumbnail(self, reference: str, view: View = "front") -> bytes:
        """The first picture of a view as WebP, 256 pixels square. Raises UnknownReference."""
        wanted = (
            select(photos.c.thumbnail)
            .where(photos.c.reference == reference, photos.c.view == view)
            .order_by(photos.c.number)
        )
        with self._engine.connect() as connection:
            found = connection.execute(wanted.limit(1)).scalar_one_or_none()
        if found is None:
            raise UnknownReference(reference)
        return found

    def import_file(
        self, path: Path, photos: Path | None = None, replace: bool = False
    ) -> Imported:
        """Add all entries of a CSV or JSON file (see `importing`). What is wrong with one is told,
        and the others are added. `photos`: the folder of the pictures; without it, the file's own.
        Raises CatalogueError where the file itself cannot be read.
        """
        return importing.import_file(self, path, photos or path.parent, replace)

    def load_index(self) -> Index:
        """All references as an index in memory."""
        index = Index()
        with self._engine.connect() as connection:
            # the version is read first: what changes meanwhile is then read once more, not missed
            index.version = _version(connection)
            last = ""
            while page := _page_of_ids(connection, last):
                _fill(connection, index, page)
                last = page[-1]
        index.settle()
        return index

    def refresh(self, index: Index) -> int:
        """Bring an index up to date; how many references changed. Costs one short query where none
        did.
        """
        with self._engine.connect() as connection:
            version = _version(connection)
            if version == index.version:
                return 0
            touched = (
                select(changes.c.reference)
                .where(changes.c.version > index.version, changes.c.version <= version)
                .distinct()
            )
            names = sorted(connection.execute(touched).scalars())
            for name in names:
                index.remove(name)
            for start in range(0, len(names), PAGE):
                _fill(connection, index, names[start : start + PAGE])
            index.version = version
        index.settle()
        return len(names)


def photos_table() -> Any:
    """The table, where a parameter hides its name."""
    return photos


def _open(url: str) -> Engine:
    try:
        engine = open_database(url, metadata)
        make_row(engine, state, {"only": 1, "version": 0})
    except (ArgumentError, SQLAlchemyError, ImportError, OSError) as problem:
        shown = url.partition("://")[0]
        raise CatalogueError(
            f"catalogue database ({shown}): cannot be opened: {problem}"
        ) from problem
    return engine


def _photo_rows(given: Sequence[tuple[View, bytes]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for view, data in given:
        picture = decode(data, view)
        number = 1 + sum(row["view"] == view for row in rows)
        width, height = picture.size
        place = {"view": view, "number": number, "width": width, "height": height}
        rows.append({**place, **to_columns(compact(frame_of(picture)))})
    return rows


def _columns(name: str, reference: Reference) -> dict[str, Any]:
    return {
        "id": name,
        "name": reference.name,
        "characters": json.dumps(list(reference.characters), ensure_ascii=False),
        "series": reference.series,
        "edition": reference.edition,
        "notes": reference.notes,
    }


def _sale_row(reference: str, sale: Sale) -> dict[str, Any]:
    return {
        "reference": reference,
        "price": str(sale.price),
        "currency": sale.currency,
        "date": sale.date,
        "source": sale.source,
    }


def _insert(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _free_id(connection: Connection, wanted: str) -> str:
    taken = select(references.c.id).where(references.c.id.startswith(wanted, autoescape=True))
    names = set(connection.execute(taken).scalars())
    number, name = 1, wanted
    while name in names:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _must_exist(connection: Connection, reference: str) -> None:
    if (
        connection.execute(select(references.c.id).where(references.c.id == reference)).first()
        is None
    ):
        raise UnknownReference(reference)


def _note_change(connection: Connection, reference: str) -> None:
    """The counter's row is locked until the commit, so versions become visible in their order."""
    connection.execute(update(state).values(version=state.c.version + 1))
    row = {"version": _version(connection), "reference": reference}
    connection.execute(insert(changes), row)


def _version(connection: Connection) -> int:
    return connection.execute(select(state.c.version)).scalar_one()


def _page_of_ids(connection: Connection, after: str) -> list[str]:
    wanted = select(references.c.id).where(references.c.id > after)
    return list(connection.execute(wanted.order_by(references.c.id).limit(PAGE)).scalars())


def _fill(connection: Connection, index: Index, names: Sequence[str]) -> None:
    """Put the photos of references into an index."""
    wanted = select(photos).where(photos.c.reference.in_(names))
    found: dict[str, list[Any]] = {}
    order = (photos.c.reference, photos.c.view, photos.c.number)
    for row in connection.execute(wanted.order_by(*order)):
        found.setdefault(row.reference, []).append((row.view, from_columns(row)))
    for name, views in found.items():
        index.add(name, views)


def _complete(connection: Connection, rows: Sequence[Any]) -> list[Reference]:
    names = [row.id for row in rows]
    columns = [photos.c[name] for name in ("reference", "view", "number", "width", "height")]
    pictures = select(*columns).where(photos.c.reference.in_(names))
    sold = select(sales).where(sales.c.reference.in_(names)).order_by(sales.c.date, sales.c.number)
    shown: dict[str, list[Photo]] = {}
    for row in connection.execute(pictures.order_by(photos.c.view.desc(), photos.c.number)):
        shown.setdefault(row.reference, []).append(
            Photo(row.view, row.number, row.width, row.height)
        )
    prices: dict[str, list[Sale]] = {}
    for row in connection.execute(sold):
        sale = Sale(Decimal(row.price), row.currency, row.date, row.source)
        prices.setdefault(row.reference, []).append(sale)
    return [
        Reference(
            id=row.id,
            name=row.name,
            characters=tuple(json.loads(row.characters)),
            series=row.series,
            edition=row.edition,
            notes=row.notes,
            photos=tuple(shown.get(row.id, ())),
            sales=tuple(prices.get(row.id, ())),
        )
        for row in rows
    ]
