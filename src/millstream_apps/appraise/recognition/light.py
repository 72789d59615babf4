"""Light: what it did to a photographed pin's colours, and the photo without that.

Pure arithmetic on pictures that lie on each other; knows nothing of how they were laid.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # of float32

GAIN_SPREAD = 0.15  # of the logarithm of a channel's gain against the others': light's usual tint


def relit(frame: Plane, photo: Plane, weight: Plane) -> tuple[Plane, float]:
    """The photo in the frame's light, and how unusual the tint is that this takes away (0: usual).

    All but `weight` RGB, 0-255. Gains and offsets per channel are fitted three times, without what
    fitted worst before.
    """
    weight = weight.copy()
    gains, offsets = np.ones(3), np.zeros(3)
    for _ in range(3):
        gains, offsets = _light(frame, photo, weight)
        fitted = photo * gains.astype(np.float32) + offsets.astype(np.float32)
        error = np.abs(fitted - frame).mean(axis=2)
        limit = max(2.5 * float(np.average(error, weights=weight + 1e-6)), 12.0)
        weight = weight * (error < limit)
    logs = np.log(np.maximum(gains, 0.05))
    strange = float(np.linalg.norm(logs - logs.mean()) / GAIN_SPREAD)
    return np.clip(photo * gains + offsets, 0, 255).astype(np.float32), strange


def _light(frame: Plane, photo: Plane, weight: Plane) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ridge regression of the frame on the photo: one gain for all channels is free, what a channel
    has of its own, and every offset, is held near none."""  # fmt: skip
    total = max(float(weight.sum()), 1.0)
    x = [float((photo[..., c] * weight).sum()) / total for c in range(3)]
    y = [float((frame[..., c] * weight).sum()) / total for c in range(3)]
    xx = [float((photo[..., c] ** 2 * weight).sum()) / total for c in range(3)]
    xy = [float((photo[..., c] * frame[..., c] * weight).sum()) / total for c in range(3)]
    # unknowns: common gain, three gains of their own, three offsets
    normal, right = np.zeros((7, 7)), np.zeros(7)
    for c in range(3):
        rows = [0, 1 + c, 4 + c]
        block = np.array([[xx[c], xx[c], x[c]], [xx[c], xx[c], x[c]], [x[c], x[c], 1.0]])
        normal[np.ix_(rows, rows)] += block
        right[rows] += (xy[c], xy[c], y[c])
    noise = 8.0**2  # squared grey levels that the fit may leave
    normal[[1, 2, 3], [1, 2, 3]] += noise / 0.15**2
    normal[[4, 5, 6], [4, 5, 6]] += noise / 12.0**2
    normal[0, 0] += noise / 0.6**2
    right[0] += noise / 0.6**2
    found = np.linalg.solve(normal, right)
    return np.clip(found[0] + found[1:4], 0.3, 3.5), found[4:7]
