"""Fits recognition's calibration.json: what its measurements mean, learnt from photographed
pictures.

Photos of known and of unknown pictures say when two pictures are the same; photos of pairs that
differ in colour alone say when one is nearer; genuine pins, recolours and blurred copies say what
is genuine.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from examples.pins.drawing import Rgba
from examples.pins.photographs import EASY, HARD, USUAL, blurred, photograph

from bench.fitting import Rows, fit_logistic
from bench.parts import in_parts
from bench.pictures import hue_turned, recoloured
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
EDGES = ("sharpness", "softness", "blur", "resolution", "detail")
COLOURS = ("colour", "colour_spread", "tint")
QUICK = ("hash", "histogram")
WRONGED = 0.01  # share of genuine pins that may be called copies
FALSE = 0.001  # share of photos of unknown pictures that may be named: the aim is under 0.005
SEED = 700_000  # of the photos: the tables use others


def calibrate(
    pictures: Pictures, references: int, photos: int, pairs: int, processes: int = 1
) -> bytes:
    """The bytes of calibration.json."""
    index = Index()
    for name, picture in pictures[:references]:
        index.add(name, [("front", _compact(picture))])
    rows, truths, numbers = _same_or_not(
        [*pictures[:photos], *pictures[references:]], index, processes
    )
    same = fit_logistic(rows, truths, NAMES, ridge=0.3)
    accept = _accept(same, rows, truths, numbers)
    print(f"same: {sum(truths)} of {len(rows)} pairs are; accept from {accept:.3f}", flush=True)
    aside, ahead = _nearer_values(pictures[: max(pairs // 2, 1)], same, processes)
    print(f"other colours ahead by {np.quantile(ahead, [0.5, 0.95, 1]).round(2)}", flush=True)
    # a photo may be as near to the wrong one as the worst of these was to the right one
    limit = float(np.clip(1 - np.quantile(aside, 0.01) + 0.02, 0.55, 0.75))
    print(f"nearer: {np.quantile(aside, [0, 0.05, 0.5]).round(2)}; must be {limit:.2f}", flush=True)
    positive = [row["structure"] for row, truth in zip(rows, truths, strict=True) if truth]
    rare, uncommon = np.quantile(positive, [0.005, 0.05]).tolist()
    found = msgspec.structs.replace(
        shipped(),
        same=same,
        accept=round(accept, 4),
        rival=round(max(*ahead, 1.0), 4),
        nearer=round(limit, 4),
        thresholds={"back_pattern": round(rare, 4)},
        doubtful={"back_pattern": round(uncommon, 4)},
    )
    return _written(_with_genuine(found, pictures[:pairs], index, processes))


def calibrate_genuine(pictures: Pictures, processes: int = 1) -> bytes:
    """The bytes of calibration.json, as it is but for what tells genuine pins from copies."""
    index = Index()
    for name, picture in pictures:
        index.add(name, [("front", _compact(picture))])
    return _written(_with_genuine(shipped(), pictures, index, processes))


def _written(found: Calibration) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def _with_genuine(
    found: Calibration, pictures: Pictures, index: Index, processes: int
) -> Calibration:
    """With what tells genuine pins from copies, fitted to photos of these pictures."""
    rated = _genuine_or_not(pictures, index, processes)
    print(f"genuine or not: {Counter(kind for kind, _ in rated)}", flush=True)

    def fitted(names: Sequence[str], *copies: str) -> Logistic:
        chosen = [(row, kind == "genuine") for kind, row in rated if kind in ("genuine", *copies)]
        return fit_logistic([row for row, _ in chosen], [truth for _, truth in chosen], names)

    edges, colours = fitted(EDGES, "blurred"), fitted(COLOURS, "recolour")
    genuine = [row for kind, row in rated if kind == "genuine"]
    chances = [edges.probability(row) * colours.probability(row) for row in genuine]
    sure = float(np.clip(1 - np.quantile(chances, WRONGED), 0.5, 0.99))
    thresholds, doubtful = _limits(genuine)
    return msgspec.structs.replace(
        found,
        edges=edges,
        colours=colours,
        genuine_quick=fitted(QUICK, "blurred", "recolour"),
        sure=round(sure, 4),
        thresholds=found.thresholds | {name: round(each, 4) for name, each in thresholds.items()},
        doubtful=found.doubtful | {name: round(each, 4) for name, each in doubtful.items()},
    )


def _compact(picture: Rgba):
    return compact(frame_of(_picture(picture)))


def _picture(rgba: Rgba) -> Picture:
    mask = np.where(rgba[:, :, 3] > 127, 255, 0).astype(np.uint8)
    return Picture(rgba[:, :, :3].copy(), mask)


def _same_or_not(
    pictures: Pictures, index: Index, processes: int
) -> tuple[Rows, list[bool], list[int]]:
    """Measurements of candidates, whether each was the one, and the number of its photo.

    Copies in other colours and soft ones are the one as well: whether they are genuine is another
    question. What else a known picture is like is left out: which one it is, is decided between
    the two (see `_nearer_values`).
    """

    def work(at: int) -> list[tuple[dict[str, float], bool]]:
        name, picture = pictures[at]
        rng = np.random.default_rng((4, at))
        copies = (
            picture,
            hue_turned(picture, rng.uniform(0.1, 0.9)),
            blurred(picture, _soft(picture)),
        )
        copy = copies[(0, 0, 1, 0, 2)[at % 5]]
        seen = look(decode(photograph(copy, SEED + at, CAMERAS[at % len(CAMERAS)])))
        return [
            (measures(trial.overlay), trial.reference == name)
            for trial in trials.judged(seen, index)
            if trial.overlay is not None and (trial.reference == name or name not in index)
        ]

    found = in_parts(work, range(len(pictures)), processes)
    every = [(*each, photo) for photo, some in enumerate(found) for each in some]
    return [row for row, _, _ in every], [truth for _, truth, _ in every], [
        photo for _, _, photo in every
    ]  # fmt: skip


def _soft(picture: Rgba) -> float:
    """The sigma of a poor copy, in the picture's pixels."""
    return 0.012 * max(picture.shape)


