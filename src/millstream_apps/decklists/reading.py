"""Reading one line of text at a time: a crop of pixels goes in, a `Line` or a `Number` comes out.

Only recognition: the layout already knows where each line is. Which words exist is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millstream_apps.decklists.layout import Pixels
from millstream_apps.decklists.recogniser import (
    HEIGHT,
    Posterior,
    ctc_probability,
    posteriors,
    recogniser,
    warm_up,
)

__all__ = [
    "Line",
    "Number",
    "read_lines",
    "read_numbers",
    "read_phrases",
    "read_quantities",
    "warm_up",
]

# What a character may be, with probability; the first is taken.
Glyph = tuple[tuple[str, float], ...]

ALTERNATIVES = 6
NEGLIGIBLE = 1e-4
SPACE = 0.24  # of a crop's height: letters stand closer, words farther apart
QUANTITIES = tuple(range(1, 13))
SURE = frozenset(map(str, QUANTITIES))


@dataclass(frozen=True, slots=True)
class Line:
    """One line as read. `glyphs` has each character's alternatives; `text` joins the best.

    `confidence` is the mean of the best characters' probabilities, 0 where nothing was read.
    """

    text: str = ""
    confidence: float = 0.0
    glyphs: tuple[Glyph, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number read, with the share of the posterior that says so (0-1)."""

    value: int | None
    certainty: float


def read_lines(crops: Sequence[Pixels]) -> list[Line]:
    """Read each RGB crop as one line of text."""
    characters = recogniser().characters
    return [_line(posterior, characters) for posterior in posteriors(crops)]


def read_phrases(crops: Sequence[Pixels]) -> list[Line]:
    """Read each RGB crop as a line of words: the model swallows spaces, the crop shows them."""
    characters = recogniser().characters
    lines: list[Line] = []
    for crop, posterior in zip(crops, posteriors(crops), strict=True):
        # A frame stands for eight pixels of the model's input, which is HEIGHT high.
        scale = 8 * crop.shape[0] / HEIGHT
        centres = [(start + end) / 2 * scale for start, end in _peaks(posterior)]
        line = _line(posterior, characters)
        if len(centres) == len(line.glyphs):
            line = _spaced(line, centres, blank_columns(crop), SPACE * crop.shape[0])
        lines.append(line)
    return lines


def blank_columns(crop: Pixels) -> NDArray[np.bool_]:
    """Which columns of a crop show nothing but its ground (its commonest colour)."""
    ground = np.median(crop.reshape(-1, 3), axis=0)
    return np.abs(crop - ground).max(axis=(0, 2)) < 40


def _spaced(line: Line, centres: Sequence[float], blank: NDArray[np.bool_], least: float) -> Line:
    """The line with the spaces at Latin words that its gaps tell."""
    glyphs: list[Glyph] = list(line.glyphs[:1])
    for at, glyph in enumerate(line.glyphs[1:]):
        before, after = glyphs[-1][0][0], glyph[0][0]
        gap = max(_lengths(blank[int(centres[at]) : int(centres[at + 1])]), default=0)
        if gap >= least and _may_part(before, after):
            glyphs.append(((" ", 1.0),))
        glyphs.append(glyph)
    return Line("".join(glyph[0][0] for glyph in glyphs), line.confidence, tuple(glyphs))


def _lengths(mask: NDArray[np.bool_]) -> list[int]:
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return (edges[1::2] - edges[::2]).tolist()


def _may_part(before: str, after: str) -> bool:
    """Full-width letters bring gaps of their own, and so does a slim digit beside another."""
    if before.isdigit() and after.isdigit():
        return False
    latin = (before.isascii(), after.isascii())
    return (before.isalnum() or before in ".,!?") and after.isalnum() and any(latin)


def _peaks(posterior: Posterior) -> list[tuple[int, int]]:
    """The frames (half-open) of each character on the best path."""
    best = posterior.argmax(axis=1)
    starts = np.flatnonzero(np.diff(best, prepend=-1)).tolist()
    ends = [*starts[1:], len(best)]
    return [(a, b) for a, b in zip(starts, ends, strict=True) if best[a] != 0]


