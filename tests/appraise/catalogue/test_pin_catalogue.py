"""The catalogue on SQLite: what is kept comes back, an index follows, mistakes name their field."""

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, update

from millstream_apps.appraise.catalogue import (
    Catalogue,
    CatalogueError,
    Reference,
    Sale,
    UnknownReference,
)
from millstream_apps.appraise.catalogue.schema import photos as photo_table
from millstream_apps.appraise.recognition import PhotoError
from tests.appraise.recognition.pins import encoded, front

PHOTO = encoded(front(0))
DAY = datetime.date(2026, 3, 1)

words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
sales = st.builds(
    Sale,
    st.decimals(0, 10**6, places=2),
    st.sampled_from(["USD", "EUR", "JPY"]),
    st.dates(datetime.date(1990, 1, 1)),
    words,
)
names = words.filter(lambda text: text.strip())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/pins.db"


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    with Catalogue(url) as opened:
        yield opened


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names,
    st.lists(words, max_size=3).map(tuple),
    words,
    st.lists(sales, max_size=3, unique_by=lambda sale: sale.date),
)
def test_what_is_kept_comes_back(
    catalogue: Catalogue, name: str, characters: tuple[str, ...], notes: str, sold: list[Sale]
) -> None:
    given_ = Reference("", name, characters, notes=notes, sales=tuple(sold))
    kept = catalogue.add(given_, [("front", PHOTO)])
    assert kept == catalogue.get(kept.id)
    assert (kept.name, kept.characters, kept.notes) == (name, characters, notes)
    assert list(kept.sales) == sorted(sold, key=lambda sale: sale.date)
    assert [(photo.view, photo.number) for photo in kept.photos] == [("front", 1)]


def test_an_index_follows_changes_made_elsewhere(catalogue: Catalogue, url: str) -> None:
    index = catalogue.load_index()
    with Catalogue(url) as other:
        for number in range(3):
            other.add(Reference(f"p{number}", f"Pin {number}"), [("front", encoded(front(number)))])
        assert catalogue.refresh(index) == 3
        assert catalogue.refresh(index) == 0
        other.remove("p1")
        other.add(Reference("p2", "Again"), [("front", PHOTO), ("back", PHOTO)], replace=True)
        assert catalogue.refresh(index) == 2
    assert sorted(name for name in ("p0", "p1", "p2") if name in index) == ["p0", "p2"]
    assert len(index.slots("p2", "back")) == 1
    loaded = catalogue.load_index()
    assert (len(loaded), loaded.version) == (len(index), index.version)


def test_features_of_an_older_kind_are_made_again(catalogue: Catalogue, url: str) -> None:
    catalogue.add(Reference("a", "A"), [("front", PHOTO)])
    before = catalogue.load_index()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(update(photo_table).values(features=0, entries=b"", harmonics=b""))
    engine.dispose()
    after = catalogue.load_index()
    assert after.whole(0) is not None
    assert abs(after.nbytes - before.nbytes) < 0.2 * before.nbytes


def test_listing_searches_and_pages(catalogue: Catalogue) -> None:
    for number in range(5):
        given_ = Reference(f"p{number}", f"100% Pin {number}", characters=("Ōtter",))
        catalogue.add(given_, [("front", PHOTO)])
    assert [each.id for each in catalogue.list(limit=2)] == ["p0", "p1"]
    assert [each.id for each in catalogue.list(after="p1", limit=2)] == ["p2", "p3"]
    assert [each.id for each in catalogue.list("pin 4")] == ["p4"]
    assert len(catalogue.list("0% p")) == 5
    assert catalogue.list("0_ p") == []
    assert len(catalogue.list("tter")) == 5
    assert catalogue.count() == 5


def test_ids_are_made_from_names(catalogue: Catalogue) -> None:
    made = [catalogue.add(Reference("", "The Fox!"), [("front", PHOTO)]).id for _ in range(3)]
    assert made == ["the-fox", "the-fox-2", "the-fox-3"]
    assert catalogue.add(Reference("", "狐"), [("front", PHOTO)]).id == "pin"


def test_sales_are_added_and_go_with_their_reference(catalogue: Catalogue) -> None:
    catalogue.add(Reference("a", "A"), [("front", PHOTO)])
    catalogue.add_sales("a", [Sale(Decimal("10.50"), "USD", DAY), Sale(Decimal(9), "USD", DAY)])
    assert [sale.price for sale in catalogue.get("a").sales] == [Decimal("10.50"), Decimal(9)]
    catalogue.remove("a")
    catalogue.add(Reference("a", "A"), [("front", PHOTO)])
    assert catalogue.get("a").sales == ()


def test_thumbnails_are_small_pictures(catalogue: Catalogue) -> None:
    catalogue.add(Reference("a", "A"), [("front", PHOTO)])
    thumbnail = catalogue.thumbnail("a")
    assert thumbnail[8:12] == b"WEBP"
    assert len(thumbnail) < 30_000
    with pytest.raises(UnknownReference):
        catalogue.thumbnail("a", "back")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (Reference("Bad Id", "A"), "id 'Bad Id': use at most 64"),
        (Reference("a", " "), "name: a reference needs one"),
        (Reference("a", "A" * 201), "name: has 201 characters"),
        (Reference("a", "A", notes="\x00"), "notes: holds a zero character"),
        (Reference("a", "A", sales=(Sale(Decimal(-1), "USD", DAY),)), "price -1: must be"),
        (Reference("a", "A", sales=(Sale(Decimal("NaN"), "USD", DAY),)), "price NaN: must be"),
        (Reference("a", "A", sales=(Sale(Decimal(1), "usd", DAY),)), "currency 'usd': must be"),
    ],
)
def test_a_mistake_names_its_field(catalogue: Catalogue, reference: Reference, told: str) -> None:
    with pytest.raises(CatalogueError, match=told):
        catalogue.add(reference, [("front", PHOTO)])
    assert catalogue.count() == 0


def test_other_refusals(catalogue: Catalogue) -> None:
    catalogue.add(Reference("a", "A"), [("front", PHOTO)])
    with pytest.raises(CatalogueError, match="id 'a': is taken"):
        catalogue.add(Reference("a", "B"), [("front", PHOTO)])
    with pytest.raises(CatalogueError, match="at least one front photo"):
        catalogue.add(Reference("b", "B"), [("back", PHOTO)])
    with pytest.raises(PhotoError, match="front photo: is not a JPEG"):
        catalogue.add(Reference("b", "B"), [("front", b"x")])
    for call in (catalogue.get, catalogue.remove, lambda name: catalogue.add_sales(name, [])):
        with pytest.raises(UnknownReference, match="there is no reference 'nobody'"):
            call("nobody")
    with pytest.raises(CatalogueError, match="cannot be opened"):
        Catalogue("nonsense://x")
    assert catalogue.count() == 1
