"""Laying a reference's frame onto a photo: a homography from matched points, or from the pin as a
whole. How it is made exact is told in `refine`.

All homographies here are from the frame's pixels (`frame.SIDE`) to the photo's. Pure functions.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.features import Features
from millstream_apps.appraise.recognition.frame import SIDE
from millstream_apps.appraise.recognition.photo import Rgb

Matrix = NDArray[Any]  # of float64
Levels = tuple[Rgb, ...]  # a picture, and it again at half the size, and so on

FINE = 128  # pixels of the frame at which pictures are laid over each other
LIKE = 0.72  # least cosine of two descriptors of one point
DISTINCT = 0.94  # the second best one's distance must be larger than the best one's by this
SMALLEST, LARGEST = 0.06, 8.0  # of a frame's size in the photo
FLATTEST = 0.28  # ratio of a frame's diagonals: some 70 degrees of tilt


@dataclass(frozen=True, slots=True)
class Placement:
    """A homography and what it rests on: `inliers` matched points and their `residual` (root mean
    square, as a fraction of the frame's side); 0 of both where it comes from the whole.
    """

    homography: Matrix
    inliers: int = 0
    residual: float = 0.0


def pairs(reference: Features, photo: Features) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places in the frame and in the photo that look alike, the surest first."""
    if not len(reference) or not len(photo):
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    cosine = reference.descriptors @ photo.descriptors.T
    best = cosine.argmax(axis=1)
    rows = np.arange(len(reference))
    value = cosine[rows, best]
    apart = np.linalg.norm(photo.points[best][:, None] - photo.points[None], axis=2) > 6.0
    rival = np.where(apart, cosine, -1).max(axis=1)
    distance, other = np.sqrt(2 - 2 * np.minimum(value, 1)), np.sqrt(2 - 2 * np.minimum(rival, 1))
    kept = (value > LIKE) & (distance < DISTINCT * other)
    order = rows[kept][np.argsort((distance / np.maximum(other, 1e-6))[kept], kind="stable")]
    return reference.points[order], photo.points[best[order]]


def from_points(here: NDArray[Any], there: NDArray[Any]) -> Placement | None:
    """The homography that most pairs agree on; an affine one where they are few."""
    if len(here) < 4:
        return None
    cv2.setRNGSeed(1)
    spread = float(np.linalg.norm(np.ptp(there, axis=0))) or 1.0
    tolerance = float(np.clip(0.012 * spread, 2.0, 8.0))
    affine, inside = cv2.estimateAffine2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=2 * tolerance, maxIters=1500
    )
    if affine is None or int(inside.sum()) < 4:
        return None
    homography = np.vstack([affine, (0, 0, 1)])
    chosen = inside.ravel() > 0
    if int(chosen.sum()) >= 8:
        found, within = cv2.findHomography(
            here[chosen], there[chosen], cv2.RANSAC, tolerance, maxIters=500
        )
        if found is not None and plausible(found) and int(within.sum()) >= 0.6 * chosen.sum():
            homography = found
    if not plausible(homography):
        return None
    return measured(homography, here, there)


def measured(homography: Matrix, here: NDArray[Any], there: NDArray[Any]) -> Placement | None:
    """How many pairs agree with a homography, and how well; None for fewer than four."""
    if len(here) < 4:
        return None
    tolerance = float(np.clip(0.012 * side_in_photo(homography), 2.0, 8.0))
    seen = cv2.perspectiveTransform(here[None].astype(np.float64), homography)[0]
    away = np.linalg.norm(seen - there, axis=1)
    inside = away < 1.5 * tolerance
    count = len(np.unique(np.round(here[inside] / 3), axis=0)) if inside.any() else 0
    if count < 4:
        return None
    residual = float(np.sqrt(np.mean(away[inside] ** 2))) / side_in_photo(homography)
    return Placement(homography, count, residual)


def from_whole(frame_upright: Matrix, photo_upright: Matrix, turn: float) -> Matrix:
    """The affine map between two pins made upright, the second turned by `turn` radians."""
    cosine, sine = math.cos(turn), math.sin(turn)
    turned = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    last = (0.0, 0.0, 1.0)
    return (
        np.vstack([photo_upright, last]) @ turned @ np.linalg.inv(np.vstack([frame_upright, last]))
    )


