"""`python -m bench.pairs --icons FOLDER OUT`: pairs of a reference and a photo, to learn from.

Each photo is laid over the picture that it shows, over a variant of it and over one that looks
like it, as exactly as recognition does from a first guess, and kept as the comparator sees it.
OUT, an .npz, has `stacks` (n, 8, 64, 64), `same` (n) and `photo` (n), the number of the photo.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from examples.pins.drawing import Rgba, draw, pin, render
from examples.pins.photographs import EASY, HARD, USUAL, Camera, blurred, shot
from numpy.typing import NDArray
from PIL import Image

from bench.likeness import TOO_ALIKE, different, thumbnail
from bench.parts import in_parts
from bench.pictures import halves, hue_turned, icons
from bench.variants import edited, redrawn, related
from millstream_apps.appraise.recognition import align, compare
from millstream_apps.appraise.recognition.align import Matrix, Placement
from millstream_apps.appraise.recognition.frame import SIDE, Frame, cut
from millstream_apps.appraise.recognition.photo import Picture, decode
from millstream_apps.appraise.recognition.refine import refined

FIRST_PIN, PINS = 6_000_000, 400_000  # numbers of pins that no table uses
SEED = 30_000_000  # of the photos
KEPT = 400  # icons of the calibrating half that are left to the calibration
NEIGHBOURS = 6
CAMERAS = (USUAL, USUAL, USUAL, HARD, EASY)
ASTRAY = 0.06  # of the side: a photo laid on worse than this shows nothing of its reference
Three = tuple[Rgba, list[tuple[Rgba, bool]]]  # a picture; others, and if they lie as it does


@dataclass(frozen=True)
class Pool:
    """Icons, and for each the numbers of those that look most like it."""

    icons: Sequence[Rgba]
    neighbours: NDArray[np.int64]


def pool_of(pictures: Sequence[Rgba]) -> Pool:
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    alike = thumbnails @ thumbnails.T
    np.fill_diagonal(alike, -1)
    return Pool(pictures, np.argsort(-alike, axis=1)[:, :NEIGHBOURS])


def pairs_of(number: int, pool: Pool) -> list[tuple[NDArray[np.uint8], bool]]:
    """The stacks of one photo with its references, and whether they are of one picture."""
    rng = np.random.default_rng((77, number))
    base, others = _drawn_three(rng) if rng.random() < 0.4 else _icon_three(rng, pool)
    camera = CAMERAS[int(rng.integers(len(CAMERAS)))]
    photo, to_photo = _photographed(_copied(base, rng), SEED + number, camera)
    own, own_back = _framed(base)
    true = to_photo @ own_back
    found = []
    laid = _laid(own, photo, true, true, rng)
    if laid is not None:
        found.append((laid, True))
    for other, in_place in others:
        if float(thumbnail(other) @ thumbnail(base)) > TOO_ALIKE:
            continue
        frame, back = _framed(other)
        laid = _laid(frame, photo, to_photo @ back if in_place else true, None, rng)
        if laid is not None:
            found.append((laid, False))
    return found


def _drawn_three(rng: np.random.Generator) -> Three:
    what = pin(FIRST_PIN + int(rng.integers(PINS)))
    return render(what), [(render(redrawn(what, rng)), True), (render(related(what, rng)), False)]


def _icon_three(rng: np.random.Generator, pool: Pool) -> Three:
    """An icon, edited itself half of the time: that a picture is edited must tell nothing."""
    at = int(rng.integers(len(pool.icons)))
    lenders = [draw(FIRST_PIN + int(rng.integers(PINS)))] if rng.random() < 0.3 else pool.icons
    base = pool.icons[at]
    if rng.random() < 0.5:
        base = edited(base, lenders, rng)
    source = base if rng.random() < 0.8 else pool.icons[at]
    variant = source
    for grow in (1.0, 1.5, 2.0, 2.5):
        variant = edited(source, lenders, rng, grow)
        if float(thumbnail(variant) @ thumbnail(base)) <= TOO_ALIKE:
            break
    if rng.random() < 0.3:
        variant = hue_turned(variant, float(rng.uniform()))
    neighbour = pool.icons[int(rng.choice(pool.neighbours[at]))]
    return base, [(variant, True), (neighbour, False)]


def _copied(picture: Rgba, rng: np.random.Generator) -> Rgba:
    """Copies in other colours and soft ones show the same drawing."""
    kind = rng.random()
    if kind < 0.6:
        return picture
    if kind < 0.8:
        return hue_turned(picture, float(rng.uniform(0.05, 0.95)))
    return blurred(picture, float(rng.uniform(0.004, 0.016)) * max(picture.shape))


def _photographed(picture: Rgba, seed: int, camera: Camera) -> tuple[align.Levels, Matrix]:
    data, homography = shot(picture, seed, camera)
    seen = decode(data)
    scale = seen.size[0] / Image.open(io.BytesIO(data)).size[0]
    centre = 0.5 * scale - 0.5
    reduced = np.array([[scale, 0, centre], [0, scale, centre], [0, 0, 1.0]])
    return align.levels(seen.rgb), reduced @ homography


def _framed(picture: Rgba) -> tuple[Frame, Matrix]:
    """The frame, and the matrix from its pixels to the picture's."""
    mask = np.where(picture[:, :, 3] > 127, 255, 0).astype(np.uint8)
    whole = Picture(np.ascontiguousarray(picture[:, :, :3]), mask)
    frame, (scale, x, y) = cut(whole.rgb, whole.mask)
    return frame, np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])


