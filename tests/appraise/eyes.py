"""Eyes that see what a test tells them to, in threads: for all that is not about seeing itself."""

import threading
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from millstream import StepError
from millstream_apps.appraise.engine import undetermined
from millstream_apps.appraise.models import Card, Identified, Pictures, Verdict
from millstream_apps.appraise.pipeline import Eyes
from millstream_apps.appraise.recognition.models import (
    Abstention,
    Candidate,
    Evidence,
    Geometry,
    Match,
)

PATIENCE = 20.0

CARD = Card(
    id="star",
    name="Star of the <North>",
    characters=("Ada", "Bruno & Cleo"),
    series="Constellations",
    edition="Limited 500",
    notes='Two posts on the back <script>alert("x")</script>',
)
GEOMETRY = Geometry(
    view="front",
    homography=(0.5, 0, 0.2, 0, 0.5, 0.2, 0, 0, 1),
    outline=((0.2, 0.2), (0.7, 0.2), (0.7, 0.7), (0.2, 0.7)),
    aspect=0.75,
    rotation=12.0,
    tilt=3.0,
    size=0.5,
    inliers=120,
    residual=0.004,
)
SEEN = Identified(
    Match("star", 0.98, (Candidate("star", 0.98, 120), Candidate("comet", 0.02, 9)), (GEOMETRY,)),
    CARD,
    {"star": CARD.name, "comet": "Comet"},
)
UNSEEN = Identified(
    Abstention("no_match", "no reference looks like it", (Candidate("comet", 0.1, 6),)),
    None,
    {"comet": "Comet"},
)
EVIDENCE = (
    Evidence("geometry", "Outline", "front", 0.004, "sides", 0.02, "agrees", "It fits."),
    Evidence("colour", "Colour <i>", "front", 21.0, "ΔE", 14.0, "differs", "It is <off>."),
)
VERDICT = Verdict("authentic", True, 91.5, 0.93, "full", evidence=EVIDENCE)
QUICK = Verdict("authentic", True, 70.0, 0.71, "quick", "Quick check: picture hash and colour only")


def picture(kind="JPEG", size=(60, 45), colour=(200, 60, 40)) -> bytes:
    """A photo file."""
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


@dataclass
class Told:
    """What the eyes see, and how each look goes: "ok", "fail", "hang" (until `release`), "bad"."""

    seen: Identified = SEEN
    fates: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    seconds: float = PATIENCE

    def look(self, name: str) -> None:
        """Do as told."""
        self.calls.append(name)
        fate = self.fates.get(name, "ok")
        if fate == "hang":
            self.release.wait(PATIENCE)
        if fate == "fail":
            raise StepError(f"{name} cannot <see>", code="blind", retryable=False)
        if fate == "bad":
            raise StepError("frontImageData: is no picture", code="bad_photo", retryable=False)

    def eyes(self) -> Eyes:
        """For a pipeline of its own."""

        def identify(photos) -> Identified:
            self.look("identify")
            return self.seen

        def authenticate(photos, identification: Identified) -> Verdict:
            self.look("authenticate")
            return VERDICT if identification.abstention is None else undetermined(identification)

        def authenticate_quickly(photos, identification: Identified) -> Verdict:
            self.look("authenticate_quickly")
            return QUICK

        def show(photos, identification: Identified) -> list[Pictures]:
            self.look("picture")
            small = picture("WEBP")
            return [
                Pictures(view, picture(), 60, 45, GEOMETRY.outline, small, small)
                for view in photos.views
            ]

        return Eyes(
            identify=identify,
            authenticate=authenticate,
            authenticate_quickly=authenticate_quickly,
            picture=show,
            executor="thread",
            authenticate_seconds=self.seconds,
        )
