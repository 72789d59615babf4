"""`python -m bench.appraisal`: how well pins are recognised, and counterfeits told from genuine
ones.

Prints tables: identification of known and unknown pictures, counterfeits with ROC, time with many
references. `--icons FOLDER` adds icons to the drawn pins (see bench/pictures.py). `--calibrate`
fits calibration.json on other pictures and photos than the tables use (`--calibrate genuine`: that
part of it alone); `--train` makes the vocabulary anew.
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
from bench.fitting import FALSE_ALARMS, roc, share
from bench.likeness import different
from bench.parts import in_parts
from bench.pictures import drawn, halves, icons, recoloured
from millstream_apps.appraise.recognition import (
    Authenticity,
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
Rated = dict[str, list[Authenticity]]


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


def identification(
    index: Index, known: Pictures, unknown: Pictures, camera: Camera, seed: int, processes: int = 1
) -> tuple[Counter[str], list[float]]:
    """Counts of outcomes, and seconds of processor time for each photo."""
    pictures = [*known, *unknown]

    def work(at: int) -> tuple[str, float]:
        name, picture = pictures[at]
        photo = photograph(picture, seed + at, camera)
        began = time.process_time()
        verdict = identify(photo, index=index)
        taken = time.process_time() - began
        right = isinstance(verdict, Match) and verdict.reference == name
        said = ("right" if right else "wrong") if isinstance(verdict, Match) else verdict.reason
        return said, taken

    counts: Counter[str] = Counter()
    found = in_parts(work, range(len(pictures)), processes)
    for at, (said, _) in enumerate(found):
        kind = "known" if at < len(known) else "unknown"
        counts[f"{kind} {said}"] += 1
        counts[kind] += 1
        if kind == "known":
            source = "drawn" if pictures[at][0].startswith("pin-") else "icons"
            counts[f"{source} {said}"] += 1
            counts[source] += 1
        if said == "wrong":
            print(f"  named wrongly: {kind} {pictures[at][0]}, photo {seed + at}")
    return counts, [taken for _, taken in found]


def show_identification(counts: Counter[str], times: list[float], camera: str) -> None:
    known, unknown = counts["known"], counts["unknown"]
    named = counts["known right"] + counts["known wrong"]
    print(f"\n{camera} photos")
    print(f"  right               {share(counts['known right'], known)}")
    for source in ("drawn", "icons"):
        print(f"    of the {source:9}    {share(counts[f'{source} right'], counts[source])}")
    print(f"  right, where named  {share(counts['known right'], named)}")
    print(f"  abstained           {known - named}: close {counts['known close_candidates']}, none "
          f"{counts['known no_match']}, unreadable {counts['known unreadable']}")  # fmt: skip
    print(f"  unknown, but named  {share(counts['unknown wrong'], unknown)}")
    p50, p95 = np.percentile(times, [50, 95])
    print(f"  processor time      p50 {p50:.2f} s, p95 {p95:.2f} s a photo")


def counterfeits(
    index: Index, pictures: Pictures, camera: Camera, seed: int, processes: int = 1
) -> tuple[dict[str, Rated], Counter[str]]:
    """Genuine, recoloured and blurred: how each is rated and what is said of it, by method and
    kind; and how many of each kind were not matched with their pin, so not rated.
    """

    def work(at: int) -> list[tuple[str, tuple[Authenticity, Authenticity] | None]]:
        name, picture = pictures[at]
        rng = np.random.default_rng((seed, at))
        copies = {
            "genuine": picture,
            "recolour": recoloured(picture, rng.uniform(0.12, 0.88)),
            "blurred": blurred(picture, rng.uniform(0.009, 0.018) * max(picture.shape)),
        }
        found: list[tuple[str, tuple[Authenticity, Authenticity] | None]] = []
        for kind, copy in copies.items():
            if copy is None:
                continue
            photos = PhotoSet(photograph(copy, seed + 10 * at + len(kind), camera))
            match = identify(photos.front, index=index)
            if not isinstance(match, Match) or match.reference != name:
                found.append((kind, None))
                continue
            full = authenticity(photos, match, index=index)
            found.append((kind, (full, quick_authenticity(photos, match, index=index))))
        return found

    rated: dict[str, Rated] = {"full": {}, "quick": {}}
    missed: Counter[str] = Counter()
    for some in in_parts(work, range(len(pictures)), processes):
        for kind, verdicts in some:
            if verdicts is None:
                missed[kind] += 1
                continue
            for method, verdict in zip(rated, verdicts, strict=True):
                rated[method].setdefault(kind, []).append(verdict)
    return rated, missed


def show_counterfeits(rated: dict[str, Rated], missed: Counter[str], camera: str) -> None:
    alarms = "/".join(f"{100 * part:.0f}" for part in FALSE_ALARMS)
    print(f"\ncounterfeits, {camera} photos (not matched, so not rated: {dict(missed)})")
    for method, found in rated.items():
        for kind, verdicts in found.items():
            told = Counter(verdict.authentic for verdict in verdicts)
            auc = ""
            if kind != "genuine" and found.get("genuine"):
                curve = roc(*([each.rating / 100 for each in some] for some in
                              (found["genuine"], verdicts)))  # fmt: skip
                auc = f"; AUC {curve.auc:.3f}, found at {alarms} % false alarms: " + ", ".join(
                    f"{100 * part:.0f} %" for part in curve.found
                )
            print(f"  {method:5} {kind:9} {len(verdicts)}: said genuine {told[True]}, copy "
                  f"{told[False]}, neither {told[None]}{auc}")  # fmt: skip


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
    words.add_argument("--processes", type=int, default=1, help="that share the photos")
    words.add_argument("--train", action="store_true")
    words.add_argument(
        "--calibrate", nargs="?", const="all", choices=("all", "genuine"), help="fit everything, "
        "or only what is genuine"
    )  # fmt: skip
    given = words.parse_args()
    cv2.setNumThreads(1)
    if given.train:
        train()
        return 0
    if given.calibrate:
        pictures = some_pictures(given, half=0, first=7_000_000)
        if given.calibrate == "genuine":
            written = calibrating.calibrate_genuine(pictures[: given.pairs], given.processes)
        else:
            written = calibrating.calibrate(
                pictures, given.references, given.photos, given.pairs, given.processes
            )
        (ROOM / "calibration.json").write_bytes(written)
        return 0
    pictures = some_pictures(given, half=1, first=0)
    known, unknown = pictures[: given.references], pictures[given.references :]
    index = indexed(known)
    print(f"{len(index)} references, {len(unknown)} that are none; {index.nbytes / 1e6:.1f} MB")
    for camera in given.camera.split(","):
        some_known = known[: given.photos]
        found = identification(
            index, some_known, unknown, CAMERAS[camera], given.seed, given.processes
        )
        show_identification(*found, camera)
    for camera in ("easy", "usual") if given.pairs else ():
        found = counterfeits(
            index, known[: given.pairs], CAMERAS[camera], given.seed + 5000, given.processes
        )
        show_counterfeits(*found, camera)
    if given.large:
        fill(index, given.large)
        print(f"\nfilled: {len(index)} references, {index.nbytes / 1e6:.0f} MB")
        some_known = known[: min(40, given.photos)]
        show_identification(*identification(index, some_known, [], USUAL, given.seed), "usual")
    return 0


def some_pictures(given: argparse.Namespace, half: int, first: int) -> Pictures:
    """Pins from number `first` on and one half of the icons, in turn; all of them different."""
    wanted = given.references + given.unknown
    some: Pictures = []
    if given.icons is not None:
        found, left_out = different(icons(given.icons, 8 * wanted), 2 * wanted)
        print(f"{len(found)} icons, {left_out} left out: too like another (bench/likeness.py)")
        some = list(halves(found))[half]
    pins = [] if given.only_icons else drawn(int(wanted * (0.65 if some else 1.2)), first)
    pictures, left_out = different(mixed(pins, some, len(pins) + len(some)), wanted)
    print(f"{len(pictures)} pictures, {left_out} more left out")
    return pictures


def mixed(pins: Pictures, others: Pictures, count: int) -> Pictures:
    """Pins and icons in turn, as long as there are both."""
    both: Pictures = []
    for at in range(max(len(pins), len(others))):
        both += pins[at : at + 1] + others[at : at + 1]
    return both[:count]


if __name__ == "__main__":
    sys.exit(main())
