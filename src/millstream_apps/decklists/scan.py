"""A picture's bytes in, what is written on it out. All decoding and reading happens here.

A `Scan` is plain values: it pickles, and passes through JSON unchanged. It holds no judgement on
which cards are meant; that is `assemble`'s, which needs no picture any more.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from millstream_apps.decklists.header import HeaderAreas, find_header
from millstream_apps.decklists.layout import (
    BOX_WIDTH,
    INK,
    Box,
    Page,
    Rect,
    distance,
    find_page,
    spans,
)
from millstream_apps.decklists.picture import BadPicture, NotADeck, decode, validate
from millstream_apps.decklists.reading import (
    Line,
    Number,
    read_lines,
    read_numbers,
    read_phrases,
    read_quantities,
)

__all__ = ["BadPicture", "Cell", "NotADeck", "Scan", "ScanRow", "scan", "validate"]

# Within a box, canonical pixels from its left edge and top. Its height is about 137.
TEXT_X, TEXT_RIGHT = 112, 434
CORNER_X, CORNER_Y = 342, 86  # the quantity's corner: right of and below this
NAME_TOP, SUBTITLE_BOTTOM, QUANTITY_BOTTOM = 18, 120, 126
MARGIN = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """One card box. `quantity` None: there is a number but it cannot be told which.

    `whole_name` and `whole_quantity` say whether the part of the box that would show them is in
    the picture; where it is not, nothing is known of what stands there.
    """

    lines: tuple[Line, ...]
    quantity: int | None
    whole_name: bool = True
    whole_quantity: bool = True


@dataclass(frozen=True, slots=True)
class ScanRow:
    """Up to two boxes side by side, under the `heading` line that stands just above, if any.

    `follows`: at the usual distance below the row before it, so surely of the same section.
    """

    cells: tuple[Cell, ...]
    heading: Line | None
    follows: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """Everything read from one picture. `sha256` is of the picture's bytes, in hexadecimal."""

    sha256: str
    width: int
    height: int
    title: tuple[Line, ...]
    details: tuple[Line, ...]
    player: tuple[Line, ...]
    rank: int | None
    rows: tuple[ScanRow, ...]


def scan(picture: bytes) -> Scan:
    """Read a screenshot of a deck. Raises BadPicture, or NotADeck where none is found in it."""
    rgb = decode(picture)
    page = find_page(rgb)
    if page is None:
        raise NotADeck("No deck was found in the picture: it shows no card list")
    areas = find_header(page)
    rows = _read_rows(page)
    if not any(row.heading and row.heading.text for row in rows) and _text_count(rows) < 2:
        raise NotADeck("No deck was found in the picture: no section and no cards can be read")
    title, details, player = _read_header(page, areas)
    rank = read_numbers([areas.rank.crop(page.rgb)])[0] if areas.rank else Number(None, 0.0)
    return Scan(
        sha256=hashlib.sha256(picture).hexdigest(),
        width=rgb.shape[1],
        height=rgb.shape[0],
        title=title,
        details=details,
        player=player,
        rank=rank.value if rank.certainty >= 0.5 else None,
        rows=rows,
    )


def _read_header(page: Page, areas: HeaderAreas) -> tuple[tuple[Line, ...], ...]:
    fields = (areas.title, areas.details, areas.player)
    lines = iter(read_phrases([rect.crop(page.rgb) for rects in fields for rect in rects]))
    return tuple(tuple(next(lines) for _ in rects) for rects in fields)


