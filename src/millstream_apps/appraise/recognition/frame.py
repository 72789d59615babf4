"""The reference's frame: a square picture of the pin alone, on neutral grey, as the index holds it.

Whatever was around the pin in the catalogue's picture is cut away where it can be told apart.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from millstream_apps.appraise.recognition.features import Features, find
from millstream_apps.appraise.recognition.photo import Grey, Picture, Rgb
from millstream_apps.appraise.recognition.segment import flat_border, segment

SIDE = 256  # pixels of the frame
MARGIN = 0.06  # of the frame, kept free around the pin
NEUTRAL = 128  # what lies around the pin
MOST = 260  # features of one frame
Back = tuple[float, float, float]  # scale, x, y: from a cut's pixels to those of its picture


@dataclass(frozen=True)
class Frame:
    """`rgb` (SIDE, SIDE, 3); `mask` 255 where the pin is, or all 255 where that is not known."""

    rgb: Rgb
    mask: Grey

    @cached_property
    def features(self) -> Features:
        """The frame's local features, in its pixels."""
        return find(self.rgb, MOST)

    @property
    def is_cut_out(self) -> bool:
        """Whether the pin was told from its background."""
        return not bool(self.mask.all())


def frame_of(picture: Picture) -> Frame:
    """A catalogue picture as a frame."""
    mask = picture.mask
    if mask is None:
        mask = flat_border(picture.rgb)
    if mask is None:
        mask = next(iter(segment(picture.rgb)), None)
    return cut(picture.rgb, mask)[0]


def cut(rgb: Rgb, mask: Grey | None) -> tuple[Frame, Back]:
    """A square cut around the mask as a Frame, and the way back to the picture's pixels."""
    height, width = rgb.shape[:2]
    x, y, w, h = (0, 0, width, height) if mask is None else cv2.boundingRect(mask)
    side = max(w, h) / (1 - 2 * MARGIN)
    left, top = x + w / 2 - side / 2, y + h / 2 - side / 2
    scale = side / SIDE
    back = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inside = np.full((height, width), 255, np.uint8) if mask is None else mask
    soft = _thinned(inside.astype(np.float32) / 255, scale)
    colour = _thinned(rgb.astype(np.float32), scale)
    alpha = cv2.warpAffine(soft, back, (SIDE, SIDE), flags=how)[:, :, None]
    warped = cv2.warpAffine(colour, back, (SIDE, SIDE), flags=how, borderMode=cv2.BORDER_REPLICATE)
    laid = warped * alpha + NEUTRAL * (1 - alpha)
    hard = np.where(alpha[:, :, 0] > 0.5, 255, 0).astype(np.uint8)
    if mask is None:
        hard[:] = 255
    return Frame(laid.round().astype(np.uint8), hard), (scale, float(back[0, 2]), float(back[1, 2]))


def _thinned(values: np.ndarray, scale: float) -> np.ndarray:
    """Blurred as much as a reduction by `scale` needs, so that nothing fine turns false."""
    return cv2.GaussianBlur(values, (0, 0), 0.5 * scale) if scale > 1.2 else values