def _accept(same: Logistic, rows: Rows, truths: Sequence[bool], photos: Sequence[int]) -> float:
    """The probability that FALSE of the photos of unknown pictures exceed: the log-odds of their
    likeliest candidates are taken to fall off exponentially from their upper tenth on.
    """
    likeliest: dict[int, float] = {}
    for row, truth, photo in zip(rows, truths, photos, strict=True):
        if not truth:
            likeliest[photo] = max(likeliest.get(photo, -np.inf), same.log_odds(row))
    tail = np.sort(list(likeliest.values()))[int(0.9 * len(likeliest)) :]
    limit = float(tail[0] + (tail - tail[0]).mean() * np.log(0.1 / FALSE))
    return float(np.clip(1 / (1 + np.exp(-limit)), 0.5, 0.995))


def _nearer_values(
    pictures: Pictures, same: Logistic, processes: int
) -> tuple[list[float], list[float]]:
    """Where the catalogue has a picture in another colour as well: how near photos are to their
    own, and by how much in log-odds the other one is ahead all the same.
    """

    def work(at: int) -> tuple[float, float] | None:
        picture = pictures[at][1]
        turned = recoloured(picture, np.random.default_rng((5, at)).uniform(0.15, 0.85))
        if turned is None:
            return None
        index = Index()
        index.add("own", [("front", _compact(picture))])
        index.add("other", [("front", _compact(turned))])
        seen = look(decode(photograph(picture, SEED + 20_000 + at, CAMERAS[at % len(CAMERAS)])))
        own, other = (trials.of_slot(slot, seen, index) for slot in (0, 1))
        if own.overlay is None or other.overlay is None:
            return None
        odds = [same.log_odds(measures(each)) for each in (own.overlay, other.overlay)]
        return (nearer(own, other, seen), odds[1] - odds[0]) if odds[0] > 0 else None

    found = [each for each in in_parts(work, range(len(pictures)), processes) if each is not None]
    return [near for near, _ in found], [lead for _, lead in found]


def _genuine_or_not(
    pictures: Pictures, index: Index, processes: int
) -> list[tuple[str, dict[str, float]]]:
    """All measurements of photographed genuine pins, recolours and blurred copies, each with its
    kind. Two of the genuine to each copy: neither is likelier beforehand.
    """

    def work(at: int) -> list[tuple[str, dict[str, float]]]:
        name, picture = pictures[at]
        rng = np.random.default_rng((6, at))
        found = []
        for camera in (EASY, USUAL):
            sigma = rng.uniform(0.007, 0.02) * max(picture.shape)
            for kind, copy in (
                ("genuine", picture),
                ("genuine", picture),
                ("recolour", recoloured(picture, rng.uniform(0.08, 0.92))),
                ("blurred", blurred(picture, sigma)),
            ):
                if copy is None:
                    continue
                seed = SEED + 40_000 + int(rng.integers(1_000_000))
                row = _rated(photograph(copy, seed, camera), name, index)
                if row is not None:
                    found.append((kind, row))
        return found

    return [each for some in in_parts(work, range(len(pictures)), processes) for each in some]


def _rated(data: bytes, name: str, index: Index) -> dict[str, float] | None:
    """What is measured of a photo laid on its reference; None where it would not be matched."""
    photo = decode(data)
    seen = look(photo)
    trial = trials.of_slot(index.slots(name, "front")[0], seen, index)
    if trial.overlay is None or trial.probability < shipped().accept:
        return None
    geometry = geometry_of(trial, seen, "front")
    quick = quick_measures(trial.frame, levels(photo.rgb), to_pixels(geometry, photo))
    return {**genuine_measures(photo, geometry, name, index), **quick}


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
