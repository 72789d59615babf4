"""Trials: which references a photo might show, each laid over it and judged.

Cheap ways bring some forty candidates and first guesses of where they lie; the few that look best
there are laid on exactly. Says how alike each is; which one it is, is decided elsewhere.
"""

from dataclasses import dataclass, field

import numpy as np

from millstream_apps.appraise.recognition import align, compare
from millstream_apps.appraise.recognition.align import Placement
from millstream_apps.appraise.recognition.calibration import Logistic, shipped
from millstream_apps.appraise.recognition.compare import Overlay
from millstream_apps.appraise.recognition.frame import Frame
from millstream_apps.appraise.recognition.index import Hit, Index
from millstream_apps.appraise.recognition.photoview import View as Seen
from millstream_apps.appraise.recognition.refine import COARSE, refined
from millstream_apps.appraise.recognition.whole import Whole, likely_turns, likeness, stacked

BY_WHOLE, BY_FORM, BY_PARTS = 16, 8, 20  # candidates that each way may bring
NEARED = 8  # candidates whose first guess is made better before they are compared
JUDGED = 5  # candidates that are laid over the photo exactly
FIRST = 3  # of them, before the others: these are laid on where none of the first is likely
SAME = 0.03  # of the side: first guesses whose corners are nearer than this are one
EVEN = (
    0.01  # of structure: the finer placement is taken where the coarse measure sees no difference
)
BEHIND = 0.2  # of structure, by which one may look worse than the best one and still be judged


@dataclass
class Trial:
    """One candidate: its slot, where its frame may lie in the photo, the best judgement so far."""

    reference: str
    slot: int
    frame: Frame
    placements: list[Placement] = field(default_factory=list)
    outlines: list[align.Matrix] = field(default_factory=list)
    promise: float = 0.0
    overlay: Overlay | None = None
    log_odds: float = -np.inf
    probability: float = 0.0

    def __repr__(self) -> str:
        return f"Trial({self.reference}, promise {self.promise:.2f}, p {self.probability:.3f})"


def judged(seen: Seen, index: Index, view: str = "front") -> list[Trial]:
    """The most promising references of an index, judged, best first."""
    found = _candidates(seen, index, view)
    for trial in found:
        _sift(trial, seen)
    near = sorted(found, key=_by_promise)[:NEARED]
    for trial in near:
        _near(trial, seen)
    ranked = sorted(near, key=_by_promise)[:JUDGED]
    best = [trial for trial in ranked if trial.promise > ranked[0].promise - BEHIND]
    for trial in best[:FIRST]:
        judge(trial, seen)
    if all(trial.probability < shipped().accept for trial in best[:FIRST]):
        for trial in best[FIRST:]:
            judge(trial, seen)
    tried = [trial for trial in best if trial.overlay is not None]
    return sorted(tried, key=lambda trial: (-trial.log_odds, trial.slot))


def _by_promise(trial: Trial) -> tuple[float, int]:
    return -trial.promise, trial.slot


def of_slot(slot: int, seen: Seen, index: Index) -> Trial:
    """One given picture of a reference, judged."""
    trial = Trial(index.name(slot) or "", slot, index.frame(slot))
    own = index.whole(slot)
    for pin in seen.wholes:
        if own is None:
            break
        turns = likely_turns(likeness(pin.harmonics, stacked([own.harmonics])))[0]
        _place_by_whole(trial, pin, index, turns)
    _sift(trial, seen)
    judge(trial, seen)
    return trial


def _candidates(seen: Seen, index: Index, view: str) -> list[Trial]:
    found: dict[int, Trial] = {}
    for at, pin in enumerate(seen.wholes):
        alike = index.like_whole(pin.harmonics, BY_WHOLE if at == 0 else BY_FORM, view)
        if at == 0:
            alike += index.like_whole(pin.harmonics, BY_FORM, view, in_colour=False)
        for slot, _, turns in alike:
            _place_by_whole(_trial(found, slot, index), pin, index, turns)
    for hit in index.like_parts(seen.features, BY_PARTS, view):
        _place_by_parts(_trial(found, hit.slot, index), hit)
    return list(found.values())


def _trial(found: dict[int, Trial], slot: int, index: Index) -> Trial:
    if slot not in found:
        found[slot] = Trial(index.name(slot) or "", slot, index.frame(slot))
    return found[slot]


def _place_by_whole(trial: Trial, pin: Whole, index: Index, turns: tuple[float, ...]) -> None:
    upright = index.upright(trial.slot)
    if upright is None:
        return
    for turn in turns:
        _place(trial, align.from_whole(upright, pin.upright, turn))


def _place_by_parts(trial: Trial, hit: Hit) -> None:
    placement = align.from_points(hit.here, hit.there)
    _place(trial, hit.similarity if placement is None else placement.homography)


def _place(trial: Trial, homography: align.Matrix) -> None:
    """Keep a first guess that a camera could have seen and that is not there yet."""
    if not align.plausible(homography):
        return
    outline = align.corners(homography)
    reach = SAME * align.side_in_photo(homography)
    for other in trial.outlines:
        if float(np.abs(other - outline).max()) < reach:
            return
    trial.outlines.append(outline)
    trial.placements.append(Placement(homography))


def _sift(trial: Trial, seen: Seen) -> None:
    """Put the likeliest first guess first, and keep how alike the pictures are there."""
    scores = [
        compare.quick_structure(trial.frame, seen.levels, placement.homography)
        for placement in trial.placements
    ]
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    trial.placements = [trial.placements[at] for at in order]
    trial.promise = max(scores, default=0.0)


def _near(trial: Trial, seen: Seen) -> None:
    """Lay the candidate on roughly, from the best of its first guesses."""
    for placement in trial.placements[:1]:
        better = refined(trial.frame, seen.levels, placement.homography, (COARSE,))
        if better is None:
            continue
        promise = compare.quick_structure(trial.frame, seen.levels, better)
        if promise > trial.promise:
            trial.promise = promise
            trial.placements.insert(0, Placement(better))


def judge(trial: Trial, seen: Seen, same: Logistic | None = None) -> None:
    """Lay the candidate over the photo as exactly as can be, and measure how alike they are."""
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
    starts = [each.homography for each in trial.placements[:1]]
    starts += [by_points.homography] if by_points is not None else []
    if not starts:
        return []

    def alike(homography: align.Matrix) -> float:
        return compare.quick_structure(trial.frame, seen.levels, homography)

    best = max(starts, key=alike)
    better = refined(trial.frame, seen.levels, best)
    if better is not None and alike(better) > alike(best) - EVEN:
        best = better
    return [align.measured(best, *pairs) or Placement(best)]
