"""Identification: photos in, the one reference that they show out, or why there is no answer.

Many candidates are found cheaply, laid over the photo, and judged by what is seen there. A
reference is named only where it is alike beyond doubt and no other one explains the photo about as
well.
"""

from millstream_apps.appraise.recognition import trials
from millstream_apps.appraise.recognition.align import Matrix, corners, turn_and_tilt
from millstream_apps.appraise.recognition.calibration import shipped
from millstream_apps.appraise.recognition.frame import SIDE
from millstream_apps.appraise.recognition.index import Index
from millstream_apps.appraise.recognition.models import (
    Abstention,
    Candidate,
    Geometry,
    Identification,
    Match,
    View,
)
from millstream_apps.appraise.recognition.photo import decode
from millstream_apps.appraise.recognition.photoview import View as Seen
from millstream_apps.appraise.recognition.photoview import look
from millstream_apps.appraise.recognition.rivals import nearer
from millstream_apps.appraise.recognition.trials import Trial

UNREADABLE = "The front photo shows nothing that can be told: it is blank, dark or out of focus"


def identify(
    front: bytes, back: bytes | None = None, angled: bytes | None = None, *, index: Index
) -> Identification:
    """Which reference of the index the photos show. Raises PhotoError (`field` names the photo).

    The front decides; the angled photo does where the front leaves doubt. The geometry of every
    photo in which the match is found is told. The same arguments give the same answer.
    """
    photos: dict[View, bytes | None] = {"front": front, "back": back, "angled": angled}
    pictures = {view: decode(data, view) for view, data in photos.items() if data is not None}
    seen = look(pictures["front"])
    verdict = _decide(trials.judged(seen, index), seen, "front", index)
    others: dict[View, Seen] = {}
    if "angled" in pictures:
        others["angled"] = look(pictures["angled"])
        if isinstance(verdict, Abstention):
            verdict = _second_look(verdict, others.pop("angled"), index)
    if isinstance(verdict, Abstention):
        return verdict
    if "back" in pictures and index.slots(verdict.reference, "back"):
        others["back"] = look(pictures["back"])
    found = [_geometry_in(verdict.reference, each, view, index) for view, each in others.items()]
    return _with_views(verdict, [each for each in found if each is not None])


def _with_views(match: Match, more: list[Geometry]) -> Match:
    """The match with further views."""
    return Match(match.reference, match.score, match.candidates, (*match.geometry, *more))


def _second_look(verdict: Abstention, angled: Seen, index: Index) -> Identification:
    """The angled photo's answer, where the front's doubts leave room for it."""
    second = _decide(trials.judged(angled, index), angled, "angled", index)
    if isinstance(second, Abstention):
        return verdict
    named = {candidate.reference for candidate in verdict.candidates}
    fits = verdict.reason != "close_candidates" or second.reference in named
    return second if fits else verdict


def _geometry_in(reference: str, seen: Seen, view: View, index: Index) -> Geometry | None:
    """Where a reference lies in another photo; None where it is not found there."""
    slots = index.slots(reference, view) or (
        index.slots(reference, "front") if view != "back" else []
    )
    tried = [trials.of_slot(slot, seen, index) for slot in slots]
    best = max(tried, key=lambda trial: trial.probability, default=None)
    if best is None or best.probability < shipped().accept:
        return None
    return geometry_of(best, seen, view)


def _decide(tried: list[Trial], seen: Seen, view: View, index: Index) -> Identification:
    """A match, or why there is none. `tried`: best first."""
    if not seen.is_readable:
        return Abstention("unreadable", f"{UNREADABLE}. Take it again.")
    best: dict[str, Trial] = {}
    for trial in tried:
        best.setdefault(trial.reference, trial)
    ranked = list(best.values())
    shown = tuple(_candidate(trial) for trial in ranked)
    calibration = shipped()
    if not ranked or ranked[0].probability < calibration.accept:
        told = f"None of the {len(index)} references in the catalogue is enough like this pin."
        return Abstention("no_match", told, shown)
    least = ranked[0].log_odds - calibration.rival
    rivals = [trial for trial in ranked if trial.log_odds >= least]
    winner = _winner(rivals, seen, calibration.nearer)
    if winner is None:
        told = f"{len(rivals)} references are about equally like this pin."
        return Abstention("close_candidates", told, shown)
    if winner.probability < calibration.accept:
        return Abstention("no_match", "What the pin is most like is not enough like it.", shown)
    first = sorted(shown, key=lambda each: each.reference != winner.reference)
    return Match(
        winner.reference, winner.probability, tuple(first), (geometry_of(winner, seen, view),)
    )


def _winner(rivals: list[Trial], seen: Seen, least: float) -> Trial | None:
    """The one to whose picture the photo is nearer than to all others'; None for none."""
    for trial in rivals:
        others = [rival for rival in rivals if rival is not trial]
        if all(nearer(trial, rival, seen) >= least for rival in others):
            return trial
    return None


def _candidate(trial: Trial) -> Candidate:
    inliers = 0 if trial.overlay is None else trial.overlay.placement.inliers
    return Candidate(trial.reference, round(trial.probability, 4), inliers)


def geometry_of(trial: Trial, seen: Seen, view: View) -> Geometry:
    """Where a judged candidate lies in the photo."""
    assert trial.overlay is not None
    placement = trial.overlay.placement
    height, width = seen.rgb.shape[:2]
    turn, tilt = turn_and_tilt(placement.homography)
    outline = corners(placement.homography)
    side = ((outline - outline[[3, 0, 1, 2]]) ** 2).sum(axis=1) ** 0.5
    return Geometry(
        view=view,
        homography=_unit(placement.homography, width),
        outline=tuple((float(x / width), float(y / height)) for x, y in outline),
        aspect=height / width,
        rotation=round(turn, 1),
        tilt=round(tilt, 1),
        size=float(side.mean() / width),
        inliers=placement.inliers,
        residual=round(placement.residual, 5),
    )


def _unit(homography: Matrix, width: int) -> tuple[float, ...]:
    """From the unit frame to a photo of width 1."""
    values = homography.copy()
    values[:, :2] *= SIDE
    values[:2] /= width
    return tuple(float(each) for each in (values / values[2, 2]).ravel())
