"""The catalogue's values: references, their photos' places, their sales; and what may be wrong."""

import datetime
import re
from decimal import Decimal

from msgspec import Struct

from millstream_apps.appraise.recognition import View

IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CURRENCY = re.compile(r"[A-Z]{3}")
LONGEST = {"name": 200, "series": 200, "edition": 200, "notes": 4000, "source": 200}


class CatalogueError(ValueError):
    """A reference, a sale or a file that cannot be used; the message names field and fix."""


class UnknownReference(CatalogueError):
    """There is no reference with this id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no reference {reference!r} in the catalogue")
        self.reference = reference


class Photo(Struct, frozen=True):
    """A picture of a reference: its view, its number among that view's, its size in pixels."""

    view: View
    number: int
    width: int
    height: int


class Sale(Struct, frozen=True):
    """One sale. `price` in units of `currency` (three capitals, ISO 4217)."""

    price: Decimal
    currency: str
    date: datetime.date
    source: str = ""


class Reference(Struct, frozen=True):
    """One kind of pin. An empty `id` asks the catalogue to make one from the name."""

    id: str
    name: str
    characters: tuple[str, ...] = ()
    series: str = ""
    edition: str = ""
    notes: str = ""
    photos: tuple[Photo, ...] = ()
    sales: tuple[Sale, ...] = ()


class Imported(Struct, frozen=True):
    """What an import did. `problems`: one sentence for each entry that was left out."""

    added: int = 0
    replaced: int = 0
    skipped: int = 0
    problems: tuple[str, ...] = ()


def check_reference(reference: Reference) -> None:
    """Raises CatalogueError, naming the field."""
    if reference.id and not IDENTIFIER.fullmatch(reference.id):
        raise CatalogueError(
            f"id {reference.id!r}: use at most 64 of a-z, 0-9, '.', '_' and '-', the first a "
            "letter or a digit"
        )
    if not reference.name.strip():
        raise CatalogueError("name: a reference needs one")
    for field in ("name", "series", "edition", "notes"):
        _check_text(field, getattr(reference, field))
    for character in reference.characters:
        _check_text("characters", character, 200)
    for sale in reference.sales:
        check_sale(sale)


def check_sale(sale: Sale) -> None:
    """Raises CatalogueError, naming the field."""
    if not sale.price.is_finite() or not 0 <= sale.price < 10**10:
        raise CatalogueError(f"price {sale.price}: must be a number from 0 to 10 thousand million")
    if not CURRENCY.fullmatch(sale.currency):
        raise CatalogueError(f"currency {sale.currency!r}: must be three capitals, as USD")
    _check_text("source", sale.source)


def _check_text(field: str, text: str, longest: int | None = None) -> None:
    longest = LONGEST[field] if longest is None else longest
    if len(text) > longest:
        raise CatalogueError(f"{field}: has {len(text)} characters; at most {longest} are kept")
    if "\x00" in text:
        raise CatalogueError(f"{field}: holds a zero character; remove it")


def identifier_from(name: str) -> str:
    """A readable id made from a name."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")
    return plain or "pin"
