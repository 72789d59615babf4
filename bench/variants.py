"""Variants of pictures, as catalogues have them: one detail other, more or less, another form.

Made for learning what tells two pins apart. What differs too little to be another picture is said
by the rule in bench/likeness.py, not here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from examples.pins.drawing import Pin, Rgba, pin
from numpy.typing import NDArray

Mask = NDArray[Any]  # (height, width) of bool or of uint8 0 or 255
Colour = NDArray[Any]  # (3,)

PARTS = ("emblem", "field", "shape", "charges", "letters", "emblem", "field")
OTHERS = 6_600_000  # pins from this number on lend their parts
COLOURS = ("ground", "second", "accent", "metal")


def redrawn(what: Pin, rng: np.random.Generator) -> Pin:
    """Another pin: this one with one or two parts of another, and at times with its colours."""
    while (changed := _mixed(what, rng)) == what:  # the other one may have the same parts
        pass
    return changed


def _mixed(what: Pin, rng: np.random.Generator) -> Pin:
    other = pin(OTHERS + int(rng.integers(100_000)))
    changes: dict[str, Any] = {}
    for part in rng.permutation(PARTS)[: rng.integers(1, 3)]:
        changes[str(part)] = getattr(other, part)
        if part == "charges":
            changes["charge"] = other.charge
    for name, chance in (*((name, 0.3) for name in COLOURS), ("turn", 0.15), ("flip", 0.15)):
        if rng.random() < chance:
            changes[name] = getattr(other, name)
    return replace(what, **changes)


def related(what: Pin, rng: np.random.Generator) -> Pin:
    """Another pin of the same shape, half of the time with the same emblem."""
    other = replace(pin(OTHERS + int(rng.integers(100_000))), shape=what.shape)
    return replace(other, emblem=what.emblem) if rng.random() < 0.5 else other


def edited(
    picture: Rgba, others: Sequence[Rgba], rng: np.random.Generator, grow: float = 1.0
) -> Rgba:
    """The picture with one place changed, some 4-22 % of it (`grow` times as much): emptied,
    covered by another picture, by another place or a colour; or cut off, or something added.
    """
    found = picture.copy()
    alpha = found[:, :, 3]
    kind = int(rng.integers(6))
    place, middle, reach = _place(alpha, rng, grow, at_rim=kind >= 4)
    within = (place > 0) & (alpha > 127)
    if not within.any():
        return found
    around = _colour_around(found, place, within)
    match kind:
        case 0:
            found[within, :3] = around
        case 1:
            if rng.random() < 0.6:
                found[within, :3] = around
            _paste(found, others[int(rng.integers(len(others)))], middle, max(2 * reach, 6))
        case 2:
            third = found.shape[0] // 3
            moved = np.roll(found, rng.integers(-third, third, 2), (0, 1))
            chosen = within & (moved[:, :, 3] > 127)
            found[chosen] = moved[chosen]
        case 3:
            found[within, :3] = _other_colour(around, rng)
        case 4:
            found[place > 0, 3] = 0
        case _:
            beyond = (place > 0) & (alpha <= 127)
            found[beyond, :3] = around if rng.random() < 0.5 else rng.integers(0, 256, 3)
            found[beyond, 3] = 255
    return found


def _other_colour(colour: Colour, rng: np.random.Generator) -> Colour:
    if rng.random() < 0.5:
        return rng.integers(0, 256, 3)
    return np.clip(colour + rng.choice([-1, 1]) * rng.uniform(35, 110), 0, 255)


def _place(
    alpha: Mask, rng: np.random.Generator, grow: float, at_rim: bool
) -> tuple[Mask, tuple[int, int], int]:
    """An ellipse or a box on the picture: its mask, its middle, and its longer reach."""
    opaque = np.where(alpha > 127, 255, 0).astype(np.uint8)
    share = rng.uniform(0.04 * grow, min(0.22 * grow, 0.6))
    flat = rng.uniform(0.45, 1.0)
    a = float(np.sqrt(share * (opaque > 0).sum() / np.pi / flat))
    how = cv2.MORPH_GRADIENT if at_rim else cv2.MORPH_ERODE
    allowed = cv2.morphologyEx(opaque, how, np.ones((3, 3) if at_rim else (9, 9), np.uint8))
    rows, columns = np.nonzero(allowed if allowed.any() else opaque)
    at = int(rng.integers(len(rows)))
    middle = int(columns[at]), int(rows[at])
    axes = max(int(a), 2), max(int(a * flat), 2)
    angle = float(rng.uniform(0, 180))
    place = np.zeros_like(opaque)
    if rng.random() < 0.5:
        cv2.ellipse(place, middle, axes, angle, 0, 360, 255, -1)
    else:
        corners = cv2.boxPoints((middle, (1.8 * axes[0], 1.8 * axes[1]), angle))
        cv2.fillPoly(place, [np.round(corners).astype(np.int32)], 255)
    return place, middle, max(axes)


def _colour_around(picture: Rgba, place: Mask, within: Mask) -> Colour:
    grown = cv2.dilate(place, np.ones((7, 7), np.uint8)) > 0
    ring = grown & (place == 0) & (picture[:, :, 3] > 127)
    return np.median(picture[ring if ring.any() else within][:, :3], axis=0)


def _paste(picture: Rgba, other: Rgba, middle: tuple[int, int], side: int) -> None:
    """Lay the other picture, `side` pixels wide, onto what is opaque about the middle."""
    small = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)
    left, top = middle[0] - side // 2, middle[1] - side // 2
    rows = slice(max(top, 0), min(top + side, picture.shape[0]))
    columns = slice(max(left, 0), min(left + side, picture.shape[1]))
    small = small[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    own = picture[rows, columns]
    share = (small[:, :, 3:] / 255.0) * (own[:, :, 3:] / 255.0)
    own[:, :, :3] = (own[:, :, :3] * (1 - share) + small[:, :, :3] * share).round()
