"""Fits recognition's calibration.json: what its measurements mean, learnt from photographed
pictures.

Photos of known and of unknown pictures say when two pictures are the same; photos of pairs that
differ in colour alone say when one is nearer; genuine pins, recolours and blurred copies say what
is genuine.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from examples.pins.drawing import Rgba
from examples.pins.photographs import EASY, HARD, USUAL, blurred, photograph

from bench.fitting import Rows, fit_logistic
from bench.pictures import hue_turned
from millstream_apps.appraise.recognition import trials
from millstream_apps.appraise.recognition.align import levels
from millstream_apps.appraise.recognition.authenticity import genuine_measures, to_pixels
from millstream_apps.appraise.recognition.calibration import Calibration, Logistic, shipped
from millstream_apps.appraise.recognition.compare import NAMES, measures
from millstream_apps.appraise.recognition.evidence import KINDS
from millstream_apps.appraise.recognition.frame import frame_of
from millstream_apps.appraise.recognition.identify import geometry_of
from millstream_apps.appraise.recognition.index import Index, compact
from millstream_apps.appraise.recognition.photo import Picture, decode
from millstream_apps.appraise.recognition.photoview import look
from millstream_apps.appraise.recognition.quick import quick_measures
from millstream_apps.appraise.recognition.rivals import nearer

Pictures = Sequence[tuple[str, Rgba]]
CAMERAS = (USUAL, USUAL, HARD, EASY)
GENUINE = ("sharpness", "softness", "colour", "colour_spread", "tint", "detail")
QUICK = ("hash", "histogram")
SEED = 700_000  # of the photos: the tables use others


def calibrate(pictures: Pictures, references: int, photos: int, pairs: int) -> bytes:
    """The bytes of calibration.json."""
    index = Index()
    for name, picture in pictures[:references]:
        index.add(name, [("front", _compact(picture))])
    rows, truths = _same_or_not([*pictures[:photos], *pictures[references:]], index)
    same = fit_logistic(rows, truths, NAMES, ridge=0.3)
    accept = _accept(same, rows, truths)
    print(f"same: {sum(truths)} of {len(rows)} pairs are; accept from {accept:.3f}", flush=True)
    aside = _nearer_values(pictures[: max(pairs // 2, 1)])
    # a photo may be as near to the wrong one as the worst of these was to the right one
    limit = float(np.clip(1 - np.quantile(aside, 0.01) + 0.02, 0.55, 0.75))
    print(f"nearer: {np.quantile(aside, [0, 0.05, 0.5]).round(2)}; must be {limit:.2f}", flush=True)
    full, quick, genuine = _genuine_or_not(pictures[:pairs], index)
    both = zip(full, quick, genuine, strict=True)
    thresholds, doubtful = _limits([{**a, **b} for a, b, is_one in both
                                    if is_one])  # fmt: skip
    positive = [row["structure"] for row, truth in zip(rows, truths, strict=True) if truth]
    thresholds["back_pattern"], doubtful["back_pattern"] = np.quantile(
        positive, [0.005, 0.05]
    ).tolist()
    found = Calibration(
        same=same,
        accept=round(accept, 4),
        rival=0.05,
        nearer=round(limit, 4),
        genuine=fit_logistic(full, genuine, GENUINE),
        genuine_quick=fit_logistic(quick, genuine, QUICK),
        thresholds={name: round(value, 4) for name, value in thresholds.items()},
        doubtful={name: round(value, 4) for name, value in doubtful.items()},
    )
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def _compact(picture: Rgba):
    return compact(frame_of(_picture(picture)))


def _picture(rgba: Rgba) -> Picture:
    mask = np.where(rgba[:, :, 3] > 127, 255, 0).astype(np.uint8)
    return Picture(rgba[:, :, :3].copy(), mask)


def _same_or_not(pictures: Pictures, index: Index) -> tuple[list[dict[str, float]], list[bool]]:
    """Measurements of candidates, and whether each was the one.

    Copies in other colours and soft ones are the one as well: whether they are genuine is another
    question. What else a known picture is like is left out: which one it is, is asked of `nearer`.
    """
    rows: list[dict[str, float]] = []
    truths: list[bool] = []
    rng = np.random.default_rng(4)
    for at, (name, picture) in enumerate(pictures):
        copies = (
            picture,
            hue_turned(picture, rng.uniform(0.1, 0.9)),
            blurred(picture, _soft(picture)),
        )
        copy = copies[(0, 0, 1, 0, 2)[at % 5]]
        photo = photograph(copy, SEED + at, CAMERAS[at % len(CAMERAS)])
        for trial in trials.judged(look(decode(photo)), index):
            if trial.overlay is not None and (trial.reference == name or name not in index):
                rows.append(measures(trial.overlay))
                truths.append(trial.reference == name)
    return rows, truths


def _soft(picture: Rgba) -> float:
    """The sigma of a poor copy, in the picture's pixels."""
    return 0.012 * max(picture.shape)


