"""Where the header's fields are: title, event, date, player, rank badge. Geometry, no text.

The header hangs together from below: player, divider and domain icons keep their distance to
its lower edge, and what may wrap (event, then title) grows upwards. So it is read upwards.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.decklists.layout import INK, Page, Pixels, Rect, Span, distance, spans

# Canonical pixels: x on the page (its first box column starts at 94), y above the lower edge.
COLUMN = 94
CONTENT = (44, 1042)
BADGE_LEFT = 905
ICON_RIGHT = 84
PLAYER_X, PLAYER_Y = (142, 788), (140, 36)
DOMAINS_Y = (298, 214)
LINE_GAP = 26  # between the lines of one wrapped field; fields are 45 and more apart
TITLE_REACH = 125  # a title ends at most so far above the event
MARGIN = 7
TITLE_SIZE, DETAIL_SIZE, PLAYER_SIZE = 48, 30, 35  # of type


@dataclass(frozen=True, slots=True)
class HeaderAreas:
    """Lines of each field from top to bottom; empty or None where there is none.

    `details` are the lines of the row that holds event and date, left part first.
    """

    title: tuple[Rect, ...] = ()
    details: tuple[Rect, ...] = ()
    player: tuple[Rect, ...] = ()
    rank: Rect | None = None


@dataclass(frozen=True, slots=True)
class _Ink:
    """The header's pixels that differ from their row's own colour."""

    strength: Pixels
    shift: int
    marks: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", self.strength > INK)

    def bands(self, ys: Span, xs: Span, gap: int = 3, least: int = 12) -> list[Span]:
        """Runs of rows with ink, as absolute y."""
        part = self.marks[max(0, ys[0]) : max(0, ys[1]), self._x(xs[0]) : self._x(xs[1])]
        found = spans(part.sum(axis=1) > 1, gap, least) if part.size else []
        return [(max(0, ys[0]) + a, max(0, ys[0]) + b) for a, b in found]

    def extents(self, ys: Span, xs: Span, gap: int) -> list[Span]:
        """Runs of columns with ink, as page x."""
        part = self.marks[ys[0] : ys[1], self._x(xs[0]) : self._x(xs[1])]
        return [(xs[0] + a, xs[0] + b) for a, b in spans(part.any(axis=0), gap)]

    def line(self, ys: Span, xs: Span, size: int) -> Rect | None:
        """The rectangle around a line's ink, with a margin, in the picture's pixels.

        At least as high as the field's type: cut to its ink, an x is an X and a dash a block.
        """
        found = self.extents(ys, xs, gap=10_000)
        if not found:
            return None
        (x0, x1), (y0, y1) = found[0], ys
        lacking = max(0, size - (y1 - y0))
        y0, y1 = y0 - (lacking + 1) // 2, y1 + lacking // 2
        return Rect(self._x(x0), y0, self._x(x1), y1).grown(MARGIN)

    def lines(self, ys: Span, xs: Span, size: int) -> list[Span]:
        """The rows of each line of text of a given size; flat letters (三) are one line."""
        found: list[Span] = []
        for y0, y1 in self.bands(ys, xs, gap=size // 4, least=3):
            if found and y0 - found[-1][1] < 0.8 * size and y1 - found[-1][0] <= size:
                found[-1] = (found[-1][0], y1)
            else:
                found.append((y0, y1))
        return found

    def _x(self, x: int) -> int:
        return max(0, x + self.shift)


def find_header(page: Page) -> HeaderAreas:
    """Find the header's fields above the first section; all empty where it is not shown."""
    bottom = _lower_edge(page)
    if bottom is None or bottom < 60:
        return HeaderAreas()
    rgb = page.rgb[:bottom]
    shift = page.left - COLUMN
    # The left margin is empty on every row; rows differ, since the top fades into the status bar.
    margin = rgb[:, max(0, shift + 2) : max(8, shift + 34)]
    colours = np.median(margin, axis=1).astype(np.uint8)[:, None]
    ink = _Ink(distance(rgb, np.broadcast_to(colours, rgb.shape)), shift)
    badge = _badge(ink, bottom)
    details = _details(ink, bottom)
    return HeaderAreas(
        title=_title(ink, details, bottom, badge),
        details=_detail_lines(ink, details, badge) if details else (),
        player=_player(ink, bottom),
        rank=_rank(rgb, badge) if badge else None,
    )


def _lower_edge(page: Page) -> int | None:
    """Where the header's colour gives way to the page's, going up from the first heading."""
    first = page.rows[0]
    start = first.ribbon.y0 if first.ribbon else first.y0
    margin = page.rgb[:start, max(0, page.left - 84) : max(2, page.left - 60)]
    other = (distance(margin, page.background) > 12).mean(axis=1) > 0.8
    runs = spans(other, gap=2, least=8)
    return runs[-1][1] if runs and start - runs[-1][1] < 420 else None


def _player(ink: _Ink, bottom: int) -> tuple[Rect, ...]:
    ys = (bottom - PLAYER_Y[0], bottom - PLAYER_Y[1])
    bands = ink.lines(ys, (PLAYER_X[0] + 6, PLAYER_X[1]), PLAYER_SIZE)
    lines = (ink.line(band, PLAYER_X, PLAYER_SIZE) for band in bands)
    return tuple(line for line in lines if line)


