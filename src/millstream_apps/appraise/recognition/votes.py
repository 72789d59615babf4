"""Votes: local features that look alike speak for a reference only where they agree on its pose.

A pair of features tells a turn, a size and a place of the whole frame, each roughly (Lowe, IJCV
2004, section 7.3). Pairs by chance scatter; those of the pin that is shown fall together.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.frame import SIDE

TURN_CELL = 30.0  # degrees
SIZE_CELL = 1.0  # octaves
PLACE_CELL = 0.35  # of the frame's side in the photo
SHIFTS = (0.0, 1 / 3, 2 / 3)  # of a cell, by which the cells are tried
CELLS = 64  # more than there are along any of the four


@dataclass(frozen=True, slots=True)
class Poses:
    """What each pair of features says of the frame that it belongs to: `owner` (n) a number from 0
    up, `turn` (n) in degrees, `octave` (n) the logarithm of photo pixels to frame pixels, `middle`
    (n, 2) of the frame in the photo.
    """

    owner: NDArray[np.int64]
    turn: NDArray[Any]
    octave: NDArray[Any]
    middle: NDArray[Any]

    def similarity(self, chosen: NDArray[Any]) -> NDArray[Any]:
        """The homography, from frame to photo, that the chosen pairs say in the mean."""
        radians = np.radians(self.turn[chosen])
        turn = np.arctan2(np.sin(radians).mean(), np.cos(radians).mean())
        scale = 2.0 ** float(self.octave[chosen].mean())
        cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
        x, y = np.median(self.middle[chosen], axis=0)
        back = np.array([[1, 0, -SIDE / 2], [0, 1, -SIDE / 2], [0, 0, 1.0]])
        return np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1.0]]) @ back


def poses(
    owner: NDArray[np.int64],
    here: NDArray[Any],
    there: NDArray[Any],
    turn: NDArray[Any],
    octave: NDArray[Any],
) -> Poses:
    """Of pairs of places, `here` (n, 2) in the frame and `there` in the photo."""
    radians = np.radians(turn)
    scale = 2.0**octave
    cosine, sine = scale * np.cos(radians), scale * np.sin(radians)
    rest = SIDE / 2 - here
    x = there[:, 0] + cosine * rest[:, 0] - sine * rest[:, 1]
    y = there[:, 1] + sine * rest[:, 0] + cosine * rest[:, 1]
    return Poses(owner, turn, octave, np.stack([x, y], axis=1))


def tally(
    found: Poses, weight: NDArray[Any], owners: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The greatest weight of pairs of one pose, for each owner (owners,), and which pairs those are
    (n,).
    """
    scores = np.zeros(owners)
    best = np.full(owners, -1, np.int64)
    which = np.zeros(owners, np.int64)
    cells = []
    for number, shift in enumerate(SHIFTS):
        cell = _cells(found, shift)
        cells.append(cell)
        keys, places = np.unique(cell, return_inverse=True)
        sums = np.bincount(places, weight)
        owner = keys // CELLS**4
        order = np.argsort(sums, kind="stable")
        top = np.zeros(owners)
        first = np.full(owners, -1, np.int64)
        top[owner[order]], first[owner[order]] = sums[order], keys[order]
        better = top > scores
        scores[better], best[better], which[better] = top[better], first[better], number
    mine = which[found.owner]
    chosen = np.choose(mine, cells) == best[found.owner]
    return scores, chosen


def _cells(found: Poses, shift: float) -> NDArray[np.int64]:
    """One number for each pair: its owner and its cell."""
    turn = np.floor(found.turn / TURN_CELL + shift).astype(np.int64) % int(360 / TURN_CELL)
    octave = np.floor(found.octave / SIZE_CELL + shift)
    side = PLACE_CELL * SIDE * 2.0 ** (octave * SIZE_CELL)
    place = np.floor(found.middle / side[:, None] + shift)
    # a pose far outside of the photo is nobody's: it may share a cell
    cell = np.clip(np.column_stack([octave, place]) + CELLS // 2, 0, CELLS - 1).astype(np.int64)
    number = found.owner.astype(np.int64)
    for part in (turn, cell[:, 0], cell[:, 1], cell[:, 2]):
        number = number * CELLS + part
    return number
