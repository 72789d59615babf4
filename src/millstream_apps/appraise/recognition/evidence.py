"""What a measured difference is called, in which unit it is told, and how it reads to people."""

from dataclasses import dataclass

from millstream_apps.appraise.recognition.calibration import shipped
from millstream_apps.appraise.recognition.models import Evidence, Reading, View


@dataclass(frozen=True, slots=True)
class Kind:
    """`higher_differs`: whether a high value is the bad one. `texts`: agrees, doubtful, differs."""

    title: str
    unit: str
    higher_differs: bool
    texts: tuple[str, str, str]


KINDS: dict[str, Kind] = {
    "geometry": Kind("Geometry", "% of the side", True, (
        "Details lie where the reference has them.",
        "Details lie a little beside their places in the reference.",
        "Details do not lie where the reference has them.")),
    "outline": Kind("Outline", "% not in common", True, (
        "The outline is the reference's.",
        "The outline differs a little from the reference's, or could not be told well.",
        "The outline differs from the reference's.")),
    "sharpness": Kind("Edge sharpness", "of the reference's", False, (
        "Edges inside are as sharp as in the reference.",
        "Edges inside are softer than in the reference.",
        "Edges inside are much softer than in the reference.")),
    "softness": Kind("Sharpness inside against outline", "ratio", False, (
        "Inside and outline are equally sharp.",
        "The inside is softer than the outline.",
        "The inside is much softer than the outline, as in a copy made from a picture.")),
    "blur": Kind("Blur inside", "% of the side", True, (
        "Fine lines are as fine as in the reference.",
        "Fine lines are blurred a little.",
        "Fine lines are blurred: by the camera, or as in a copy made from a picture.")),
    "resolution": Kind("Smallness in the photo", "reference pixels a pixel", True, (
        "The pin is large enough to judge its edges.",
        "The pin is small in the photo: little can be said of its edges.",
        "The pin is too small in the photo to judge its edges.")),
    "colour": Kind("Colour", "CIELAB a, b: median", True, (
        "Colours agree once the light is allowed for.",
        "Colours differ somewhat, more than the light explains.",
        "Colours differ.")),
    "colour_spread": Kind("Colour where it differs most", "CIELAB a, b: 90 % below", True, (
        "No part has another colour.",
        "One part's colour is a little off.",
        "At least one part has another colour.")),
    "tint": Kind("Tint", "standard deviations", True, (
        "The light explains the tint.",
        "The tint is unusual for light.",
        "The tint is more than light gives: the colours themselves are shifted.")),
    "detail": Kind("Details", "0 alike - 1 different", True, (
        "Every part has the reference's lines.",
        "Some lines are missing or blurred.",
        "Lines are missing, added or lost.")),
    "back_pattern": Kind("Back pattern", "0 different - 1 alike", False, (
        "The back is the reference's.",
        "The back is only partly like the reference's.",
        "The back is not the reference's.")),
    "hash": Kind("Perceptual hash", "bits of 64", True, (
        "The overall form agrees.",
        "The overall form differs somewhat.",
        "The overall form differs.")),
    "histogram": Kind("Colour histogram", "Hellinger distance", True, (
        "The shares of the colours agree.",
        "The shares of the colours differ somewhat.",
        "The shares of the colours differ.")),
}  # fmt: skip
READINGS: tuple[Reading, Reading, Reading] = ("agrees", "doubtful", "differs")


def evidence(name: str, value: float, view: View) -> Evidence | None:
    """A measurement as evidence; None for one that is not shown."""
    kind = KINDS.get(name)
    calibration = shipped()
    if kind is None or name not in calibration.thresholds:
        return None
    limit, doubt = calibration.thresholds[name], calibration.doubtful[name]
    sign = 1 if kind.higher_differs else -1
    at = (sign * value > sign * doubt) + (sign * value > sign * limit)
    return Evidence(
        name=name,
        title=kind.title,
        view=view,
        value=round(value, 3),
        unit=kind.unit,
        threshold=round(limit, 3),
        reading=READINGS[at],
        text=kind.texts[at],
    )
