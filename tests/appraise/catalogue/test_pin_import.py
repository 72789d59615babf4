"""Importing lists: the demo catalogue whole, JSON, and mistakes that cost one entry and no more."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pytest
from examples.pins.__main__ import write_catalogue

from millstream_apps.appraise.catalogue import Catalogue, CatalogueError, Imported, Sale
from tests.appraise.recognition.pins import encoded, front


@pytest.fixture
def catalogue(tmp_path: Path):
    with Catalogue(f"sqlite:///{tmp_path}/pins.db") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "list"
    place.mkdir()
    (place / "a.png").write_bytes(encoded(front(0)))
    (tmp_path / "outside.png").write_bytes(encoded(front(0)))
    return place


def test_the_demo_catalogue_is_imported_whole(catalogue: Catalogue, tmp_path: Path) -> None:
    path = write_catalogue(tmp_path / "demo", 3)
    assert catalogue.import_file(path) == Imported(added=3)
    assert catalogue.import_file(path) == Imported(skipped=3)
    assert catalogue.import_file(path, replace=True) == Imported(replaced=3)
    shown = catalogue.get("demo-001")
    assert {photo.view for photo in shown.photos} == {"front", "back"}
    assert sum(path.stat().st_size for path in (tmp_path / "demo").iterdir()) < 300_000


def test_json_lists(catalogue: Catalogue, folder: Path) -> None:
    sale = {"price": "12.50", "currency": "USD", "date": "2026-03-01", "source": "a fair"}
    entry = {"id": "a", "name": "A", "characters": ["Fox", "Owl"], "front": ["a.png", "a.png"]}
    (folder / "list.json").write_text(json.dumps([{**entry, "sales": [sale]}]))
    assert catalogue.import_file(folder / "list.json") == Imported(added=1)
    kept = catalogue.get("a")
    assert kept.characters == ("Fox", "Owl")
    assert kept.sales == (Sale(Decimal("12.50"), "USD", datetime.date(2026, 3, 1), "a fair"),)
    assert [photo.number for photo in kept.photos] == [1, 2]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (",a.png,", "name: a reference needs one"),
        ("B,,", "at least one front photo"),
        ("B,b.png,", "front: 'b.png' cannot be read"),
        ("B,../outside.png,", "front: '../outside.png' lies outside of the folder"),
        ("B,list.csv,", "front photo: is not a JPEG"),
        ("B,a.png,yesterday 1 USD", "sales: date 'yesterday' is not YYYY-MM-DD"),
        ("B,a.png,2026-01-01 much USD", "sales: price 'much' is not a number"),
        ("B,a.png,2026-01-01 5", "sales: '2026-01-01 5' is not"),
        ("B,a.png,2026-01-01 5 dollars", "currency 'dollars': must be three capitals"),
    ],
)
def test_a_mistake_costs_its_own_row(
    catalogue: Catalogue, folder: Path, row: str, told: str
) -> None:
    path = folder / "list.csv"
    path.write_text(f"name,front,sales\n{row}\nGood,a.png,2026-01-01 5 USD\n")
    found = catalogue.import_file(path)
    assert found.added == 1
    assert len(found.problems) == 1
    assert found.problems[0].startswith("list.csv: row 2: ")
    assert told in found.problems[0]
    assert [each.name for each in catalogue.list()] == ["Good"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("list.txt", "", "must be a .csv or a .json file"),
        ("list.csv", "name\nA\n", "column 'front' is missing"),
        ("list.csv", "name,front,price\nA,a.png,3\n", "column 'price' is not one of"),
        ("list.json", "{}", "must be a list of objects"),
        ("list.json", "[", "is not JSON"),
    ],
)
def test_what_is_no_list_is_refused(
    catalogue: Catalogue, folder: Path, name: str, text: str, told: str
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(CatalogueError, match=told):
        catalogue.import_file(folder / name)


def test_a_list_that_is_not_there(catalogue: Catalogue, folder: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        catalogue.import_file(folder / "none.csv")