def _laid(
    frame: Frame, photo: align.Levels, guess: Matrix, true: Matrix | None, rng: np.random.Generator
) -> NDArray[np.uint8] | None:
    """The stack of a frame laid on from near the guess; None where that goes too far astray."""
    start = guess @ _slip(rng)
    if not align.plausible(start):
        return None
    exact = refined(frame, photo, start)
    exact = start if exact is None else exact
    if true is not None:
        away = np.abs(align.corners(exact) - align.corners(true)).max()
        if float(away) > ASTRAY * align.side_in_photo(true):
            return None
    return compare.overlay(frame, photo, Placement(exact), ()).stack


def _slip(rng: np.random.Generator) -> Any:
    """How first guesses err: in the frame's pixels."""
    scale, turn = rng.normal(1, 0.025), np.radians(rng.normal(0, 2.5))
    shift = rng.normal(0, 0.02 * SIDE, 2)
    cosine, sine, half = scale * np.cos(turn), scale * np.sin(turn), SIDE / 2
    matrix = np.array([
        [cosine, -sine, half - cosine * half + sine * half + shift[0]],
        [sine, cosine, half - sine * half - cosine * half + shift[1]],
        [0, 0, 1.0],
    ])  # fmt: skip
    matrix[2, :2] = rng.normal(0, 0.00012, 2)
    return matrix


def main() -> int:
    words = argparse.ArgumentParser(prog="bench.pairs", description=__doc__)
    words.add_argument("out", type=Path)
    words.add_argument("--icons", type=Path, required=True)
    words.add_argument("--photos", type=int, default=6000)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--processes", type=int, default=1)
    given = words.parse_args()
    cv2.setNumThreads(1)
    every, _ = different(icons(given.icons, 100_000), 10_000)
    pool = pool_of([picture for _, picture in next(halves(every))[KEPT:]])
    print(f"{len(pool.icons)} icons", flush=True)
    numbers = range(given.first, given.first + given.photos)
    found = in_parts(lambda number: pairs_of(number, pool), numbers, given.processes)
    flat = [(*pair, number) for number, some in zip(numbers, found, strict=True) for pair in some]
    stacks, same, photos = zip(*flat, strict=True)
    np.savez(given.out, stacks=np.stack(stacks), same=np.array(same), photo=np.array(photos))
    print(f"{len(flat)} pairs, {sum(same)} of one picture")
    return 0


if __name__ == "__main__":
    sys.exit(main())
