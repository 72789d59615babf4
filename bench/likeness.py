"""Which pictures are different ones: near-duplicates are left out of a set by a stated rule.

The rule: the thumbnails of two pictures, light and outline alone, correlate by more than TOO_ALIKE
at one turn of 36. So an icon in another size, another colour, or turned, is the same picture:
colours are what copies are told by (see bench/appraisal.py), and photos are taken at any turn.
"""

from typing import Any

import cv2
import numpy as np
from examples.pins.drawing import Rgba
from numpy.typing import NDArray

Pictures = list[tuple[str, Rgba]]

TOO_ALIKE = 0.92
SIDE = 28  # pixels of a thumbnail
TURNS = 36


def different(pictures: Pictures, most: int) -> tuple[Pictures, int]:
    """The first `most` pictures that are unlike all before them; and how many were left out."""
    kept: Pictures = []
    shown = np.empty((most, 2 * SIDE * SIDE), np.float32)
    passed = 0
    for name, picture in pictures:
        if len(kept) == most:
            break
        turned = _thumbnails(picture)
        if kept and float((shown[: len(kept)] @ turned.T).max()) > TOO_ALIKE:
            passed += 1
            continue
        shown[len(kept)] = turned[0]
        kept.append((name, picture))
    return kept, passed


def thumbnail(picture: Rgba) -> NDArray[Any]:
    """(values,): light and outline about the middle of what is opaque, of length 1."""
    small = _about_middle(picture)[1]
    return _levelled(small[:, :, 0], small[:, :, 1])


def _thumbnails(picture: Rgba) -> NDArray[Any]:
    """(TURNS, values): `thumbnail` at every turn."""
    middle, small = _about_middle(picture)
    found = []
    for turn in range(TURNS):
        matrix = cv2.getRotationMatrix2D(middle, 360 / TURNS * turn, 1.0)
        seen = cv2.warpAffine(small, matrix, (SIDE, SIDE))
        found.append(_levelled(seen[:, :, 0], seen[:, :, 1]))
    return np.stack(found)


def _about_middle(picture: Rgba) -> tuple[tuple[float, float], NDArray[Any]]:
    """The middle of the thumbnail, and light and opacity (SIDE, SIDE, 2)."""
    alpha = picture[:, :, 3].astype(np.float32) / 255
    moments = cv2.moments(alpha)
    middle = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    rows, columns = np.nonzero(alpha > 0.5)
    reach = 1 + float(np.hypot(columns - middle[0], rows - middle[1]).max())
    light = cv2.cvtColor(np.ascontiguousarray(picture[:, :, :3]), cv2.COLOR_RGB2LAB)[:, :, 0]
    both = np.dstack([light.astype(np.float32) * (100 / 255) * alpha, alpha])
    return _around(both, middle, reach)


def _around(
    values: NDArray[Any], middle: tuple[float, float], reach: float
) -> tuple[tuple[float, float], NDArray[Any]]:
    """The square about the middle, reduced to SIDE; and its own middle."""
    scale = SIDE / (2 * reach)
    smooth = cv2.GaussianBlur(values, (0, 0), 0.45 / scale) if scale < 0.8 else values
    own = (SIDE - 1) / 2
    matrix = np.array([[scale, 0, own - scale * middle[0]], [0, scale, own - scale * middle[1]]])
    return (own, own), cv2.warpAffine(smooth, matrix, (SIDE, SIDE))


def _levelled(light: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Light without its mean and in its own spread, and the outline."""
    total = float(alpha.sum())
    even = light - float(light.sum()) / total * alpha
    spread = np.sqrt(float((even**2).sum()) / total) + 6.0  # plain pictures stay plain
    both = np.concatenate([(even / spread).ravel(), (alpha - 0.5).ravel()])
    return (both / np.linalg.norm(both)).astype(np.float32)
