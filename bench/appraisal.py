"""`python -m bench.appraisal`: how well pins are recognised, and counterfeits told from genuine
ones.

Prints tables: identification of known and unknown pictures, counterfeits with ROC, time with many
references. `--icons FOLDER` adds icons to the drawn pins (see bench/pictures.py). `--calibrate`
fits calibration.json on other pictures and photos than the tables use; `--train` makes the
vocabulary anew.
"""

import argparse
import io
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from examples.pins.drawing import Rgba, draw
from examples.pins.photographs import EASY, HARD, USUAL, Camera, blurred, photograph
from PIL import Image

from bench import calibrating
from bench.fitting import roc, share
from bench.pictures import drawn, halves, hue_turned, icons
from millstream_apps.appraise.recognition import (
    Compact,
    Index,
    Match,
    PhotoSet,
    authenticity,
    compact_of,
    identify,
    quick_authenticity,
)
from millstream_apps.appraise.recognition import features as local
from millstream_apps.appraise.recognition.frame import frame_of
from millstream_apps.appraise.recognition.photo import decode
from millstream_apps.appraise.recognition.whole import Whole

ROOM = Path(__file__).resolve().parents[1] / "src/millstream_apps/appraise/recognition"
CAMERAS = {"easy": EASY, "usual": USUAL, "hard": HARD}
Pictures = list[tuple[str, Rgba]]


def png(picture: Rgba) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def indexed(pictures: Pictures) -> Index:
    index = Index()
    for name, picture in pictures:
        index.add(name, [("front", compact_of(png(picture)))])
    index.settle()
    return index


def identification(index: Index, known: Pictures, unknown: Pictures, camera: Camera,
                   seed: int) -> tuple[Counter[str], list[float]]:  # fmt: skip
    """Counts of outcomes, and seconds of processor time for each photo."""
    counts: Counter[str] = Counter()
    times: list[float] = []
    for at, (name, picture) in enumerate([*known, *unknown]):
        photo = photograph(picture, seed + at, camera)
        began = time.process_time()
        verdict = identify(photo, index=index)
        times.append(time.process_time() - began)
        kind = "known" if at < len(known) else "unknown"
        right = isinstance(verdict, Match) and verdict.reference == name
        said = ("right" if right else "wrong") if isinstance(verdict, Match) else verdict.reason
        counts[f"{kind} {said}"] += 1
        counts[kind] += 1
    return counts, times


def show_identification(counts: Counter[str], times: list[float], camera: str) -> None:
    known, unknown = counts["known"], counts["unknown"]
    named = counts["known right"] + counts["known wrong"]
    print(f"\n{camera} photos")
    print(f"  right               {share(counts['known right'], known)}")
    print(f"  right, where named  {share(counts['known right'], named)}")
    print(f"  abstained           {known - named}: close {counts['known close_candidates']}, none "
          f"{counts['known no_match']}, unreadable {counts['known unreadable']}")  # fmt: skip
    print(f"  unknown, but named  {share(counts['unknown wrong'], unknown)}")
    p50, p95 = np.percentile(times, [50, 95])
    print(f"  processor time      p50 {p50:.2f} s, p95 {p95:.2f} s a photo")


def counterfeits(index: Index, pictures: Pictures, camera: Camera, seed: int) -> None:
    """Genuine, recoloured and blurred: what each is rated, and the ROC of each kind."""
    rng = np.random.default_rng(seed)
    ratings: dict[str, dict[str, list[float]]] = {"full": {}, "quick": {}}
    missed: Counter[str] = Counter()
    for at, (name, picture) in enumerate(pictures):
        sigma = rng.uniform(0.009, 0.018) * max(picture.shape)
        copies = {
            "genuine": picture,
            "recolour": hue_turned(picture, rng.uniform(0.12, 0.88)),
            "blurred": blurred(picture, sigma),
        }
        for kind, copy in copies.items():
            photos = PhotoSet(photograph(copy, seed + 10 * at + len(kind), camera))
            match = identify(photos.front, index=index)
            if not isinstance(match, Match) or match.reference != name:
                missed[kind] += 1
                continue
            for method, rate in (("full", authenticity), ("quick", quick_authenticity)):
                rating = rate(photos, match, index=index).rating / 100
                ratings[method].setdefault(kind, []).append(rating)
    print(f"\ncounterfeits (not matched, so not rated: {dict(missed)})")
    for method, found in ratings.items():
        for kind in ("recolour", "blurred"):
            if found.get("genuine") and found.get(kind):
                told = roc(found["genuine"], found[kind])
                print(f"  {method:5} {kind:9} AUC {told.auc:.3f}; {100 * told.found:.0f} % of "
                      f"{len(found[kind])} rated below 50, and {100 * told.false_alarms:.1f} % of "
                      f"{len(found['genuine'])} genuine")  # fmt: skip


