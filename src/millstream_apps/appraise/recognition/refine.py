"""Making a placement exact: the homography under which the edges of frame and photo agree best.

Edges are compared, not light: how strong they are and along which line they run, whichever side is
the lighter. So a pin's outline counts on any background, glare changes little, and a recoloured
copy is laid on as exactly as a genuine pin. Pure functions.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.align import (
    FINE,
    Levels,
    Matrix,
    laid,
    plausible,
    reduced,
)
from millstream_apps.appraise.recognition.compare import strong, tensor
from millstream_apps.appraise.recognition.frame import SIDE, Frame

Plane = NDArray[Any]  # of float32

COARSE = FINE // 2
STEPS = {COARSE: 10, FINE: 6}  # at most, at each size
NOISE = 0.05  # difference of two edges, 0-1, that is always taken to be chance
STILL = 0.0015  # of half a frame: a smaller step ends the search
FLAT = 0.025  # how much perspective is held back, against what the edges say


@dataclass(frozen=True)
class Target:
    """A frame's edges at one size: what Gauss and Newton's method needs of it at every step.

    `places` (n) of the pixels that count, as they follow each other in a plane; `edges` (3 n) and
    `slopes` (3 n, 8): of strength and direction in turn.
    """

    side: int
    places: NDArray[np.int64]
    edges: Plane
    slopes: Plane


def refined(
    frame: Frame, photo: Levels, homography: Matrix, sides: tuple[int, ...] = (COARSE, FINE)
) -> Matrix | None:
    """The exact homography near a given one, None where the search goes astray.

    Inverse compositional alignment (Baker and Matthews, IJCV 2004) of the edges at each of `sides`
    pixels in turn, with Cauchy's weights against what is not the pin.
    """
    for side in sides:
        target = _target(frame, side)
        if not len(target.places):
            return None
        for _ in range(STEPS[side]):
            step = _step(target, photo, homography)
            homography = _moved(homography, step, side)
            if not np.isfinite(homography).all():
                return None
            if float(np.abs(step).max()) < STILL:
                break
        if not plausible(homography):
            return None
    return homography


def _target(frame: Frame, side: int) -> Target:
    inside = cv2.resize(frame.mask, (side, side), interpolation=cv2.INTER_AREA) > 127
    places = np.flatnonzero(cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)))
    smooth = cv2.GaussianBlur(reduced(frame.rgb, side), (0, 0), 0.8)
    xx, yy, xy = tensor(smooth.astype(np.float32))
    edges = _edges(xx, yy, xy, _top((xx + yy).ravel()[places]))
    planes = cv2.merge(tuple(edges))
    across, down = (_sobel(planes, dx).reshape(-1, 3)[places].T * ((side - 1) / 2) for dx in (1, 0))
    y, x = np.stack(np.divmod(places, side)).astype(np.float32) / ((side - 1) / 2) - 1
    turned = across * x + down * y
    slopes = np.stack(
        [across * x, across * y, across, down * x, down * y, down, -turned * x, -turned * y], axis=2
    )
    return Target(side, places, edges.reshape(3, -1)[:, places].ravel(), slopes.reshape(-1, 8))


def _sobel(edges: Plane, dx: int) -> Plane:
    return cv2.Sobel(edges, cv2.CV_32F, dx, 1 - dx, scale=1 / 8)


def _edges(xx: Plane, yy: Plane, xy: Plane, top: float) -> Plane:
    """(3, ...): the strength of the colours' edges, 0 to 1, and it times cosine and sine of twice
    their direction.
    """
    energy = xx + yy
    strength = np.sqrt(np.sqrt(np.minimum(energy * (1 / top), 1)))
    unit = strength / np.maximum(energy, 1e-3)
    return np.stack([strength, unit * (xx - yy), 2 * unit * xy])


def _top(energy: Plane) -> float:
    """The energy from which an edge is as strong as any."""
    return max(strong(energy), 4.0)


def _step(target: Target, photo: Levels, homography: Matrix) -> NDArray[Any]:
    """The eight parameters by which the frame should move to meet the photo."""
    seen = tensor(laid(photo, homography, target.side))
    xx, yy, xy = (part.ravel()[target.places] for part in seen)
    error = _edges(xx, yy, xy, _top(xx + yy)).ravel() - target.edges
    spread = max(2 * 1.48 * _middle(np.abs(error)), 2 * NOISE)
    weighted = target.slopes * (1 / (1 + (error * (1 / spread)) ** 2))[:, None]
    curve = (weighted.T @ target.slopes).astype(np.float64)
    curve += np.diag(_HELD) * (curve.trace() / 8)
    return np.linalg.solve(curve + 1e-6 * np.eye(8), weighted.T @ error)


def _middle(values: Plane) -> float:
    """The median, the upper one of two."""
    at = len(values) // 2
    return float(np.partition(values, at)[at])


_HELD = (FLAT / 50,) * 6 + (FLAT,) * 2


def _moved(homography: Matrix, step: NDArray[Any], side: int) -> Matrix:
    """The homography after the inverse of a step, seen from a frame `side` pixels wide."""
    a, b, c, d, e, f, g, h = step
    there, back = _unit(side)
    undone = np.linalg.inv(np.array([[1 + a, b, c], [d, 1 + e, f], [g, h, 1.0]]))
    moved = homography @ there @ undone @ back
    return moved / moved[2, 2]


@cache
def _unit(side: int) -> tuple[Matrix, Matrix]:
    """From -1 to 1 across a frame that is looked at `side` pixels wide, to its own pixels; and
    back.
    """
    half = (side - 1) / 2
    grid = np.diag([SIDE / side, SIDE / side, 1.0])
    there = grid @ np.array([[half, 0, half], [0, half, half], [0, 0, 1.0]])
    return there, np.linalg.inv(there)
