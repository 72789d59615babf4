"""How alike a frame and the photo laid over it are, in numbers that light, blur and glare move
little.

Pure measurements at `align.FINE` pixels; what they mean is for the calibration to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition import comparator
from millstream_apps.appraise.recognition.align import (
    FINE,
    Levels,
    Matrix,
    Placement,
    laid,
    reduced,
)
from millstream_apps.appraise.recognition.frame import SIDE, Frame
from millstream_apps.appraise.recognition.light import relit
from millstream_apps.appraise.recognition.photo import Grey, Rgb

Plane = NDArray[Any]  # of float32

CELLS = 8  # to a side, in which likeness is judged apart
TOGETHER = np.ones((1, 3), np.float32)  # adds a picture's channels
AROUND = cv2.getGaussianKernel(15, 1.6, cv2.CV_32F)  # over which gradients are taken together
NAMES = ("structure", "found", "worst", "correlation", "colour", "outline", "overlap", "points",
         "drawing")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a frame's edges and a photo's, at each pixel: how far they agree, `both` -0 to 1, and how
    much that counts; the strength of the frame's `own` edges, and how much of it was `found`.
    """

    both: Plane
    count: Plane
    found: Plane
    own: Plane

    @property
    def mean(self) -> float:
        """The agreement in all."""
        return float((self.both * self.count).sum() / max(float(self.count.sum()), 1e-6))


@dataclass(frozen=True)
class Overlay:
    """A frame and a photo on each other; `weight` (FINE, FINE) is 1 where both can be compared."""

    frame: Plane
    photo: Plane
    inside: Plane
    weight: Plane
    placement: Placement
    overlap: float

    @cached_property
    def corrected(self) -> tuple[Plane, float]:
        """The photo as the frame's light would show it, and how unusual that is (0 is usual)."""
        return relit(self.frame, self.photo, self.weight)

    @cached_property
    def difference(self) -> Plane:
        """CIE76 difference of colour at each pixel after the correction of light."""
        return np.linalg.norm(lab(self.corrected[0]) - lab(self.frame), axis=2)

    @cached_property
    def stack(self) -> NDArray[np.uint8]:
        """Both pictures as the comparator reads them."""
        return comparator.stacked(self.frame, self.corrected[0], self.inside, self.weight)

    @cached_property
    def agreement(self) -> Agreement:
        """Of the edges at each pixel, whatever their colours."""
        return _edges_agree(_Edges(self.frame), _Edges(self.photo), self.weight)


def overlay(frame: Frame, photo: Levels, placement: Placement, masks: Sequence[Grey]) -> Overlay:
    """Lay the photo over the frame. `masks`: what may be the pin in the photo."""
    theirs = cv2.GaussianBlur(reduced(frame.rgb), (0, 0), 1.0).astype(np.float32)
    ours = cv2.GaussianBlur(laid(photo, placement.homography), (0, 0), 0.8)
    inside = cv2.resize(frame.mask, (FINE, FINE), interpolation=cv2.INTER_AREA)
    inside = (inside > 127).astype(np.float32)
    weight = cv2.erode(inside, np.ones((3, 3), np.uint8)) * _visible(photo[0], placement.homography)
    weight = weight * (1 - _glare(theirs, ours))
    overlaps = [_overlap(inside, mask, placement.homography) for mask in masks if frame.is_cut_out]
    overlap = max(overlaps, default=-1.0)
    return Overlay(theirs, ours, inside, weight.astype(np.float32), placement, overlap)


def measures(over: Overlay) -> dict[str, float]:
    """Nine numbers, `NAMES`. `found`: how much of the frame's edges the photo has, whatever else
    it has (glare adds edges); `overlap` is -1 where the pin was not told from its background;
    `drawing`: the comparator's log-odds that both are one drawing.
    """
    agree = over.agreement
    return {
        "structure": agree.mean,
        "found": float(agree.found.sum() / max(float(agree.own.sum()), 1e-6)),
        "worst": _worst_cells(agree.both, agree.count),
        "correlation": _local_correlation(over),
        "colour": float((over.difference * over.weight).sum() / max(over.weight.sum(), 1.0)),
        "outline": _outline(over),
        "overlap": over.overlap,
        "points": float(np.log1p(over.placement.inliers)),
        "drawing": comparator.log_odds(over.stack),
    }


