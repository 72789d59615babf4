"""What goes through the pipeline: the request, what is found, and each part as it is published.

Shapes only, no logic. Published fields have the names that this system's clients know; more stand
beside them. `None` in a verdict means that there is none: nothing is ever made up in its place.
"""

import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from millstream import Upload
from millstream_apps.appraise.catalogue import Sale
from millstream_apps.appraise.recognition.models import VIEWS, Abstention, Evidence, Match, View

Session = Annotated[str, msgspec.Meta(pattern="^[0-9]{12}$", max_length=12)]
Word = Literal["authentic", "not_authentic", "undetermined"]


class PhotoRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The photos of one pin as they were sent; the front is needed, each other view helps."""

    front_image: Upload
    back_image: Upload | None = None
    angled_image: Upload | None = None
    session_id: Session | None = msgspec.field(default=None, name="sessionId")

    def view(self, view: View) -> Upload | None:
        """One view's photo, where it was sent."""
        return {
            "front": self.front_image,
            "back": self.back_image,
            "angled": self.angled_image,
        }[view]

    def session(self, created: float) -> str:
        """The client's session id, or one made of the moment when the run was accepted (seconds
        since the epoch): twelve digits, YYMMDDHHMMSS, in UTC. The same each time."""
        moment = datetime.datetime.fromtimestamp(created, datetime.UTC)
        return self.session_id or moment.strftime("%y%m%d%H%M%S")

    @property
    def views(self) -> tuple[View, ...]:
        """The views that were sent."""
        return tuple(view for view in VIEWS if self.view(view) is not None)


class Card(Struct, frozen=True):
    """What the catalogue says of the matched reference."""

    id: str
    name: str
    characters: tuple[str, ...]
    series: str
    edition: str
    notes: str


class Identified(Struct, frozen=True):
    """Which reference the photos show, or why none is named. `names` are those of the candidates,
    by their ids."""

    found: Match | Abstention
    card: Card | None
    names: dict[str, str]

    @property
    def abstention(self) -> Abstention | None:
        """Why nothing is named; None where something is."""
        return self.found if isinstance(self.found, Abstention) else None


class Verdict(Struct, frozen=True, rename="camel"):
    """Authentic or not, in percent and with the confidence that this word has (0-1).

    Where there is no answer `authentic` and `authenticity_rating` are None, `confidence` is 0, and
    `reason` and `note` say why. `note` also tells when the cheaper method was used.
    """

    verdict: Word
    authentic: bool | None
    authenticity_rating: float | None
    confidence: float
    method: Literal["full", "quick", "none"]
    note: str | None = None
    reason: str | None = None
    evidence: tuple[Evidence, ...] = ()


class Characters(Struct, frozen=True):
    """Who is on the pin, separated by commas; empty where it was not identified."""

    characters: str
    identification: str


class Summary(Struct, frozen=True):
    """Comparable sales in one currency. `low` and `high` are the quartiles (of fewer than four
    sales: the least and the most)."""

    currency: str
    count: int
    median: Decimal
    low: Decimal
    high: Decimal
    first: datetime.date
    last: datetime.date


class Pricing(Struct, frozen=True):
    """A price where there are sales to compare with; else `summary` is None, and said so."""

    pricing: str
    summary: Summary | None = None
    sales: tuple[Sale, ...] = ()


class Details(Struct, frozen=True):
    """The reference and how it was found. `reference` None: none was."""

    analysis: str
    reference: Card | None = None


class Pictures(Struct, frozen=True):
    """One view's pictures for the page, ready as files: the photo (JPEG), the pin in it laid into
    the reference's frame (WebP) and the reference (WebP). `outline` as fractions of the photo."""

    view: View
    photo: bytes
    width: int
    height: int
    outline: tuple[tuple[float, float], ...] = ()
    rectified: bytes | None = None
    reference: bytes | None = None


class Display(Struct, frozen=True):
    """The display pages' sizes in bytes, by view; their HTML is in the database, under the run."""

    pages: dict[View, int]


class Recorded(Struct, frozen=True):
    """Where the analysis stands in the database."""

    id: int


class Analysis(Struct, frozen=True, rename="camel"):
    """The whole: what a client gets who waits for one answer. A part that failed is None."""

    id: int | None
    session_id: str | None
    authenticity: Verdict
    characters: Characters | None
    pricing: Pricing | None
    details: Details | None
    display: Display | None
