"""What recognition says: verdicts, evidence and geometry, as frozen values that have a JSON form.

Knows nothing of pictures, of the catalogue's database or of how any number is found.
"""

from typing import Literal

from msgspec import Struct

View = Literal["front", "back", "angled"]
VIEWS: tuple[View, ...] = ("front", "back", "angled")
Reason = Literal["no_match", "close_candidates", "unreadable"]
Reading = Literal["agrees", "doubtful", "differs"]


class PhotoSet(Struct, frozen=True):
    """The photos of one pin, as the bytes of JPEG, PNG, WebP or HEIC files."""

    front: bytes
    back: bytes | None = None
    angled: bytes | None = None


class Candidate(Struct, frozen=True):
    """One reference that the photos were compared with; `score` 0-1, `inliers` a count."""

    reference: str
    score: float
    inliers: int


class Geometry(Struct, frozen=True):
    """Where a reference's picture lies in a photo.

    `homography`: 9 numbers by row; from the reference's frame (a square whose corners are 0,0 and
    1,1) to the upright photo, whose width is 1 and whose height is `aspect`. `outline`: where the
    frame's corners lie in the photo, as fractions of its width and of its height. `rotation` in
    degrees, clockwise, 0-360. `tilt` in degrees, 0 where the camera looked straight down. `size`:
    the frame's mean side as a fraction of the photo's width. `residual`: root mean square of the
    matched points, as a fraction of the frame's side.
    """

    view: View
    homography: tuple[float, ...]
    outline: tuple[tuple[float, float], ...]
    aspect: float
    rotation: float
    tilt: float
    size: float
    inliers: int
    residual: float


class Match(Struct, frozen=True, tag="match"):
    """The photos show this reference (its id in the catalogue).

    `score`: the calibrated probability, 0-1, that it does. `candidates`: best first, the match
    itself included. `geometry`: one for each view that was matched; the front's comes first.
    """

    reference: str
    score: float
    candidates: tuple[Candidate, ...]
    geometry: tuple[Geometry, ...]


class Abstention(Struct, frozen=True, tag="abstention"):
    """No answer, and why: `message` is one sentence for people."""

    reason: Reason
    message: str
    candidates: tuple[Candidate, ...] = ()


Identification = Match | Abstention


class Evidence(Struct, frozen=True):
    """One measured difference to the reference.

    `name`: geometry, outline, sharpness, colour, colour_spread, detail, back_pattern, hash ...
    `value` and `threshold` are in `unit`; the reading is `agrees` on the threshold's good side.
    `title` and `text` are for people, and plain text.
    """

    name: str
    title: str
    view: View
    value: float
    unit: str
    threshold: float
    reading: Reading
    text: str


class Authenticity(Struct, frozen=True):
    """How near the photographed pin is to the reference.

    `rating` 0-100: the calibrated probability that it is genuine, in percent. `confidence` 0-1: the
    probability that the likelier of both words is the right one. `authentic`: that word, or None
    where it is not sure enough to be said; `note` then says why. `method`: `full`, or `quick` for
    the cheaper way.
    """

    authentic: bool | None
    rating: float
    confidence: float
    evidence: tuple[Evidence, ...]
    method: Literal["full", "quick"]
    note: str = ""