def _line(posterior: Posterior, characters: Sequence[str]) -> Line:
    """Best-path CTC decoding (Graves et al. 2006), keeping each character's alternatives."""
    glyphs = [_glyph(posterior[a:b].max(axis=0), characters) for a, b in _peaks(posterior)]
    while glyphs and glyphs[0][0][0] == " ":
        glyphs.pop(0)
    while glyphs and glyphs[-1][0][0] == " ":
        glyphs.pop()
    confidence = float(np.mean([glyph[0][1] for glyph in glyphs])) if glyphs else 0.0
    return Line("".join(glyph[0][0] for glyph in glyphs), round(confidence, 4), tuple(glyphs))


def _glyph(strengths: NDArray[np.float32], characters: Sequence[str]) -> Glyph:
    strengths = strengths.copy()
    strengths[0] = 0
    top = np.argpartition(strengths, -ALTERNATIVES)[-ALTERNATIVES:]
    top = top[np.argsort(strengths[top])[::-1]]
    kept = [at for at in top if strengths[at] >= NEGLIGIBLE] or [top[0]]
    found = [(str(characters[at]), round(min(1.0, float(strengths[at])), 4)) for at in kept]
    # The pages are in simplified script: a traditional twin must be much likelier to be meant.
    if not _is_simplified(found[0][0]):
        twin = next((g for g in found[1:] if g[0].isalpha() and _is_simplified(g[0])), None)
        if twin and not twin[0].isascii() and twin[1] * 10 >= found[0][1]:
            found = [twin, *(other for other in found if other != twin)]
    return tuple(found)


def _is_simplified(character: str) -> bool:
    """GB 2312 holds the simplified ideographs; what is no ideograph passes."""
    if not "\u4e00" <= character <= "\u9fff":
        return True
    try:
        return bool(character.encode("gb2312"))
    except UnicodeEncodeError:
        return False


def read_quantities(crops: Sequence[Pixels]) -> list[Number]:
    """Read each crop as xN with N in 1-12, and nothing else.

    All twelve are scored under the whole posterior, so a doubtful stroke is decided by what can
    stand there at all. `value` is None where the plain reading is a number that contradicts.
    """
    model = recogniser()
    words = [f"{sign}{number}" for number in QUANTITIES for sign in ("x", "X", "×", "")]
    labels = [[model.index[character] for character in word] for word in words]
    return [_quantity(each, labels, model.characters) for each in posteriors(crops)]


def _quantity(
    posterior: Posterior, labels: Sequence[Sequence[int]], characters: Sequence[str]
) -> Number:
    line = _line(posterior, characters)
    plain = "".join(c for c in line.text if c.isdecimal())
    if len(line.text) - len(plain) == 1 and line.confidence > 0.99 and plain in SURE:
        return Number(int(plain), line.confidence)  # the other eleven share what is left
    scores = np.array([ctc_probability(posterior, label) for label in labels])
    shares = scores.reshape(len(QUANTITIES), -1).sum(axis=1)
    best = int(shares.argmax())
    certainty = float(shares[best] / shares.sum()) if shares.sum() > 0 else 0.0
    if plain and plain.lstrip("0") != str(QUANTITIES[best]) and len(plain) <= 2:
        return Number(None, round(1 - certainty, 4))
    return Number(QUANTITIES[best], round(certainty, 4))


def read_numbers(crops: Sequence[Pixels]) -> list[Number]:
    """Read each crop as a positive whole number: best path over the digits alone."""
    model = recogniser()
    digits = [0, *(model.index[digit] for digit in "0123456789")]
    return [_number(posterior[:, digits]) for posterior in posteriors(crops)]


def _number(posterior: Posterior) -> Number:
    line = _line(posterior, ("", *"0123456789"))
    # Where a frame's digits and blank hold little of the posterior, something else stands there.
    certainty = line.confidence if line.text else 0.0
    value = int(line.text) if line.text and int(line.text) > 0 else None
    return Number(value, certainty)
