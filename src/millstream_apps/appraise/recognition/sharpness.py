"""How sharp a photographed pin's edges are, inside and along its outline, against its reference's.

An edge's steepness, after a light and after a strong smoothing, tells its width whatever its
contrast: for a step blurred by b it goes as 1 / sqrt(b^2 + s^2) with the smoothing s. A camera out
of focus widens all edges alike; a copy printed from a poor picture is soft inside of an outline
that was cut sharp.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.align import Levels, Matrix, laid
from millstream_apps.appraise.recognition.frame import SIDE, Frame

Plane = NDArray[Any]  # of float32

LIGHT, STRONG = 0.9, 4.0  # sigmas, in pixels of the frame
EDGES = 88  # percentile of a reference's gradients from which they are edges
RIM = 7  # pixels along the outline that are not counted as inside


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Ratios, 1 where the photo's edges are as steep as the reference's. `outline` is 1 for an
    ideally sharp cut; None where there is no outline to look at.
    """

    inside: float
    outline: float | None

    @property
    def against_outline(self) -> float:
        """The inside's sharpness as a part of the outline's; its own where there is none."""
        return self.inside if self.outline is None else self.inside / max(self.outline, 0.05)


def sharpness(frame: Frame, photo: Levels, homography: Matrix, visible: Plane) -> Sharpness:
    """Of the pin that `homography` lays onto the photo. `visible`: (n, n), 1 where it can be
    compared.
    """
    seen = _grey(laid(photo, homography, SIDE))
    own = _grey(frame.rgb.astype(np.float32))
    shown = cv2.resize(visible, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    mask = (frame.mask > 0).astype(np.float32)
    inner = cv2.erode(mask, np.ones((RIM, RIM), np.uint8)) * shown
    normals = _normals(own)
    strength = np.hypot(*_gradient(cv2.GaussianBlur(own, (0, 0), 2.0)))
    chosen = strength[inner > 0]
    level = float(np.percentile(chosen, EDGES)) if chosen.size else 0.0
    edges = (strength >= max(level, 1.0)) & (inner > 0)
    if int(edges.sum()) < 40:
        return Sharpness(1.0, _outline(seen, mask, shown))
    ratio = _steepness(seen, normals, edges) / max(_steepness(own, normals, edges), 1e-3)
    return Sharpness(float(np.clip(ratio, 0, 2)), _outline(seen, mask, shown))


def _outline(seen: Plane, mask: Plane, shown: Plane) -> float | None:
    if mask.all():
        return None
    step = mask * 255
    # the place of the outline, not glare within it, decides what may be looked at
    near = cv2.dilate(shown, np.ones((9, 9), np.uint8)) > 0
    rim = (cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0) & near
    if int(rim.sum()) < 40:
        return None
    normals = _normals(step)
    ratio = _steepness(seen, normals, rim) / max(_steepness(step, normals, rim), 1e-3)
    return float(np.clip(ratio, 0, 2))


def _steepness(picture: Plane, normals: tuple[Plane, Plane], edges: NDArray[np.bool_]) -> float:
    """Steepness across the edges after light smoothing, as a multiple of that after strong."""
    light, strong = (_across(cv2.GaussianBlur(picture, (0, 0), sigma), normals) for sigma in
                     (LIGHT, STRONG))  # fmt: skip
    signed = np.sign(strong)
    # the edge may lie a pixel off: its steepest place nearby counts
    steep = cv2.dilate(light * signed, np.ones((5, 5), np.uint8))
    return float(steep[edges].sum() / max(float((strong * signed)[edges].sum()), 1e-3))


def _grey(rgb: Plane) -> Plane:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def _gradient(picture: Plane) -> tuple[Plane, Plane]:
    return cv2.Scharr(picture, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(picture, cv2.CV_32F, 0, 1) / 32


def _across(picture: Plane, normals: tuple[Plane, Plane]) -> Plane:
    dx, dy = _gradient(picture)
    return dx * normals[0] + dy * normals[1]


def _normals(picture: Plane) -> tuple[Plane, Plane]:
    dx, dy = _gradient(cv2.GaussianBlur(picture, (0, 0), 2.0))
    length = np.maximum(np.hypot(dx, dy), 1e-3)
    return dx / length, dy / length
