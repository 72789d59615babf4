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
    """A frame's edges at one size: what Gauss and Newton's method needs of it at every step."""

    side: int
    weight: Plane
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
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
        if not len(target.rows):
            return None
        grid = np.diag([SIDE / side, SIDE / side, 1.0])
        for _ in range(STEPS[side]):
            step = _step(target, photo, homography)
            moved = homography @ grid @ _undone(step, side) @ np.linalg.inv(grid)
            homography = moved / moved[2, 2]
            if not np.isfinite(homography).all():
                return None
            if float(np.abs(step).max()) < STILL:
                break
        if not plausible(homography):
            return None
    return homography


def _target(frame: Frame, side: int) -> Target:
    inside = cv2.resize(frame.mask, (side, side), interpolation=cv2.INTER_AREA) > 127
    weight = cv2.dilate(inside.astype(np.float32), np.ones((3, 3), np.uint8))
    smooth = cv2.GaussianBlur(reduced(frame.rgb, side), (0, 0), 0.8)
    edges = _edges(smooth.astype(np.float32), weight)
    rows, columns = np.nonzero(weight)
    across, down = (_sobel(edges, dx) * ((side - 1) / 2) for dx in (1, 0))
    across, down = across[rows, columns], down[rows, columns]
    x, y = (((at - (side - 1) / 2) / ((side - 1) / 2))[:, None] for at in (columns, rows))
    x, y = x.astype(np.float32), y.astype(np.float32)
    turned = across * x + down * y
    slopes = np.stack(
        [across * x, across * y, across, down * x, down * y, down, -turned * x, -turned * y], axis=2
    )
    return Target(side, weight, rows, columns, edges[rows, columns].ravel(), slopes.reshape(-1, 8))


def _sobel(edges: Plane, dx: int) -> Plane:
    return cv2.Sobel(edges, cv2.CV_32F, dx, 1 - dx, scale=1 / 8)


def _edges(picture: Plane, weight: Plane) -> Plane:
    """(side, side, 3): the strength of the colours' edges, 0 to 1, and it times cosine and sine of
    twice their direction.
    """
    xx, yy, xy = tensor(picture)
    energy = xx + yy
    top = max(strong(energy[weight > 0]), 4.0)
    strength = np.sqrt(np.sqrt(np.clip(energy / top, 0, 1)))
    unit = strength / np.maximum(energy, 1e-3)
    return cv2.merge([strength, unit * (xx - yy), 2 * unit * xy])


def _step(target: Target, photo: Levels, homography: Matrix) -> NDArray[Any]:
    """The eight parameters by which the frame should move to meet the photo."""
    seen = _edges(laid(photo, homography, target.side), target.weight)
    error = seen[target.rows, target.columns].ravel() - target.edges
    spread = max(2 * 1.48 * float(np.median(np.abs(error))), 2 * NOISE)
    weighted = target.slopes * (1 / (1 + (error / spread) ** 2))[:, None]
    curve = (weighted.T @ target.slopes).astype(np.float64)
    curve += np.diag(_HELD) * (curve.trace() / 8)
    return np.linalg.solve(curve + 1e-6 * np.eye(8), weighted.T @ error)


_HELD = (FLAT / 50,) * 6 + (FLAT,) * 2


def _undone(step: NDArray[Any], side: int) -> Matrix:
    """The inverse of a step, in the pixels of a frame `side` wide."""
    a, b, c, d, e, f, g, h = step
    unit = _unit(side)
    return (
        unit
        @ np.linalg.inv(np.array([[1 + a, b, c], [d, 1 + e, f], [g, h, 1.0]]))
        @ np.linalg.inv(unit)
    )


@cache
def _unit(side: int) -> Matrix:
    """From -1 to 1, to pixels."""
    half = (side - 1) / 2
    return np.array([[half, 0, half], [0, half, half], [0, 0, 1.0]])