class Rough:
    """A frame's edges at half the pixels, made once: cheap enough for many candidates."""

    def __init__(self, frame: Frame) -> None:
        self._edges = _Edges(reduced(frame.rgb, FINE // 2).astype(np.float32))
        inside = cv2.resize(frame.mask, (FINE // 2, FINE // 2), interpolation=cv2.INTER_AREA)
        self._weight = (inside > 127).astype(np.float32)

    def structure(self, photo: Levels, homography: Matrix) -> float:
        """The structure alone, of the photo laid over the frame."""
        ours = _Edges(laid(photo, homography, FINE // 2))
        return _edges_agree(self._edges, ours, self._weight).mean


def lab(rgb: Plane) -> Plane:
    """CIE Lab of RGB 0-255."""
    return cv2.cvtColor(np.clip(rgb, 0, 255).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _visible(photo: Rgb, homography: Matrix) -> Plane:
    """1 where the frame lies within the photo."""
    ones = np.full(photo.shape[:2], 255, np.uint8)
    to_photo = homography @ np.diag([SIDE / FINE, SIDE / FINE, 1.0])
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return (cv2.warpPerspective(ones, to_photo, (FINE, FINE), flags=how) > 0).astype(np.float32)


def _glare(theirs: Plane, ours: Plane) -> Plane:
    """1 where the photo is burnt out and the frame is not as light."""
    burnt = (ours.min(axis=2) > 232) & (theirs.min(axis=2) < 215)
    return cv2.dilate(burnt.astype(np.float32), np.ones((5, 5), np.uint8))


def _overlap(inside: Plane, mask: Grey, homography: Matrix) -> float:
    to_photo = homography @ np.diag([SIDE / FINE, SIDE / FINE, 1.0])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(mask, to_photo, (FINE, FINE), flags=how) > 127
    own = inside > 0
    # what of the photo's mask lies beyond the frame counts against it too
    local = abs(np.linalg.det(to_photo[:2, :2])) or 1.0
    outside = max(float((mask > 127).sum()) / local - float(seen.sum()), 0.0)
    return float((seen & own).sum() / max((seen | own).sum() + outside, 1.0))


def tensor(picture: Plane) -> tuple[Plane, Plane, Plane]:
    """The structure of the colours' gradients (Di Zenzo, 1986): xx, yy, xy."""
    dx = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
    pairs = ((dx, dx), (dy, dy), (dx, dy))
    parts = (cv2.transform(cv2.multiply(one, other), TOGETHER) for one, other in pairs)
    xx, yy, xy = (cv2.sepFilter2D(part, cv2.CV_32F, AROUND, AROUND) for part in parts)
    return xx, yy, xy


def strong(energy: NDArray[Any]) -> float:
    """What eleven of twelve pixels stay below: the energy of an edge that is plainly there."""
    at = 11 * energy.size // 12
    return float(np.partition(energy, at)[at]) if energy.size else 1.0


class _Edges:
    """A picture's gradients, and how strong they are at each pixel."""

    def __init__(self, picture: Plane) -> None:
        self.xx, self.yy, self.xy = tensor(picture)
        self.energy = np.sqrt(self.xx**2 + self.yy**2 + 2 * self.xy**2)


def _edges_agree(theirs: _Edges, ours: _Edges, weight: Plane) -> Agreement:
    a, b = theirs.energy, ours.energy
    inner = theirs.xx * ours.xx + theirs.yy * ours.yy + 2 * theirs.xy * ours.xy
    cosine = inner / np.maximum(a * b, 1e-3)
    own, seen = _relative(a, weight), _relative(b, weight)
    balance = (2 * own * seen + 1e-3) / (own**2 + seen**2 + 1e-3)
    return Agreement(cosine * balance, np.maximum(own, seen) * weight,
                     cosine * np.minimum(own, seen) * weight, own * weight)  # fmt: skip


def _relative(energy: Plane, weight: Plane) -> Plane:
    """Edge strength against the picture's own strong ones, 0 to 1, small ones lifted."""
    top = strong(energy[weight > 0.5])
    return np.sqrt(np.sqrt(np.clip(energy / max(top, 4.0), 0, 1))) * (energy > 0.01 * top)


def _cell_sums(values: Plane) -> NDArray[Any]:
    size = FINE // CELLS
    return values.reshape(CELLS, size, CELLS, size).sum(axis=(1, 3)).astype(np.float64)


def _worst_cells(agreement: Plane, count: Plane) -> float:
    """The mean agreement of the worst sixth of the cells that have any edges."""
    counts = _cell_sums(count)
    known = counts > 0.08 * (FINE / CELLS) ** 2
    if not known.any():
        return 0.0
    values = np.sort(_cell_sums(agreement * count)[known] / counts[known])
    return float(values[: max(len(values) // 6, 1)].mean())


def _local_correlation(over: Overlay) -> float:
    """Correlation of light in neighbourhoods, weighed by how much there is in them to correlate."""
    a, b = (lab(each)[..., 0] for each in (over.frame, over.photo))
    w = over.weight
    mass = cv2.GaussianBlur(w, (0, 0), 7) + 1e-4
    mean_a, mean_b = (cv2.GaussianBlur(each * w, (0, 0), 7) / mass for each in (a, b))
    var_a = cv2.GaussianBlur(a * a * w, (0, 0), 7) / mass - mean_a**2
    var_b = cv2.GaussianBlur(b * b * w, (0, 0), 7) / mass - mean_b**2
    both = cv2.GaussianBlur(a * b * w, (0, 0), 7) / mass - mean_a * mean_b
    var_a, var_b = np.maximum(var_a, 0), np.maximum(var_b, 0)
    local = both / np.sqrt((var_a + 4) * (var_b + 4))
    counts = np.sqrt(np.maximum(var_a, var_b)) * w
    return float((local * counts).sum() / max(float(counts.sum()), 1e-6))


def _outline(over: Overlay) -> float:
    """Whether the photo has an edge where the frame's outline is: 0 none to 1 all along."""
    if over.inside.all():
        return -1.0
    rim = cv2.morphologyEx(over.inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    xx, yy, xy = tensor(over.photo)
    blurred = cv2.GaussianBlur(over.inside * 255, (0, 0), 1.5)
    nx, ny = cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
    length = np.maximum(np.hypot(nx, ny), 1e-3)
    nx, ny = nx / length, ny / length
    across = nx * nx * xx + ny * ny * yy + 2 * nx * ny * xy
    share = across / np.maximum(xx + yy, 1.0)
    return float(share[rim].mean())
