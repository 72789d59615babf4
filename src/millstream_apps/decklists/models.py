"""The response: one decklist as clients receive it. Shapes only, no logic."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Section = Literal["legend", "main_deck", "battlefields", "runes", "side_deck"]
SECTIONS: tuple[Section, ...] = ("legend", "main_deck", "battlefields", "runes", "side_deck")
MatchType = Literal["exact_full", "base_name", "comma_inserted", "fuzzy_base_name", "fuzzy_full"]
Quantity = Annotated[int, Field(ge=1, le=12)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Model(BaseModel):
    """Frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metadata(Model):
    """What the header says; None where the picture does not show it."""

    player: str | None = None
    deck_name: str | None = None
    placement: int | None = Field(default=None, ge=1)
    event: str | None = None
    date: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    legend_name_en: str | None = None


class CardEntry(Model):
    """One box of the list, matched. `name_cn` is as printed on the screen."""

    name_cn: str
    quantity: Quantity
    name_en: str
    card_number: str
    type_en: str
    domain_en: str
    cost: int | None
    rarity_en: str
    image_url_en: str
    match_score: Percent
    match_type: MatchType


class UnmatchedEntry(Model):
    """One box of the list that no card of the table explains with certainty."""

    name_cn: str
    section: Section
    quantity: Quantity


class Stats(Model):
    """Counted in copies, not in boxes; `accuracy` in percent, 0 for an empty list."""

    total_cards: int
    matched_cards: int
    accuracy: Percent


class DecklistResponse(Model):
    """One picture's decklist. `decklist_id` depends on the picture's bytes alone."""

    decklist_id: UUID
    metadata: Metadata
    legend: list[CardEntry]
    main_deck: list[CardEntry]
    battlefields: list[CardEntry]
    runes: list[CardEntry]
    side_deck: list[CardEntry]
    stats: Stats
    unmatched: list[UnmatchedEntry]

    def section(self, name: Section) -> list[CardEntry]:
        """The entries of one section, in the picture's order."""
        return getattr(self, name)