def _accept(same: Logistic, rows: Rows, truths: Sequence[bool]) -> float:
    """Where no false candidate was, and one in a thousand of the likeliest would be by their tail:
    the log-odds of the worst false ones are taken to fall off exponentially.
    """
    false = np.sort(
        [_log_odds(same, row) for row, truth in zip(rows, truths, strict=True) if not truth]
    )
    tail = false[int(0.97 * len(false)) :]
    scale = float((tail - tail[0]).mean()) or 1.0
    limit = float(tail[0] + scale * np.log(0.03 / 0.0004))
    return float(np.clip(1 / (1 + np.exp(-limit)), 0.5, 0.995))


def _log_odds(model: Logistic, row: dict[str, float]) -> float:
    return model.bias + sum(weight * row[name] for name, weight in model.weights.items())


def _nearer_values(pictures: Pictures) -> list[float]:
    """How near photos are to their own picture where the catalogue has it in another colour as
    well.
    """
    values: list[float] = []
    rng = np.random.default_rng(5)
    for at, (_, picture) in enumerate(pictures):
        index = Index()
        index.add("own", [("front", _compact(picture))])
        index.add("other", [("front", _compact(hue_turned(picture, rng.uniform(0.15, 0.85))))])
        seen = look(decode(photograph(picture, SEED + 20_000 + at, CAMERAS[at % len(CAMERAS)])))
        own, other = (trials.of_slot(slot, seen, index) for slot in (0, 1))
        if own.probability > 0.5:
            values.append(nearer(own, other, seen))
    return values


def _genuine_or_not(
    pictures: Pictures, index: Index
) -> tuple[list[dict[str, float]], list[dict[str, float]], list[bool]]:
    """Full and quick measurements of photographed genuine pins, recolours and blurred copies."""
    full: list[dict[str, float]] = []
    quick: list[dict[str, float]] = []
    genuine: list[bool] = []
    rng = np.random.default_rng(6)
    for at, (name, picture) in enumerate(pictures):
        sigma = rng.uniform(0.007, 0.02) * max(picture.shape)
        for copy in (
            picture,
            hue_turned(picture, rng.uniform(0.08, 0.92)),
            blurred(picture, sigma),
        ):
            seed = SEED + 40_000 + int(rng.integers(1_000_000))
            photo = decode(photograph(copy, seed, (EASY, USUAL)[at % 2]))
            seen = look(photo)
            trial = trials.of_slot(index.slots(name, "front")[0], seen, index)
            if trial.overlay is None or trial.probability < shipped().accept / 2:
                continue
            geometry = geometry_of(trial, seen, "front")
            full.append(genuine_measures(photo, geometry, name, index))
            homography = to_pixels(geometry, photo)
            quick.append(quick_measures(trial.frame, levels(photo.rgb), homography))
            genuine.append(copy is picture)
    return full, quick, genuine


def _limits(rows: Rows) -> tuple[dict[str, float], dict[str, float]]:
    """From where on a genuine pin's measurement is rare (1 in 200), and uncommon (1 in 20)."""
    rare: dict[str, float] = {}
    uncommon: dict[str, float] = {}
    for name, kind in KINDS.items():
        values = [row[name] for row in rows if name in row]
        if values:
            low = (0.995, 0.95) if kind.higher_differs else (0.005, 0.05)
            rare[name], uncommon[name] = np.quantile(values, low).tolist()
    return rare, uncommon
