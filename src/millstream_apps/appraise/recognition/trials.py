"""Trials: which references a photo might show, each laid over it and judged.

Cheap ways bring some forty candidates and first guesses of where they lie; the few that look best
there are laid on exactly. Says how alike each is; which one it is, is decided elsewhere.
"""

from dataclasses import dataclass, field

from millstream_apps.appraise.recognition import align, compare
from millstream_apps.appraise.recognition.align import Placement
from millstream_apps.appraise.recognition.calibration import Logistic, shipped
from millstream_apps.appraise.recognition.compare import Overlay
from millstream_apps.appraise.recognition.frame import Frame
from millstream_apps.appraise.recognition.index import Hit, Index
from millstream_apps.appraise.recognition.photoview import View as Seen
from millstream_apps.appraise.recognition.whole import Whole, best_turns, likeness, stacked

BY_WHOLE, BY_FORM, BY_PARTS = 16, 8, 20  # candidates that each way may bring
JUDGED = 5  # candidates that are laid over the photo exactly
BEHIND = 0.3  # of structure, by which a first guess may look worse than the best one and be judged


@dataclass
class Trial:
    """One candidate: its slot, where its frame may lie in the photo, the best judgement so far."""

    reference: str
    slot: int
    frame: Frame
    placements: list[Placement] = field(default_factory=list)
    promise: float = 0.0
    overlay: Overlay | None = None
    probability: float = 0.0

    def __repr__(self) -> str:
        return f"Trial({self.reference}, promise {self.promise:.2f}, p {self.probability:.3f})"


def judged(seen: Seen, index: Index, view: str = "front") -> list[Trial]:
    """The most promising references of an index, judged, best first."""
    found = _candidates(seen, index, view)
    for trial in found:
        _sift(trial, seen)
    ranked = sorted(found, key=lambda trial: (-trial.promise, trial.slot))[:JUDGED]
    best = [trial for trial in ranked if trial.promise > ranked[0].promise - BEHIND]
    for trial in best:
        judge(trial, seen)
    return sorted(best, key=lambda trial: (-trial.probability, trial.slot))


def of_slot(slot: int, seen: Seen, index: Index) -> Trial:
    """One given picture of a reference, judged."""
    trial = Trial(index.name(slot) or "", slot, index.frame(slot))
    own = index.whole(slot)
    for pin in seen.wholes:
        if own is None:
            break
        turn = float(best_turns(likeness(pin.harmonics, stacked([own.harmonics])))[0])
        _place_by_whole(trial, pin, index, turn)
    _sift(trial, seen)
    judge(trial, seen)
    return trial


def _candidates(seen: Seen, index: Index, view: str) -> list[Trial]:
    found: dict[int, Trial] = {}

    def trial(slot: int) -> Trial:
        if slot not in found:
            found[slot] = Trial(index.name(slot) or "", slot, index.frame(slot))
        return found[slot]

    for at, pin in enumerate(seen.wholes):
        alike = index.like_whole(pin.harmonics, BY_WHOLE if at == 0 else BY_FORM, view)
        if at == 0:
            alike += index.like_whole(pin.harmonics, BY_FORM, view, in_colour=False)
        for slot, _, turn in alike:
            _place_by_whole(trial(slot), pin, index, turn)
    for hit in index.like_parts(seen.features, BY_PARTS, view):
        _place_by_parts(trial(hit.slot), hit)
    return list(found.values())


def _place_by_whole(trial: Trial, pin: Whole, index: Index, turn: float) -> None:
    upright = index.upright(trial.slot)
    if upright is None:
        return
    homography = align.from_whole(upright, pin.upright, turn)
    if align.plausible(homography):
        trial.placements.append(Placement(homography))


def _place_by_parts(trial: Trial, hit: Hit) -> None:
    placement = align.from_points(hit.here, hit.there)
    if placement is not None:
        trial.placements.append(Placement(placement.homography))


def _sift(trial: Trial, seen: Seen) -> None:
    """Put the likeliest first guess first, and keep how alike the pictures are there."""
    scores = [
        compare.quick_structure(trial.frame, seen.levels, placement.homography)
        for placement in trial.placements
    ]
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    trial.placements = [trial.placements[at] for at in order]
    trial.promise = max(scores, default=0.0)


def judge(trial: Trial, seen: Seen, same: Logistic | None = None) -> None:
    """Lay the candidate over the photo as exactly as can be, and measure how alike they are."""
    same = same or shipped().same
    for placement in _exact(trial, seen):
        over = compare.overlay(trial.frame, seen.levels, placement, seen.masks)
        probability = same.probability(compare.measures(over))
        if trial.overlay is None or probability > trial.probability:
            trial.overlay, trial.probability = over, probability


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
    better = align.refined(trial.frame, seen.levels, best)
    if better is not None and alike(better) > alike(best):
        best = better
    return [align.measured(best, *pairs) or Placement(best)]