def fill(index: Index, count: int) -> None:
    """Add variations of drawn pins up to `count` references.

    They are made in the index's own terms (other bits, another turn, some features left out), which
    costs what thousands of drawings would at search, and much less to make.
    """
    rng = np.random.default_rng(3)
    base = [compact_of(png(draw(9_000_000 + number))) for number in range(60)]
    while len(index) < count:
        varied = _variation(base[len(index) % len(base)], rng)
        index.add(f"filling-{len(index)}", [("front", varied)])
    index.settle()


def _variation(kept: Compact, rng: np.random.Generator) -> Compact:
    entries = kept.entries[rng.random(len(kept.entries)) < 0.9].copy()
    for _ in range(8):
        entries["bits"] ^= np.uint64(1) << rng.integers(0, 64, len(entries)).astype(np.uint64)
    turn = int(rng.integers(256))
    entries["angle"] += np.uint8(turn)
    pin = kept.whole
    if pin is not None:
        noise = rng.normal(0, 0.012, (2, *pin.harmonics.shape))
        phase = np.exp(2j * np.pi * turn / 256 * np.arange(pin.harmonics.shape[1]))
        varied = pin.harmonics * phase + noise[0] + 1j * noise[1]
        pin = Whole((varied / np.linalg.norm(varied)).astype(np.complex64), pin.upright)
    return Compact(entries, pin, kept.thumbnail)


def train() -> None:
    """The vocabulary, from drawn pins that no table uses."""
    found = [frame_of(decode(png(picture))).features.descriptors
             for _, picture in drawn(500, 5_000_000)]  # fmt: skip
    words = local.Words.train(np.concatenate(found), 1024)
    (ROOM / "vocabulary.npz").write_bytes(local.save_words(words))


def main() -> int:
    words = argparse.ArgumentParser(prog="bench.appraisal", description=__doc__)
    words.add_argument("--references", type=int, default=300)
    words.add_argument("--photos", type=int, default=300)
    words.add_argument("--unknown", type=int, default=200)
    words.add_argument("--pairs", type=int, default=60, help="pins of which counterfeits are made")
    words.add_argument("--camera", default="usual", help="easy, usual, hard, or several as a,b")
    words.add_argument("--icons", type=Path, help="a folder of icons to use beside the drawn pins")
    words.add_argument("--only-icons", action="store_true", help="leave the drawn pins out")
    words.add_argument(
        "--large", type=int, default=0, help="fill up to so many references, and time"
    )
    words.add_argument("--seed", type=int, default=1000)
    words.add_argument("--train", action="store_true")
    words.add_argument("--calibrate", action="store_true")
    given = words.parse_args()
    cv2.setNumThreads(1)
    if given.train:
        train()
        return 0
    wanted = given.references + given.unknown
    some = [] if given.icons is None else list(halves(icons(given.icons, 2 * wanted)))
    if given.calibrate:
        pictures = mixed(drawn(wanted, 7_000_000), some[0] if some else [], wanted)
        written = calibrating.calibrate(pictures, given.references, given.photos, given.pairs)
        (ROOM / "calibration.json").write_bytes(written)
        return 0
    pins = [] if given.only_icons else drawn(wanted)
    pictures = mixed(pins, some[1] if some else [], wanted)
    known, unknown = pictures[: given.references], pictures[given.references :]
    index = indexed(known)
    print(f"{len(index)} references, {len(unknown)} that are none; {index.nbytes / 1e6:.1f} MB")
    for camera in given.camera.split(","):
        found = identification(index, known[: given.photos], unknown, CAMERAS[camera], given.seed)
        show_identification(*found, camera)
    if given.pairs:
        counterfeits(index, known[: given.pairs], EASY, given.seed + 5000)
    if given.large:
        fill(index, given.large)
        print(f"\nfilled: {len(index)} references, {index.nbytes / 1e6:.0f} MB")
        some_known = known[: min(40, given.photos)]
        show_identification(*identification(index, some_known, [], USUAL, given.seed), "usual")
    return 0


def mixed(pins: Pictures, others: Pictures, count: int) -> Pictures:
    """Pins and icons in turn, as long as there are both."""
    both: Pictures = []
    for at in range(max(len(pins), len(others))):
        both += pins[at : at + 1] + others[at : at + 1]
    return both[:count]


if __name__ == "__main__":
    sys.exit(main())
