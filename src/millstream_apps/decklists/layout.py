"""Where things are in a screenshot of a deck: colour and geometry, no text.

Nothing here is an absolute place. The boxes' colour is found as the flat colour that makes most
rectangles of a card box's shape; their width gives the scale; all else is measured from them on
a picture resized to `BOX_WIDTH`, in what is called canonical pixels below.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Span = tuple[int, int]
Colour = tuple[int, int, int]

# Canonical pixels, as on a screen 1080 wide. The mini-program's unit is 1/750 of the width.
BOX_WIDTH, BOX_HEIGHT = 439, 137
COLUMN_PITCH = 453
ROW_GAP = 28
RIBBON_HEIGHT = 82
DISC_CENTRE, DISC_RADIUS = 65, 42

TOLERANCE = 9  # per channel: JPEG noise at quality 40 stays within, box and panel differ by 19-26
INK = 40  # per channel: text differs from what is under it by 80 and more
PLENTY = 6  # so many shapes of one colour settle that it is the boxes
FULL = 4  # how much a whole box's height may differ from the usual one


@dataclass(frozen=True, slots=True)
class Rect:
    """Half-open: x0 <= x < x1, y0 <= y < y1, canonical pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    def crop(self, rgb: Pixels) -> Pixels:
        """The pixels inside, clipped to the picture."""
        return rgb[max(0, self.y0) : max(0, self.y1), max(0, self.x0) : max(0, self.x1)]

    def grown(self, by: int) -> "Rect":
        """The same with a margin on every side."""
        return Rect(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)


@dataclass(frozen=True, slots=True)
class Box:
    """What is visible of one card box. `top` is where the whole box starts, seen or not."""

    area: Rect
    top: int
    height: int
    cut_above: bool = False
    cut_below: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Boxes side by side. `ribbon` is the heading just above; `follows` says that the row
    stands at the usual distance below the one before it."""

    boxes: tuple[Box, ...]
    ribbon: Rect | None
    follows: bool

    @property
    def y0(self) -> int:
        """Where the row's visible part starts."""
        return min(box.area.y0 for box in self.boxes)

    @property
    def y1(self) -> int:
        """Where the row's visible part ends."""
        return max(box.area.y1 for box in self.boxes)


@dataclass(frozen=True, slots=True)
class Page:
    """A picture in canonical pixels, with its card boxes. `left` is the first column's x."""

    rgb: Pixels
    scale: float
    left: int
    fill: Colour
    background: Colour
    rows: tuple[Row, ...]


def distance(rgb: Pixels, colour: Colour | Pixels) -> Pixels:
    """The largest channel's difference to a colour; one value a pixel."""
    if not rgb.size:
        return np.zeros(rgb.shape[:2], np.uint8)
    return cv2.absdiff(rgb, np.broadcast_to(np.asarray(colour, np.uint8), rgb.shape)).max(axis=2)


def spans(mask: object, gap: int = 0, least: int = 1) -> list[Span]:
    """The runs of True in a line, joined over gaps up to `gap`, if at least `least` long."""
    edges = np.flatnonzero(np.diff(np.asarray(mask, np.int8), prepend=0, append=0))
    joined: list[Span] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [span for span in joined if span[1] - span[0] >= least]


def find_page(rgb: Pixels) -> Page | None:
    """Find the card boxes of an RGB picture (height, width, 3); None where there are none."""
    found = _card_shapes(rgb)
    if found is None:
        return None
    fill, shapes = found
    scale = float(np.median(shapes[:, 2])) / BOX_WIDTH
    if abs(scale - 1) > 0.003:
        # Area averaging does not alias when shrinking; cubic keeps strokes crisp when growing.
        how = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        size = (round(rgb.shape[1] / scale), round(rgb.shape[0] / scale))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)
        shapes = shapes / scale
    left = round(float(np.median(shapes[shapes[:, 0] < shapes[:, 0].min() + BOX_WIDTH / 2, 0])))
    return _measured(rgb, scale, left, fill)


