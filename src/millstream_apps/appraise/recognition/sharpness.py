"""How sharp a photographed pin's edges are, inside and along its outline, against its reference's.

An edge's steepness, after a light and after a strong smoothing, tells its width whatever its
contrast: for a step blurred by b it goes as 1 / sqrt(b^2 + s^2) with the smoothing s. A camera out
of focus widens all edges alike; a copy printed from a poor picture is soft inside of an outline
that was cut sharp.

How blurred the inside is, is also measured without a model of edges: blur takes fine gradients away
and leaves coarse ones, and how fast, the reference itself tells when it is blurred step by step.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.align import Levels, Matrix, laid
from millstream_apps.appraise.recognition.frame import SIDE, Frame

Normals = tuple[NDArray[Any], NDArray[Any]]  # unit vectors across the edges: x, y
Mask = NDArray[np.bool_]

Plane = NDArray[Any]  # of float32

LIGHT, STRONG = 0.9, 4.0  # sigmas, in pixels of the frame
EDGES = 88  # percentile of a reference's gradients from which they are edges
RIM = 7  # pixels along the outline that are not counted as inside
FINE = (0.9, 1.4, 2.2)  # sigmas at which gradients are set against those at STRONG
BLURS = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0)  # sigmas, tried
STEPS = np.linspace(BLURS[0], BLURS[-1], 141)  # between which they are interpolated
NEAR = np.ones((7, 7), np.uint8)  # of an edge: what belongs to it
FEW = 40  # pixels of edges: with fewer nothing is said
CALM = 80  # pixels without edges from which noise can be told


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Ratios, 1 where the photo's edges are as steep as the reference's. `outline` is 1 for an
    ideally sharp cut; None where there is no outline to look at. `blur`: the sigma, in percent of
    the frame's side, by which the reference would have to be blurred to be as coarse inside.
    """

    inside: float
    outline: float | None
    blur: float

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
    if int(edges.sum()) < FEW:
        return Sharpness(1.0, _outline(seen, mask, shown), 0.0)
    ratio = _steepness(seen, normals, edges) / max(_steepness(own, normals, edges), 1e-3)
    drawn = (strength > max(0.15 * level, 0.4)).astype(np.uint8)
    calm = (cv2.dilate(drawn, NEAR) == 0) & (inner > 0)
    zone = (cv2.dilate(edges.astype(np.uint8), NEAR) > 0) & (inner > 0)
    blur = _blur(seen, own, normals, zone, calm)
    return Sharpness(float(np.clip(ratio, 0, 2)), _outline(seen, mask, shown), 100 * blur / SIDE)


def _blur(seen: Plane, own: Plane, normals: Normals, zone: Mask, calm: Mask) -> float:
    """The blur of `own`, as a sigma in pixels, under which its fine gradients stand to its coarse
    ones as in `seen`. Gradients where there is nothing drawn (`calm`) are noise.
    """
    noisy = calm if int(calm.sum()) > CALM else None
    found = _fineness([_energy(seen, sigma, normals, zone, noisy) for sigma in (*FINE, STRONG)])
    tried = np.array([
        # a blur after a blur is one of their sigmas' hypotenuse
        _fineness([_energy(own, float(np.hypot(sigma, blur)), normals, zone)
                   for sigma in (*FINE, STRONG)])
        for blur in BLURS
    ])  # fmt: skip
    between = np.stack([np.interp(STEPS, BLURS, column) for column in tried.T], axis=1)
    return float(STEPS[((between - found) ** 2).sum(axis=1).argmin()])


def _fineness(energies: list[float]) -> NDArray[Any]:
    """Logarithms of each energy but the last as a multiple of that one."""
    return np.log(np.array(energies[:-1]) / energies[-1])


def _energy(
    picture: Plane, sigma: float, normals: Normals, zone: Mask, noisy: Mask | None = None
) -> float:
    """Mean square of the gradient across the edges after smoothing, without what is noise."""
    square = _across(cv2.GaussianBlur(picture, (0, 0), sigma), normals) ** 2
    noise = 0.0 if noisy is None else float(square[noisy].mean())
    return max(float(square[zone].mean()) - noise, 1e-4)


def _outline(seen: Plane, mask: Plane, shown: Plane) -> float | None:
    if mask.all():
        return None
    step = mask * 255
    # the place of the outline, not glare within it, decides what may be looked at
    near = cv2.dilate(shown, np.ones((9, 9), np.uint8)) > 0
    rim = (cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0) & near
    if int(rim.sum()) < FEW:
        return None
    normals = _normals(step)
    ratio = _steepness(seen, normals, rim) / max(_steepness(step, normals, rim), 1e-3)
    return float(np.clip(ratio, 0, 2))


def _steepness(picture: Plane, normals: Normals, edges: Mask) -> float:
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


def _across(picture: Plane, normals: Normals) -> Plane:
    dx, dy = _gradient(picture)
    return dx * normals[0] + dy * normals[1]


def _normals(picture: Plane) -> Normals:
    dx, dy = _gradient(cv2.GaussianBlur(picture, (0, 0), 2.0))
    length = np.maximum(np.hypot(dx, dy), 1e-3)
    return dx / length, dy / length