def corners(homography: Matrix) -> Matrix:
    """The frame's corners in the photo, (4, 2), clockwise from its upper left one."""
    return np.array(_corners(homography))


def _corners(homography: Matrix) -> list[tuple[float, float]]:
    """As `corners`, in plain numbers: for four points arrays cost more than they save."""
    a, b, c, d, e, f, g, h, i = homography.ravel().tolist()
    found = []
    for x, y in _SQUARE:
        depth = g * x + h * y + i
        away = 1 / depth if abs(depth) > _TINY else 0.0
        found.append(((a * x + b * y + c) * away, (d * x + e * y + f) * away))
    return found


_SQUARE = ((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE))
_TINY = 1e-12


def side_in_photo(homography: Matrix) -> float:
    """The mean length of the frame's sides in the photo, in pixels."""
    one, two, three, four = _corners(homography)
    sides = ((one, two), (two, three), (three, four), (four, one))
    return sum(math.dist(here, there) for here, there in sides) / 4


def plausible(homography: Matrix) -> bool:
    """Whether a camera could see a flat frame so: from before, not too small, not too flat."""
    if not np.isfinite(homography).all():
        return False
    g, h, i = homography[2].tolist()
    depth = [g * x + h * y + i for x, y in _SQUARE]
    if min(depth) <= 0.2 * max(depth):
        return False
    if not _is_convex(_corners(homography)):
        return False
    if not SMALLEST < side_in_photo(homography) / SIDE < LARGEST:
        return False
    return _flatness(_local(homography)) > FLATTEST / (1 + FLATTEST**2)


def _is_convex(found: list[tuple[float, float]]) -> bool:
    """Whether a way round four corners turns right at each; where it does not, they are mirrored,
    or cross.
    """
    for at in range(4):
        (x, y), (u, v), (p, q) = found[at - 2], found[at - 1], found[at]
        if (u - x) * (q - v) - (v - y) * (p - u) <= 0:
            return False
    return True


def _flatness(local: Matrix) -> float:
    """r / (1 + r^2) of the ratio r of a matrix's singular values, smaller to greater: their product
    is its determinant, and the sum of their squares that of its entries.
    """
    (a, b), (c, d) = local.tolist()
    return abs(a * d - b * c) / max(a * a + b * b + c * c + d * d, _TINY)


def _local(homography: Matrix) -> Matrix:
    """The homography's derivative in the middle of the frame (2, 2)."""
    middle = np.array([SIDE / 2, SIDE / 2, 1.0])
    x, y, w = homography @ middle
    place = np.array([x, y]) / w
    return (homography[:2, :2] - np.outer(place, homography[2, :2])) / w


def turn_and_tilt(homography: Matrix) -> tuple[float, float]:
    """Degrees: the turn, clockwise, 0-360; the tilt that flattens as much as is seen, 0-90."""
    left, ways, right = np.linalg.svd(_local(homography))
    rotation = left @ right
    turn = math.degrees(math.atan2(rotation[1, 0], rotation[0, 0])) % 360
    return turn, math.degrees(math.acos(min(1.0, float(ways[1] / ways[0]))))


def laid(photo: Levels, homography: Matrix, side: int = FINE) -> NDArray[Any]:
    """The photo seen in the frame, (side, side, 3) of 0-255, from the level that shows as much."""
    to_photo = homography @ np.diag([SIDE / side, SIDE / side, 1.0])
    shrink = side_in_photo(homography) / side
    level = min(max(math.floor(math.log2(max(shrink, 1e-3)) + 0.4), 0), len(photo) - 1)
    source = photo[level]
    if level:
        across = source.shape[1] / photo[0].shape[1]
        down = source.shape[0] / photo[0].shape[0]
        half = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
        to_photo = half @ to_photo
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    seen = cv2.warpPerspective(source, to_photo, (side, side), flags=how, borderMode=border)
    return seen.astype(np.float32)


def levels(picture: Rgb) -> Levels:
    """The picture, and it again at half the size, and so on, down to some 64 pixels."""
    found = [picture]
    while min(found[-1].shape[:2]) > 128:
        half = found[-1].shape[1] // 2, found[-1].shape[0] // 2
        found.append(cv2.resize(found[-1], half, interpolation=cv2.INTER_AREA))
    return tuple(found)


def reduced(picture: Rgb, side: int = FINE) -> Rgb:
    """A frame's picture at `side` pixels."""
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
