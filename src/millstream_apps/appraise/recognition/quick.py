"""The cheap comparison: a perceptual hash and a histogram of colours, of the pin laid into its
frame.

It sees other drawings and other colours; it cannot see soft edges or small details, and its
calibrated confidence says so.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.align import Levels, Matrix, laid, reduced
from millstream_apps.appraise.recognition.frame import Frame

HASH_SIDE = 8  # of the low frequencies that make the hash: 64 bits
SIDE = 64  # pixels of the frame that is looked at
BINS = 8


def quick_measures(frame: Frame, photo: Levels, homography: Matrix) -> dict[str, float]:
    """`hash`: differing bits of 64; `histogram`: 0 for equal colours to 1 for none in common
    (Hellinger's distance)."""  # fmt: skip
    seen = laid(photo, homography, SIDE)
    own = reduced(frame.rgb, SIDE).astype(np.float32)
    inside = cv2.resize(frame.mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 127
    differing = int((_bits(seen, inside) != _bits(own, inside)).sum())
    overlap = float(np.sqrt(_histogram(seen, inside) * _histogram(own, inside)).sum())
    return {"hash": float(differing), "histogram": float(np.sqrt(max(1 - overlap, 0.0)))}


def _bits(rgb: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The signs of the lowest frequencies of light within the pin."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    level = float(grey[inside].mean()) if inside.any() else 0.0
    lowest = cv2.dct(np.where(inside, grey - level, 0).astype(np.float32))[:HASH_SIDE, :HASH_SIDE]
    return lowest.ravel() > 0


def _histogram(rgb: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[Any]:
    """Shares of colours (a and b of CIE Lab), each pixel spread over the bins around it, after each
    channel was brought to the same mean: a tint of the light is not a colour of the pin.
    """
    chosen = rgb[inside].reshape(-1, 3)
    if not len(chosen):
        return np.full(BINS * BINS, 1 / BINS**2)
    level = chosen.mean(axis=0)
    gains = (level.mean() / np.maximum(level, 1.0)) ** 0.5  # half: a pin may well be of one colour
    lit = np.clip(chosen * gains * (128 / max(float(level.mean()), 1.0)), 0, 255).astype(np.float32)
    lab = cv2.cvtColor(lit[None] / 255, cv2.COLOR_RGB2LAB)[0]
    places = np.clip((lab[:, 1:] + 80) * ((BINS - 1) / 160), 0, BINS - 1.001)
    low = places.astype(np.int64)
    share = places - low
    counts = np.zeros(BINS * BINS)
    for down in (0, 1):
        for across in (0, 1):
            weight = np.abs(1 - down - share[:, 0]) * np.abs(1 - across - share[:, 1])
            at = (low[:, 0] + down) * BINS + low[:, 1] + across
            counts += np.bincount(at, weight, minlength=BINS * BINS)
    return counts / counts.sum()
