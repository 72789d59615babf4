"""Authenticity: what differs between a photographed pin and the reference that it was matched with.

Each difference is measured and shown. Copies are looked for in two ways, each by logistic
regression over photos of genuine pins and of such copies (see calibration): edges softer than the
photo's own size and focus explain, as of a copy made from a picture, and colours other than the
light explains. The pin is genuine if neither is found. Where that is not sure either way, as in a
small or soft photo, no word is said. Nothing is said of what a photo cannot show: weight, sound,
the metal itself.
"""

import numpy as np

from millstream_apps.appraise.recognition import trials
from millstream_apps.appraise.recognition.align import Placement, levels, side_in_photo
from millstream_apps.appraise.recognition.calibration import shipped
from millstream_apps.appraise.recognition.compare import Overlay, lab, measures, overlay
from millstream_apps.appraise.recognition.evidence import evidence
from millstream_apps.appraise.recognition.frame import SIDE
from millstream_apps.appraise.recognition.index import Index
from millstream_apps.appraise.recognition.models import (
    Authenticity,
    Evidence,
    Geometry,
    Match,
    PhotoSet,
    View,
)
from millstream_apps.appraise.recognition.photo import Picture, decode
from millstream_apps.appraise.recognition.photoview import look, masks_of
from millstream_apps.appraise.recognition.quick import quick_measures
from millstream_apps.appraise.recognition.sharpness import sharpness

QUICK_NOTE = (
    "Compared by colour and overall form alone: soft edges and small details were not looked at."
)
UNCLEAR_NOTE = (
    "what was measured does not settle it; a larger, sharper photo in even light tells more"
)


def authenticity(photos: PhotoSet, match: Match, *, index: Index) -> Authenticity:
    """Compare the photos with the matched reference. Raises PhotoError, or KeyError for a reference
    that is no longer in the index.
    """
    geometry = _first(match)
    picture = decode(_photo(photos, geometry.view), geometry.view)
    values = genuine_measures(picture, geometry, match.reference, index)
    calibration = shipped()
    edges = calibration.edges.probability(values)
    if values["resolution"] > calibration.thresholds["resolution"]:
        edges = 0.5  # too small to be judged by its edges
    chance = edges * calibration.colours.probability(values)
    shown = [evidence(name, value, geometry.view) for name, value in values.items()
             if name in calibration.thresholds]  # fmt: skip
    shown = [each for each in shown if each is not None]
    reverse = None if photos.back is None else _reverse(photos.back, match.reference, index)
    if reverse is not None:
        chance *= reverse[0]
        shown.append(reverse[1])
    return _verdict(chance, shown)


def quick_authenticity(photos: PhotoSet, match: Match, *, index: Index) -> Authenticity:
    """The same question by hash and histogram of colours alone; `note` says so. Raises as the
    other.
    """
    geometry = _first(match)
    picture = decode(_photo(photos, geometry.view), geometry.view)
    frame = index.frame(_slot(match.reference, geometry.view, index))
    values = quick_measures(frame, levels(picture.rgb), to_pixels(geometry, picture))
    chance = shipped().genuine_quick.probability(values)
    shown = [evidence(name, value, geometry.view) for name, value in values.items()]
    shown = [each for each in shown if each is not None]
    return _verdict(chance, shown, quick=True)


def genuine_measures(
    picture: Picture, geometry: Geometry, reference: str, index: Index
) -> dict[str, float]:
    """All that is measured of the matched photo, by name."""
    frame = index.frame(_slot(reference, geometry.view, index))
    homography = to_pixels(geometry, picture)
    placement = Placement(homography, geometry.inliers, geometry.residual)
    photo = levels(picture.rgb)
    over = overlay(frame, photo, placement, masks_of(picture))
    alike = measures(over)
    edges = sharpness(frame, photo, homography, over.weight)
    half, tenth = _shifts(over)
    return {
        "geometry": 100 * geometry.residual,
        "outline": 100 * (1 - alike["overlap"]) if alike["overlap"] >= 0 else 0.0,
        "sharpness": edges.inside,
        "softness": min(edges.against_outline, 1.5),
        "blur": edges.blur,
        "resolution": SIDE / side_in_photo(homography),
        "colour": half,
        "colour_spread": tenth,
        "tint": over.corrected[1],
        "detail": 1 - alike["worst"],
    }


def to_pixels(geometry: Geometry, picture: Picture) -> np.ndarray:
    """The geometry's homography, from the frame's pixels to the picture's."""
    width = picture.size[0]
    unit = np.array(geometry.homography).reshape(3, 3)
    return np.diag([width, width, 1.0]) @ unit @ np.diag([1 / SIDE, 1 / SIDE, 1.0])


def _shifts(over: Overlay) -> tuple[float, float]:
    """How far colours are from the reference's, in the a and b of CIE Lab (glare changes lightness
    most): of half of the pin more than the first, of a tenth of it more than the second.
    """
    apart = lab(over.corrected[0])[..., 1:] - lab(over.frame)[..., 1:]
    seen = np.linalg.norm(apart, axis=2)[over.weight > 0]
    if not seen.size:
        return 0.0, 0.0
    half, tenth = np.quantile(seen, (0.5, 0.9))
    return float(half), float(tenth)


def _reverse(photo: bytes, reference: str, index: Index) -> tuple[float, Evidence] | None:
    """The probability that the back is the reference's, and its evidence."""
    slots = index.slots(reference, "back")
    if not slots:
        return None
    seen = look(decode(photo, "back"))
    best = max((trials.of_slot(slot, seen, index) for slot in slots),
               key=lambda trial: trial.probability)  # fmt: skip
    structure = 0.0 if best.overlay is None else measures(best.overlay)["structure"]
    shown = evidence("back_pattern", structure, "back")
    assert shown is not None
    return best.probability, shown


def _verdict(chance: float, shown: list[Evidence], quick: bool = False) -> Authenticity:
    confidence = max(chance, 1 - chance)
    clear = confidence >= shipped().sure
    notes = [] if clear else [UNCLEAR_NOTE]
    return Authenticity(
        authentic=chance >= 0.5 if clear else None,
        rating=round(100 * chance, 1),
        confidence=round(confidence, 4),
        evidence=tuple(shown),
        method="quick" if quick else "full",
        note=". ".join([*notes, QUICK_NOTE] if quick else notes),
    )


def _first(match: Match) -> Geometry:
    return match.geometry[0]


def _photo(photos: PhotoSet, view: View) -> bytes:
    found = getattr(photos, view)
    if found is None:
        raise ValueError(f"the match was found in the {view} photo, which is not in this set")
    return found


def _slot(reference: str, view: View, index: Index) -> int:
    """The picture that a photo of this view is compared with."""
    slots = index.slots(reference, view) or index.slots(reference, "front")
    if not slots:
        raise KeyError(reference)
    return slots[0]
