"""Trials: references that a photo might show, each laid over it and judged.

Cheap ways bring some forty guesses of which and where; the few that look best there are laid on
exactly, the foremost guesses before the others, until one is alike beyond doubt. Says how alike
each is; which one it is, is decided elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from millstream_apps.appraise.recognition import align, compare
from millstream_apps.appraise.recognition import guesses as first_guesses
from millstream_apps.appraise.recognition.align import Matrix, Placement
from millstream_apps.appraise.recognition.calibration import Logistic, shipped
from millstream_apps.appraise.recognition.compare import Overlay, Rough
from millstream_apps.appraise.recognition.frame import Frame
from millstream_apps.appraise.recognition.guesses import Guess, guesses
from millstream_apps.appraise.recognition.index import Index
from millstream_apps.appraise.recognition.photoview import View as Seen
from millstream_apps.appraise.recognition.refine import COARSE, refined

NEARED = 8  # candidates whose first guess is made better before they are compared
JUDGED = 5  # candidates that are laid over the photo exactly, at most
FIRST = 3  # of the first wave, where none of them is likely
SAME = 0.03  # of the side: first guesses whose corners are nearer than this are one
EVEN = (
    0.01  # of structure: the finer placement is taken where the coarse measure sees no difference
)
BEHIND = 0.2  # of structure, by which one may look worse than the best one and still be judged
SETTLED = 0.06  # of it, by which one may look worse than one that is likely, and still be judged


@dataclass
class Trial:
    """One candidate: its slot, where its frame may lie in the photo, the best judgement so far.

    `fresh`: first guesses not yet looked at; `start`: the best one of the others, whose structure
    is the `promise`.
    """

    reference: str
    slot: int
    frame: Frame
    outlines: list[Matrix] = field(default_factory=list)
    fresh: list[Matrix] = field(default_factory=list)
    start: Matrix | None = None
    is_neared: bool = False
    is_judged: bool = False
    promise: float = 0.0
    overlay: Overlay | None = None
    log_odds: float = -np.inf
    probability: float = 0.0

    @cached_property
    def rough(self) -> Rough:
        """The frame as first guesses are compared with it."""
        return Rough(self.frame)

    @property
    def is_likely(self) -> bool:
        """Whether it is alike enough to be named."""
        return self.probability >= shipped().accept

    def __repr__(self) -> str:
        return f"Trial({self.reference}, promise {self.promise:.2f}, p {self.probability:.3f})"


def judged(seen: Seen, index: Index, view: str = "front") -> list[Trial]:
    """The most promising references of an index, judged, best first."""
    found: dict[int, Trial] = {}
    for wave, most in zip(guesses(seen, index, view), (FIRST, JUDGED), strict=True):
        _place(found, wave, index)
        _judge_best(list(found.values()), seen, most)
        if any(trial.is_likely for trial in found.values()):
            break
    tried = [trial for trial in found.values() if trial.overlay is not None]
    return sorted(tried, key=lambda trial: (-trial.log_odds, trial.slot))


def of_slot(slot: int, seen: Seen, index: Index) -> Trial:
    """One given picture of a reference, judged."""
    trial = _trial(slot, index)
    found = {slot: trial}
    _place(found, first_guesses.of_slot(slot, seen, index), index)
    _sift(trial, seen)
    judge(trial, seen)
    return trial


def _trial(slot: int, index: Index) -> Trial:
    return Trial(index.name(slot) or "", slot, index.frame(slot))


def _place(found: dict[int, Trial], wave: Iterable[Guess], index: Index) -> None:
    """Keep the first guesses that a camera could have seen and that are not there yet."""
    for guess in wave:
        if guess.slot not in found:
            found[guess.slot] = _trial(guess.slot, index)
        trial = found[guess.slot]
        for homography in guess.starts(index):
            if align.plausible(homography) and _is_new(trial, homography):
                trial.outlines.append(align.corners(homography))
                trial.fresh.append(homography)


def _is_new(trial: Trial, homography: Matrix) -> bool:
    outline, reach = align.corners(homography), SAME * align.side_in_photo(homography)
    return all(float(np.abs(other - outline).max()) >= reach for other in trial.outlines)


def _judge_best(found: list[Trial], seen: Seen, most: int) -> None:
    """Judge so many that look best; once one is likely, all those that look about as good."""
    for trial in found:
        _sift(trial, seen)
    near = sorted(found, key=_by_promise)[:NEARED]
    for trial in near:
        _near(trial, seen)
    ranked = sorted(near, key=_by_promise)[:JUDGED]
    likely: Trial | None = None
    for at, trial in enumerate(ranked):
        least = ranked[0].promise - BEHIND if likely is None else likely.promise - SETTLED
        if trial.promise <= least or (likely is None and at == most):
            break
        judge(trial, seen)
        if likely is None and trial.is_likely:
            likely = trial


def _by_promise(trial: Trial) -> tuple[float, int]:
    return -trial.promise, trial.slot


def _sift(trial: Trial, seen: Seen) -> None:
    """Find the likeliest first guess, and how alike the pictures are there."""
    for homography in trial.fresh:
        promise = trial.rough.structure(seen.levels, homography)
        if trial.start is None or promise > trial.promise:
            trial.start, trial.promise = homography, promise
            trial.is_neared = trial.is_judged = False
    trial.fresh = []


def _near(trial: Trial, seen: Seen) -> None:
    """Lay the candidate on roughly, from the best of its first guesses."""
    if trial.start is None or trial.is_neared:
        return
    trial.is_neared = True
    better = refined(trial.frame, seen.levels, trial.start, (COARSE,))
    if better is None:
        return
    promise = trial.rough.structure(seen.levels, better)
    if promise > trial.promise:
        trial.start, trial.promise = better, promise


def judge(trial: Trial, seen: Seen, same: Logistic | None = None) -> None:
    """Lay the candidate over the photo as exactly as can be, and measure how alike they are."""
    if trial.is_judged:
        return
    trial.is_judged = True
    same = same or shipped().same
    for placement in _exact(trial, seen):
        over = compare.overlay(trial.frame, seen.levels, placement, seen.masks)
        values = compare.measures(over)
        if trial.overlay is None or same.log_odds(values) > trial.log_odds:
            trial.overlay, trial.log_odds = over, same.log_odds(values)
            trial.probability = same.probability(values)


def _exact(trial: Trial, seen: Seen) -> list[Placement]:
    """The placement worth measuring: by matched points or by first guess, made exact by the
    pictures.
    """
    pairs = align.pairs(trial.frame.features, seen.features)
    by_points = align.from_points(*pairs)
    starts = [] if trial.start is None else [trial.start]
    starts += [by_points.homography] if by_points is not None else []
    if not starts:
        return []

    def alike(homography: Matrix) -> float:
        return trial.rough.structure(seen.levels, homography)

    best = max(starts, key=alike)
    better = refined(trial.frame, seen.levels, best)
    if better is not None and alike(better) > alike(best) - EVEN:
        best = better
    return [align.measured(best, *pairs) or Placement(best)]