def _details(ink: _Ink, bottom: int) -> Span | None:
    """The rows of event and date: just above the domain icons, led by an icon of their own."""
    ceiling = 0
    floor = bottom - DOMAINS_Y[0]
    bands = ink.bands((ceiling, floor), (ICON_RIGHT + 4, BADGE_LEFT - 6))
    if not bands or floor - bands[-1][1] > 110:
        return None
    start, end = bands[-1]
    for above, below in reversed(bands[:-1]):
        if start - below > LINE_GAP:
            break
        start = above
    return (start, end) if _has_icon(ink, (start, end)) else None


def _has_icon(ink: _Ink, ys: Span) -> bool:
    """Text starts where the title starts; the event starts behind an icon 28 wide and a gap."""
    for y0, y1 in ink.bands((ys[0] - 6, ys[1] + 6), (CONTENT[0], ICON_RIGHT), least=18):
        columns = ink.extents((y0, y1), (CONTENT[0], ICON_RIGHT + 2), gap=4)
        if len(columns) == 1 and 18 <= columns[0][1] - columns[0][0] <= 36:
            return True
    return False


def _detail_lines(ink: _Ink, ys: Span, badge: Rect | None) -> tuple[Rect, ...]:
    right = BADGE_LEFT - 6 if badge and badge.y1 > ys[0] else CONTENT[1]
    divider = _divider(ink, ys, (ICON_RIGHT, right))
    parts = [(ICON_RIGHT, right)] if divider is None else _parted(ink, ys, divider, right)
    lines: list[Rect | None] = []
    for xs in parts:
        lines += [ink.line(band, xs, DETAIL_SIZE) for band in ink.lines(ys, xs, DETAIL_SIZE)]
    return tuple(line for line in lines if line)


def _parted(ink: _Ink, ys: Span, divider: Span, right: int) -> list[Span]:
    """What is left of the divider, and what is right of the clock behind it."""
    rest = ink.extents(ys, (divider[1] + 6, right), gap=8)
    clock = rest[0][1] + 4 if rest and rest[0][1] - rest[0][0] <= 40 else divider[1] + 6
    return [(ICON_RIGHT, divider[0] - 4), (clock, right)]


def _divider(ink: _Ink, ys: Span, xs: Span) -> Span | None:
    """A faint upright stroke with nothing beside it. Fainter than text, so looked for itself."""
    part = ink.strength[ys[0] : ys[1], ink._x(xs[0]) : ink._x(xs[1])]
    faint = part > 13
    for start, end in spans((faint.sum(axis=0) > 24), gap=1):
        around = np.concatenate(
            [part[:, max(0, start - 14) : max(0, start - 3)], part[:, end + 3 : end + 14]], axis=1
        )
        if end - start <= 6 and not (around > INK).any():
            return xs[0] + start, xs[0] + end
    return None


def _title(ink: _Ink, details: Span | None, bottom: int, badge: Rect | None) -> tuple[Rect, ...]:
    floor = details[0] - 8 if details else bottom - DOMAINS_Y[0]
    xs = (CONTENT[0], BADGE_LEFT - 6 if badge else CONTENT[1])
    found = ink.lines((0, floor), xs, TITLE_SIZE)
    bands = [band for band in found if not _is_navigation(ink, band)]
    lines: list[Rect] = []
    reach = floor - TITLE_REACH
    for y0, y1 in reversed(bands):
        line = ink.line((y0, y1), xs, TITLE_SIZE)
        if y1 < reach or y0 <= 1 or line is None:  # at y 0 the picture cuts it
            break
        lines.insert(0, line)
        reach = y0 - LINE_GAP - 8
    return tuple(lines)


def _is_navigation(ink: _Ink, ys: Span) -> bool:
    """The mini-program's bar: a wide, filled capsule at the right end."""
    capsule = ink.marks[ys[0] : ys[1], ink._x(800) : ink._x(1040)]
    return bool(capsule.size and capsule.mean() > 0.5)


def _badge(ink: _Ink, bottom: int) -> Rect | None:
    """The rank's flag at the right: about 98 x 112, nearly filled."""
    x0 = ink._x(BADGE_LEFT - 20)
    part = ink.marks[: max(0, bottom - DOMAINS_Y[0]), x0 : ink._x(CONTENT[1])]
    if not part.size:
        return None
    _, _, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=8)
    for x, y, width, height, area in stats[1:].tolist():
        if 80 <= width <= 118 and 80 <= height <= 130 and area > 0.55 * width * height:
            return Rect(x0 + x, y, x0 + x + width, y + height)
    return None


def _rank(rgb: Pixels, badge: Rect) -> Rect | None:
    """The number's line in the flag's upper half, from what differs from the flag's colour."""
    inside = Rect(badge.x0 + 6, badge.y0 + 8, badge.x1 - 6, badge.y0 + 66)
    pixels = inside.crop(rgb)
    marks = distance(pixels, np.median(pixels.reshape(-1, 3), axis=0).astype(np.uint8)) > INK
    rows = spans(marks.any(axis=1), gap=2, least=14)
    if not rows:
        return None
    y0, y1 = rows[0]
    columns = spans(marks[y0:y1].any(axis=0), gap=1000)
    x0, x1 = columns[0]
    return Rect(inside.x0 + x0, inside.y0 + y0, inside.x0 + x1, inside.y0 + y1).grown(MARGIN)
