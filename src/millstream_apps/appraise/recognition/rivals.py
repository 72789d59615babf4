"""Which of two references a photo is nearer to, asked only where the two differ.

Near-duplicates (other enamel, one detail more) are alike nearly everywhere; what is the same in
both says nothing, and would drown what is not.
"""

import cv2
import numpy as np

from millstream_apps.appraise.recognition.align import FINE, laid
from millstream_apps.appraise.recognition.compare import lab
from millstream_apps.appraise.recognition.frame import SIDE
from millstream_apps.appraise.recognition.photoview import View as Seen
from millstream_apps.appraise.recognition.trials import Trial

APART = 9.0  # difference of colour (CIE76) from which two references differ at a place
LEAST = 24  # such pixels of FINE x FINE: fewer are the edges' inexactness, and tell nothing


def nearer(trial: Trial, rival: Trial, seen: Seen) -> float:
    """Where the photo lies between the rival's picture (0) and the trial's (1), by projection.

    0.5 where the two pictures do not differ enough to ask.
    """
    if trial.overlay is None or rival.overlay is None:
        return 0.5
    over = trial.overlay
    between = np.linalg.inv(rival.overlay.placement.homography) @ over.placement.homography
    theirs = cv2.GaussianBlur(laid((rival.frame.rgb,), between), (0, 0), 1.0)
    grid = np.diag([SIDE / FINE, SIDE / FINE, 1.0])
    inside = cv2.warpPerspective(rival.frame.mask, between @ grid, (FINE, FINE),
                                 flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)  # fmt: skip
    own, other = _soft(over.frame), _soft(theirs)
    axis = own - other
    differs = (np.linalg.norm(axis, axis=2) > APART) & (over.weight > 0) & (inside > 0)
    if int(differs.sum()) < LEAST:
        return 0.5
    photo = (_soft(over.corrected[0]) + _soft(_as_seen_by(rival, trial, between))) / 2
    along = ((photo - other) * axis).sum(axis=2)[differs]
    return float(along.sum() / (axis**2).sum(axis=2)[differs].sum())


def _as_seen_by(rival: Trial, trial: Trial, between: np.ndarray) -> np.ndarray:
    """The photo in the trial's frame, its light corrected as fits the rival."""
    assert rival.overlay is not None
    assert trial.overlay is not None
    grid = np.diag([SIDE / FINE, SIDE / FINE, 1.0])
    to_rival = np.linalg.inv(grid) @ between @ grid
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(rival.overlay.corrected[0], to_rival, (FINE, FINE), flags=how)


def _soft(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab, so smooth that a pixel's inexactness of place changes little."""
    return cv2.GaussianBlur(lab(rgb), (0, 0), 1.5)
