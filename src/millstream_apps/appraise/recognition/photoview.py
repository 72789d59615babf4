"""One photo made ready for recognition: its pixels, the pin's mask, its features, its whole."""

from dataclasses import dataclass

import cv2
import numpy as np

from millstream_apps.appraise.recognition import features, frame
from millstream_apps.appraise.recognition.align import Levels, levels
from millstream_apps.appraise.recognition.features import Features
from millstream_apps.appraise.recognition.photo import Grey, Picture, Rgb
from millstream_apps.appraise.recognition.segment import flat_border, segment
from millstream_apps.appraise.recognition.whole import Whole, whole_of

SCENE_SIDE = 480  # pixels of the longer side at which features of the whole photo are looked for
SCENE_MOST = 350
Cut = tuple[frame.Frame, frame.Back]
LEAST_CONTRAST = 4.0  # grey levels: a photo with less shows nothing


@dataclass(frozen=True, slots=True)
class View:
    """A photo's pixels and what was found in them; places are in its pixels. `masks`: which pixels
    may be the pin, the likeliest first; `wholes`: the pin by each of them.
    """

    levels: Levels
    masks: tuple[Grey, ...]
    features: Features
    wholes: tuple[Whole, ...]

    @property
    def rgb(self) -> Rgb:
        """The photo's pixels."""
        return self.levels[0]

    @property
    def is_readable(self) -> bool:
        """Whether there is anything to see: not dark, not blank, not out of focus altogether."""
        grey = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)
        calm = cv2.GaussianBlur(grey, (0, 0), 2.0)
        seen = float(np.percentile(calm, 99.5)) - float(np.percentile(calm, 0.5))
        return seen >= LEAST_CONTRAST and (len(self.features) > 0 or len(self.wholes) > 0)


def look(picture: Picture) -> View:
    """Find what recognition needs. A transparent background is believed, others are looked for."""
    rgb, masks = picture.rgb, masks_of(picture)
    cuts = [frame.cut(rgb, mask) for mask in masks]
    wholes = (_whole(*cut) for cut in cuts)
    found = tuple(each for each in wholes if each is not None)
    return View(levels(rgb), masks, _features(rgb, cuts[-1] if cuts else None), found)


def masks_of(picture: Picture) -> tuple[Grey, ...]:
    """Which pixels may be the pin, as far as that can be told."""
    if picture.mask is not None:
        return (picture.mask,)
    found = segment(picture.rgb)
    even = None if found else flat_border(picture.rgb, tolerance=6.0)
    return found if even is None else (even,)


def _features(rgb: Rgb, cut: Cut | None) -> Features:
    """Of the whole photo, and of the pin cut out and laid on grey as references are."""
    scale = min(SCENE_SIDE / max(rgb.shape[:2]), 1.0)
    size = max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    scene = features.find(small, SCENE_MOST).moved(1 / scale, 0.5 / scale - 0.5, 0.5 / scale - 0.5)
    if cut is None:
        return scene
    cutting, (factor, x, y) = cut
    return features.find(cutting.rgb, frame.MOST).moved(factor, x, y).joined(scene)


def _whole(cutting: frame.Frame, back: frame.Back) -> Whole | None:
    """Read from a cut around the pin, and told in the photo's pixels."""
    factor, x, y = back
    found = whole_of(cutting)
    if found is None:
        return None
    to_photo = np.array([[factor, 0, x], [0, factor, y], [0, 0, 1.0]])
    return Whole(found.harmonics, (to_photo @ np.vstack([found.upright, (0, 0, 1.0)]))[:2])
