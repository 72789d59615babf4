"""The card table: every printing that a deck may hold, loaded from a CSV file.

Knows files and columns; knows nothing of pictures or of how a text was read.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

COLUMNS = (
    "name_cn",
    "name_en",
    "card_number",
    "domain_en",
    "cost",
    "type_cn",
    "type_en",
    "rarity_en",
    "image_url_en",
)
REQUIRED = ("name_cn", "name_en", "card_number", "type_en")
SHIPPED = Path(__file__).with_name("cards.csv")
COMMA = re.compile(r"\s*[,，、﹐]\s*")
NUMBER = re.compile(r"(?P<set>[A-Z]+)\W(?P<number>\d+)(?P<variant>[a-z*]*)(?:/(?P<total>\d+))?")


class CardTableError(ValueError):
    """A card table that cannot be used; the message names the file, the row and the column."""


@dataclass(frozen=True, slots=True)
class Card:
    """One printing. `cost` is None where the game gives none (legends, runes, battlefields)."""

    name_cn: str
    name_en: str
    card_number: str
    domain_en: str
    cost: int | None
    type_cn: str
    type_en: str
    rarity_en: str
    image_url_en: str

    @property
    def parts(self) -> tuple[str, str]:
        """Base name and subtitle as the screen shows them, on two lines; the second may be ''."""
        base, _, subtitle = COMMA.sub(",", self.name_cn).partition(",")
        return base, subtitle


class CardTable:
    """All printings, in the file's order."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self.cards = tuple(cards)
        if not self.cards:
            raise CardTableError("a card table needs at least one card")

    def __len__(self) -> int:
        return len(self.cards)

    def __iter__(self) -> Iterator[Card]:
        return iter(self.cards)

    def __repr__(self) -> str:
        return f"CardTable({len(self)} printings, {len(self.by_name)} names)"

    @cached_property
    def by_name(self) -> dict[str, Card]:
        """Chinese name -> its base printing (see `printing_order`)."""
        chosen: dict[str, Card] = {}
        for card in sorted(self.cards, key=self.printing_order):
            chosen.setdefault(card.name_cn, card)
        return chosen

    @cached_property
    def base_names(self) -> frozenset[str]:
        """The names as printed on the first line, without subtitles."""
        return frozenset(card.parts[0] for card in self.cards)

    @cached_property
    def _set_sizes(self) -> Counter[str]:
        return Counter(_set_of(card) for card in self.cards)

    def printing_order(self, card: Card) -> tuple[bool, bool, bool, int, int]:
        """Sort key that puts a name's base printing first.

        Later come, most telling first: Showcase art; a letter or star behind the number
        (OGN·042a, OGN·303*); a number beyond the set's size; a smaller set (promotional ones).
        """
        found = NUMBER.match(card.card_number)
        number = int(found["number"]) if found else 0
        total = int(found["total"] or number) if found else 0
        return (
            card.rarity_en == "Showcase",
            bool(found and found["variant"]),
            number > total,
            -self._set_sizes[_set_of(card)],
            number,
        )

    @classmethod
    def load(cls, path: str | Path | None = None) -> "CardTable":
        """Read a table; None means the one that is shipped.

        Columns: `COLUMNS`; UTF-8 with or without a byte order mark. Raises CardTableError.
        """
        if path is None:
            path = SHIPPED
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as problem:
            raise CardTableError(f"{path}: cannot be read as UTF-8 text: {problem}") from problem
        return cls(_rows(str(path), text))


def _set_of(card: Card) -> str:
    found = NUMBER.match(card.card_number)
    return found["set"] if found else ""


def _rows(name: str, text: str) -> Iterator[Card]:
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise CardTableError(f"{name}: row 1: column {missing[0]!r} is missing")
    count = 0
    for count, row in enumerate(reader, start=1):
        yield _card(name, count + 1, row)
    if not count:
        raise CardTableError(f"{name}: row 2: no cards below the column names")


def _card(name: str, number: int, row: dict[str, str]) -> Card:
    values = {column: (row[column] or "").strip() for column in COLUMNS}
    for column in REQUIRED:
        if not values[column]:
            raise CardTableError(f"{name}: row {number}: column {column!r} is empty")
    cost = values.pop("cost")
    if cost and not cost.isdecimal():
        raise CardTableError(f"{name}: row {number}: column 'cost' is {cost!r}, not a number")
    return Card(cost=int(cost) if cost else None, **values)