def _measured(rgb: Pixels, scale: float, left: int, fill: Colour) -> Page | None:
    columns = (left, left + COLUMN_PITCH)
    boxes = [box for x0 in columns for box in _boxes(rgb, x0, fill)]
    if not boxes:
        return None
    background = _background(rgb, left, boxes)
    rows = _rows(rgb, left, (background, fill), boxes)
    return Page(rgb, scale, left, fill, background, rows)


def _card_shapes(rgb: Pixels) -> tuple[Colour, NDArray[np.float64]] | None:
    """The boxes' colour, and x, y, width, height of those that are whole, in source pixels."""
    step = max(1, rgb.shape[1] // 540)
    small = np.ascontiguousarray(rgb[::step, ::step])
    best, most = None, 0
    for colour in _modes(small):
        count = len(_rectangles(small, colour))
        if count > most:
            best, most = colour, count
        if most >= PLENTY:
            break
    if best is None:
        return None
    shapes = _rectangles(rgb, best)
    return (best, shapes) if len(shapes) else None


def _modes(rgb: Pixels, most: int = 14) -> list[Colour]:
    """The picture's commonest colours, commonest first."""
    pixels = rgb[::2, ::2].reshape(-1, 3)
    bins = (pixels >> 3).astype(np.int32) @ np.array([1024, 32, 1], np.int32)
    counts = np.bincount(bins, minlength=32768)
    common = [int(b) for b in np.argsort(counts)[::-1][:most] if counts[b] > len(bins) / 1000]
    medians = (np.median(pixels[bins == b], axis=0) for b in common)
    return [(int(r), int(g), int(b)) for r, g, b in medians]


def _rectangles(rgb: Pixels, colour: Colour) -> NDArray[np.float64]:
    """Connected areas of a colour that have a card box's shape and are mostly filled."""
    low, high = np.array(colour) - TOLERANCE, np.array(colour) + TOLERANCE
    mask = cv2.inRange(rgb, low.clip(0, 255), high.clip(0, 255))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    shapes = stats[1:].astype(np.float64)
    width, height, area = shapes[:, 2], shapes[:, 3], shapes[:, 4]
    aspect = width / height / (BOX_WIDTH / BOX_HEIGHT)
    fits = (width > 0.15 * rgb.shape[1]) & (width < 0.55 * rgb.shape[1])
    fits &= (aspect > 0.9) & (aspect < 1.12) & (area > 0.5 * width * height)
    return shapes[fits][:, :4]


def _boxes(rgb: Pixels, x0: int, fill: Colour) -> list[Box]:
    """The boxes of one column, from the strip of plain fill at their left edge."""
    strip = rgb[:, x0 + 4 : x0 + 14]
    if not strip.size:
        return []
    runs = spans((distance(strip, fill) <= TOLERANCE).mean(axis=1) > 0.6, gap=1, least=30)
    whole = [end - start for start, end in runs if abs(end - start - BOX_HEIGHT) <= 2 * FULL]
    height = round(float(np.median(whole))) if whole else BOX_HEIGHT
    return [box for run in runs for box in _split(rgb, x0, run, height, fill)]


def _split(rgb: Pixels, x0: int, run: Span, height: int, fill: Colour) -> list[Box]:
    """One run of fill is one box, or the piece of one that an edge or a seam leaves, or two
    pieces that touch at a seam: the lower part of one box under the upper part of another."""
    start, end = run
    if abs(end - start - height) <= FULL:
        whole = Box(Rect(x0, start, x0 + BOX_WIDTH, end), start, height)
        return [whole] if _disc_rows(rgb, x0, start, run, height, fill).mean() > 0.75 else []
    above = _disc_rows(rgb, x0, start, run, height, fill)
    below = _disc_rows(rgb, x0, end - height, run, height, fill)
    # The seam is where trusting the upper box up to it and the lower one from it fits best.
    upto = np.concatenate(([0.0], np.cumsum(above - below)))
    seam = start + int(upto.argmax())
    pieces = [
        (Box(Rect(x0, start, x0 + BOX_WIDTH, seam), start, height, cut_below=True), above),
        (Box(Rect(x0, seam, x0 + BOX_WIDTH, end), end - height, height, cut_above=True), below),
    ]
    return [box for box, fit in pieces if _is_piece(box, fit[box.area.y0 - start :])]


def _is_piece(box: Box, fit: NDArray[np.float64]) -> bool:
    tall = box.area.y1 - box.area.y0
    return 30 <= tall <= box.height and bool(fit[:tall].mean() > 0.75)


def _disc_rows(
    rgb: Pixels, x0: int, top: int, run: Span, height: int, fill: Colour
) -> NDArray[np.float64]:
    """For each row of a run, how well it shows the round icon of a box that starts at `top`.

    Just inside the disc's rim there is no fill, just outside there is; what the disc holds is of
    no account. 0 for rows that such a box does not reach.
    """
    strip = rgb[run[0] : run[1], x0 + 8 : x0 + 2 * DISC_CENTRE - 8]
    filled = distance(strip, fill) <= TOLERANCE
    y, x = np.mgrid[run[0] : run[1], 8 - DISC_CENTRE : DISC_CENTRE - 8][:, :, : filled.shape[1]]
    radius = np.hypot(y - (top + height / 2), x)
    rim = (radius > DISC_RADIUS - 8) & (radius < DISC_RADIUS - 2)
    ground = (radius > DISC_RADIUS + 3) & (radius < DISC_RADIUS + 40)
    right = (rim & ~filled) | (ground & filled)
    judged = (rim | ground).sum(axis=1)
    fits = right.sum(axis=1) / np.maximum(judged, 1)
    reached = (y[:, 0] >= top) & (y[:, 0] < top + height)
    return np.where(reached & (judged > 0), fits, 0.0)


def _background(rgb: Pixels, left: int, boxes: list[Box]) -> Colour:
    """The panel's colour, seen between the two columns."""
    between = rgb[:, left + BOX_WIDTH + 4 : left + COLUMN_PITCH - 4]
    seen = np.concatenate([between[box.area.y0 : box.area.y1].reshape(-1, 3) for box in boxes])
    r, g, b = np.median(seen, axis=0) if len(seen) else (0, 0, 0)
    return int(r), int(g), int(b)


def _rows(rgb: Pixels, left: int, colours: Sequence[Colour], boxes: list[Box]) -> tuple[Row, ...]:
    """Boxes in rows, and what stands above each; `colours` are all that is no heading."""
    rows: list[Row] = []
    for beside in _side_by_side(boxes):
        first = beside[0]
        previous = rows[-1].y1 if rows else -10_000
        follows = abs(first.area.y0 - previous - ROW_GAP) <= 5 and not first.cut_above
        ribbon = None if follows or first.cut_above else _ribbon(rgb, left, colours, first.top)
        rows.append(Row(beside, ribbon, follows))
    return tuple(rows)


def _side_by_side(boxes: list[Box]) -> list[tuple[Box, ...]]:
    groups: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: (box.area.y0, box.area.x0)):
        if groups and abs(groups[-1][0].top - box.top) <= FULL:
            groups[-1].append(box)
        else:
            groups.append([box])
    return [tuple(sorted(group, key=lambda box: box.area.x0)) for group in groups]


def _ribbon(rgb: Pixels, left: int, others: Sequence[Colour], top: int) -> Rect | None:
    """The heading's band above a row of boxes, if there is one: of none of the other colours."""
    start = max(0, top - ROW_GAP - RIBBON_HEIGHT - 24)
    strip = rgb[start : max(0, top - ROW_GAP // 2), left + 24 : left + 38]
    if strip.shape[0] < RIBBON_HEIGHT // 2:
        return None
    apart = np.min([distance(strip, colour) for colour in others], axis=0) > 12
    runs = spans(apart.mean(axis=1) > 0.7, gap=2, least=40)
    if not runs:
        return None
    y0, y1 = start + runs[-1][0], start + runs[-1][1]
    # At a seam the rest of another heading may stand there, too short or at another distance.
    tall = abs(y1 - y0 - RIBBON_HEIGHT) <= 12 or (y0 == 0 and y1 - y0 < RIBBON_HEIGHT)
    placed = abs(top - y1 - ROW_GAP) <= 8
    return Rect(left + 2, y0, left + 300, y1) if tall and placed else None
