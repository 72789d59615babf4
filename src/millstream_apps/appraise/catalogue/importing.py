"""Import files: CSV or JSON entries with the names of their photos, to references.

CSV columns: `name` and `front` are needed; `id`, `characters`, `series`, `edition`, `notes`,
`back`, `angled` and `sales` may be there. Several characters, photos or sales are parted by `;`. A
sale is `2026-03-01 12.50 USD where it was sold`. JSON: a list of objects with the same names, where
lists are lists and a sale is `{"price": "12.50", "currency": "USD", "date": "2026-03-01", "source":
"…"}`.
"""

import csv
import datetime
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol

from millstream_apps.appraise.catalogue.models import (
    CatalogueError,
    Imported,
    Reference,
    Sale,
    UnknownReference,
)
from millstream_apps.appraise.recognition import VIEWS, PhotoError, View

COLUMNS = ("id", "name", "characters", "series", "edition", "notes", *VIEWS, "sales")
NEEDED = ("name", "front")
MAX_FILE = 64 * 2**20  # bytes of one photo or of the list


class Shelf(Protocol):
    """What an import needs of a catalogue."""

    def add(self, reference: Reference, photos: list[tuple[View, bytes]], replace: bool) -> Any:
        """See Catalogue.add."""
        ...

    def get(self, reference: str) -> Reference:
        """See Catalogue.get."""
        ...


def import_file(shelf: Any, path: Path, folder: Path, replace: bool) -> Imported:
    """Add what a file lists. Raises CatalogueError where it cannot be read as a list at all."""
    added = replaced = skipped = 0
    problems: list[str] = []
    for place, entry in _entries(path):
        try:
            reference, photos = _parse(entry, folder)
            is_there = bool(reference.id) and _has(shelf, reference.id)
            if is_there and not replace:
                skipped += 1
                continue
            shelf.add(reference, photos, replace=replace)
        except (CatalogueError, PhotoError) as problem:
            problems.append(f"{path.name}: {place}: {problem}")
            continue
        replaced += is_there
        added += not is_there
    return Imported(added, replaced, skipped, tuple(problems))


def _has(shelf: Shelf, reference: str) -> bool:
    try:
        shelf.get(reference)
    except UnknownReference:
        return False
    return True


def _entries(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise CatalogueError(f"{path.name}: cannot be read as UTF-8 text: {problem}") from problem
    if path.suffix.lower() == ".json":
        yield from _json_entries(path.name, text)
    elif path.suffix.lower() == ".csv":
        yield from _csv_entries(path.name, text)
    else:
        raise CatalogueError(f"{path.name}: must be a .csv or a .json file")


def _csv_entries(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), restkey="", strict=True)
    columns = [column.strip() for column in reader.fieldnames or ()]
    for column in NEEDED:
        if column not in columns:
            raise CatalogueError(f"{name}: row 1: column {column!r} is missing")
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        known = ", ".join(COLUMNS)
        raise CatalogueError(f"{name}: row 1: column {unknown[0]!r} is not one of {known}")
    reader.fieldnames = columns
    try:
        for number, row in enumerate(reader, start=2):
            yield f"row {number}", {key: value or "" for key, value in row.items()}
    except csv.Error as problem:
        raise CatalogueError(f"{name}: row {reader.line_num}: {problem}") from problem


def _json_entries(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise CatalogueError(f"{name}: is not JSON: {problem}") from problem
    if not isinstance(entries, list):
        raise CatalogueError(f"{name}: must be a list of objects")
    for number, entry in enumerate(entries, start=1):
        yield f"entry {number}", entry if isinstance(entry, dict) else {}


def _parse(entry: Mapping[str, Any], folder: Path) -> tuple[Reference, list[tuple[View, bytes]]]:
    unknown = [key for key in entry if key not in COLUMNS]
    if unknown:
        raise CatalogueError(f"{unknown[0] or 'column beyond the last'!r}: is not known")
    photos: list[tuple[View, bytes]] = [
        (view, _read(folder, name, view)) for view in VIEWS for name in _many(entry, view)
    ]
    reference = Reference(
        id=_text(entry, "id"),
        name=_text(entry, "name"),
        characters=tuple(_many(entry, "characters")),
        series=_text(entry, "series"),
        edition=_text(entry, "edition"),
        notes=_text(entry, "notes"),
        sales=tuple(_sales(entry.get("sales") or ())),
    )
    return reference, photos


def _text(entry: Mapping[str, Any], field: str) -> str:
    value = entry.get(field) or ""
    if not isinstance(value, str):
        raise CatalogueError(f"{field}: must be text, not {type(value).__name__}")
    return value.strip()


def _many(entry: Mapping[str, Any], field: str) -> list[str]:
    value = entry.get(field) or []
    if isinstance(value, str):
        value = value.split(";")
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise CatalogueError(f"{field}: must be text or a list of texts")
    return [each.strip() for each in value if each.strip()]


def _read(folder: Path, name: str, view: View) -> bytes:
    """A photo's bytes. It must lie within the folder, however its name is written."""
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise CatalogueError(f"{view}: {name!r} lies outside of the folder of the photos")
    try:
        if place.stat().st_size > MAX_FILE:
            raise CatalogueError(f"{view}: {name!r} is larger than {MAX_FILE >> 20} MB")
        return place.read_bytes()
    except (OSError, ValueError) as problem:
        raise CatalogueError(f"{view}: {name!r} cannot be read") from problem


def _sales(given: Any) -> Iterator[Sale]:
    if isinstance(given, str):
        for text in filter(None, (part.strip() for part in given.split(";"))):
            words = text.split(maxsplit=3)
            if len(words) < 3:
                raise CatalogueError(f"sales: {text!r} is not 'YYYY-MM-DD PRICE CURRENCY SOURCE'")
            yield _sale(words[0], words[1], words[2], words[3] if len(words) > 3 else "")
        return
    if not isinstance(given, list | tuple) or not all(isinstance(each, dict) for each in given):
        raise CatalogueError("sales: must be text or a list of objects")
    for each in given:
        yield _sale(*(str(each.get(key, "")) for key in ("date", "price", "currency", "source")))


def _sale(date: str, price: str, currency: str, source: str) -> Sale:
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError as problem:
        raise CatalogueError(f"sales: date {date!r} is not YYYY-MM-DD") from problem
    try:
        return Sale(Decimal(price), currency, day, source)
    except InvalidOperation as problem:
        raise CatalogueError(f"sales: price {price!r} is not a number") from problem