def _read_rows(page: Page) -> tuple[ScanRow, ...]:
    """Read all headings, names and quantities, each kind in one batch."""
    boxes = [box for row in page.rows for box in row.boxes]
    texts = [_text_lines(page, box) for box in boxes]
    corners = [_quantity_ink(page, box) for box in boxes]
    headings = [_heading_ink(page, row.ribbon) if row.ribbon else None for row in page.rows]
    crops = [rect.crop(page.rgb) for rects in texts for rect in rects]
    crops += [rect.crop(page.rgb) for rect in headings if rect]
    lines = iter(read_lines(crops))
    names = [tuple(next(lines) for _ in rects) for rects in texts]
    titles = [next(lines) if rect else None for rect in headings]
    numbers = iter(read_quantities([rect.crop(page.rgb) for rect in corners if rect]))
    quantities = [next(numbers) if rect else Number(1, 1.0) for rect in corners]
    cells = iter(map(_cell, boxes, names, quantities))
    return tuple(
        ScanRow(tuple(next(cells) for _ in row.boxes), title, row.follows)
        for row, title in zip(page.rows, titles, strict=True)
    )


def _cell(box: Box, lines: tuple[Line, ...], number: Number) -> Cell:
    first, last = box.area.y0 - box.top, box.area.y1 - box.top
    return Cell(
        lines=tuple(line for line in lines if line.text),
        quantity=number.value if number.certainty >= 0.6 else None,
        whole_name=first <= NAME_TOP and last >= SUBTITLE_BOTTOM,
        whole_quantity=first <= CORNER_Y and last >= QUANTITY_BOTTOM,
    )


def _text_count(rows: tuple[ScanRow, ...]) -> int:
    return sum(bool(cell.lines) for row in rows for cell in row.cells)


def _text_lines(page: Page, box: Box) -> list[Rect]:
    """The name's line and, below it, the subtitle's; without lines that the picture cuts."""
    x0, y0 = box.area.x0 + TEXT_X, box.area.y0
    inside = Rect(x0, y0 + 2, x0 + TEXT_RIGHT - TEXT_X, box.area.y1 - 2).crop(page.rgb)
    ink = distance(inside, page.fill) > INK
    ink[max(0, box.top + CORNER_Y - y0 - 2) :, CORNER_X - TEXT_X :] = False
    bands = spans((ink.sum(axis=1) > 1), gap=7, least=3)
    rects: list[Rect] = []
    for top, bottom in bands:
        cut = (box.cut_above and top < 3) or (box.cut_below and bottom > len(ink) - 3)
        xs = spans(ink[top:bottom].any(axis=0), gap=BOX_WIDTH)
        if xs and not cut and bottom - top >= 16:
            left, right = xs[0]
            rects.append(Rect(x0 + left, y0 + 2 + top, x0 + right, y0 + 2 + bottom).grown(MARGIN))
    return rects


def _quantity_ink(page: Page, box: Box) -> Rect | None:
    """The ink in the box's lower right corner; None where there is none, which means one copy."""
    x0, y0 = box.area.x0 + CORNER_X, max(box.area.y0, box.top + CORNER_Y)
    inside = Rect(x0, y0, box.area.x0 + BOX_WIDTH - 3, box.area.y1 - 3).crop(page.rgb)
    if not inside.size:
        return None
    ink = distance(inside, page.fill) > INK
    rows, columns = spans(ink.any(axis=1), gap=6, least=8), spans(ink.any(axis=0), gap=16, least=8)
    if not rows or not columns:
        return None
    # The number is the rightmost; a very long name may reach into the corner from the left.
    (top, bottom), (left, right) = rows[-1], columns[-1]
    return Rect(x0 + left, y0 + top, x0 + right, y0 + bottom).grown(MARGIN)


def _heading_ink(page: Page, ribbon: Rect) -> Rect | None:
    """The heading's letters, much brighter than the speckled ribbon under them."""
    start = ribbon.x0 + 34
    inside = Rect(start, ribbon.y0 + 4, ribbon.x1, ribbon.y1 - 4).crop(page.rgb)
    grey = inside.mean(axis=2)
    ink = grey > (float(np.median(grey)) + float(grey.max())) / 2
    rows, columns = spans(ink.any(axis=1), gap=12, least=14), spans(ink.any(axis=0), gap=40)
    if not rows or not columns:
        return None
    (top, bottom), (left, right) = rows[0], columns[0]
    y0 = ribbon.y0 + 4
    return Rect(start + left, y0 + top, start + right, y0 + bottom).grown(8)
