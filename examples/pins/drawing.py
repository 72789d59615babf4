"""Draws pins: a shape of metal, an enamelled field, an emblem, small charges, a ribbon with
letters.

`draw(number)` is pin `number`; the same number gives the same picture. What it returns is RGBA,
`SIDE` pixels square, transparent around the pin. Knows nothing of how pins are recognised.
"""

import colorsys
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]
Rgba = NDArray[Any]

SIDE = 384
GRAIN = 2  # drawn this many times larger, then reduced
SHAPES = ("disc", "oval", "square", "shield", "hexagon", "octagon", "heart", "star", "drop",
          "lozenge", "cloud", "pennant")  # fmt: skip
FIELDS = ("plain", "halves", "quarters", "stripes", "rays", "rings", "dots", "waves")
EMBLEMS = ("star", "moon", "sun", "leaf", "bolt", "anchor", "key", "fish", "bird", "cat", "tree",
           "mountain", "boat", "crown", "flower", "rocket", "cup", "mushroom")  # fmt: skip
METALS: tuple[Colour, ...] = ((212, 175, 55), (192, 192, 198), (184, 115, 51), (60, 60, 66))
CHARGES = ("star", "disc", "lozenge", "ring", "triangle")


@dataclass(frozen=True)
class Pin:
    """What is drawn. Colours are RGB; `turn` in degrees; `charges` how many, `letters` a word."""

    shape: str
    field: str
    emblem: str
    metal: Colour
    ground: Colour
    second: Colour
    accent: Colour
    charge: str
    charges: int
    turn: float
    letters: str
    flip: bool = False


def pin(number: int) -> Pin:
    """Pin `number`: any whole number from 0 up."""
    rng = np.random.default_rng((20261120, number))
    hue = rng.random()
    return Pin(
        shape=str(rng.choice(SHAPES)),
        field=str(rng.choice(FIELDS)),
        emblem=str(rng.choice(EMBLEMS)),
        metal=METALS[int(rng.integers(len(METALS)))],
        ground=_colour(hue, 0.75, 0.45 + 0.4 * rng.random()),
        second=_colour(hue + 0.12 + 0.3 * rng.random(), 0.65, 0.5 + 0.45 * rng.random()),
        accent=_colour(hue + 0.4 + 0.2 * rng.random(), 0.5 * rng.random(), 0.95),
        charge=str(rng.choice(CHARGES)),
        charges=int(rng.integers(0, 9)),
        turn=float(rng.uniform(-25, 25)),
        letters="".join(rng.choice(list("ABDEFGHJKLMNPRSTUVXYZ"), int(rng.integers(0, 6)))),
        flip=bool(rng.integers(2)),
    )


def draw(number: int) -> Rgba:
    """The front of pin `number`."""
    return render(pin(number))


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def recoloured(number: int, shift: float = 0.33) -> Rgba:
    """The same drawing in other enamel: hues turned by `shift` of the circle."""
    original = pin(number)

    def turned(colour: Colour) -> Colour:
        hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
        return _colour(hue + shift, saturation, value)

    return render(
        replace(
            original,
            ground=turned(original.ground),
            second=turned(original.second),
            accent=turned(original.accent),
        )
    )


def render(what: Pin) -> Rgba:
    """RGBA (SIDE, SIDE, 4) of a description."""
    size = SIDE * GRAIN
    rim = _layer(size, _shape(what.shape, 0.94), what.metal)
    inner = Image.new("L", (size, size))
    ImageDraw.Draw(inner).polygon(_scaled(_shape(what.shape, 0.85), size), fill=255)
    enamel = Image.new("RGBA", (size, size), (*what.ground, 255))
    pen = ImageDraw.Draw(enamel)
    _fill_field(pen, what, size)
    _put_charges(pen, what, size)
    _put_emblem(enamel, what, size)
    _put_letters(pen, what, size)
    rim.paste(enamel, (0, 0), inner)
    edge = inner.filter(ImageFilter.FIND_EDGES).filter(ImageFilter.MaxFilter(5))
    rim.paste(Image.new("RGBA", (size, size), (*_darker(what.metal), 255)), (0, 0), edge)
    return np.asarray(rim.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def draw_back(maker: int) -> Rgba:
    """The back of every pin of one maker: a stamped pattern, two posts, a maker's mark."""
    rng = np.random.default_rng((51, maker))
    size = SIDE * GRAIN
    metal = METALS[maker % len(METALS)]
    plate = Image.new("RGBA", (size, size), (*metal, 255))
    pen = ImageDraw.Draw(plate)
    mark, step = str(rng.choice(CHARGES)), float(rng.uniform(0.08, 0.14))
    for row in np.arange(step, 1, step):
        for column in np.arange(step, 1, step):
            points = _charge(mark, float(column), float(row), step * 0.36)
            pen.polygon(_scaled(points, size), fill=(*_darker(metal), 255))
    for x in (0.3, 0.7):
        pen.ellipse(_box(x, 0.5, 0.07, size), fill=(230, 230, 232, 255), outline=(40, 40, 40, 255))
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVWXYZ"), 4)) + str(maker)
    pen.rectangle([size * 0.3, size * 0.68, size * 0.7, size * 0.8], fill=(*metal, 255))
    _write(pen, letters, 0.5, 0.74, 0.09, size, (30, 30, 34))
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).polygon(_scaled(_shape("disc", 0.94), size), fill=255)
    plate.putalpha(mask)
    return np.asarray(plate.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _darker(colour: Colour, factor: float = 0.55) -> Colour:
    red, green, blue = (round(part * factor) for part in colour)
    return red, green, blue


def _layer(size: int, points: Points, colour: Colour) -> Image.Image:
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).polygon(_scaled(points, size), fill=255)
    layer = Image.new("RGBA", (size, size), (*colour, 255))
    layer.putalpha(mask)
    return layer


def _scaled(points: Iterable[tuple[float, float]], size: int) -> Points:
    return [(x * size, y * size) for x, y in points]


def _box(x: float, y: float, radius: float, size: int) -> list[float]:
    return [(x - radius) * size, (y - radius) * size, (x + radius) * size, (y + radius) * size]


def _polar(radius_at: list[float], scale: float) -> Points:
    """Points around the middle, clockwise from the top, at given radii (1 reaches the frame)."""
    count = len(radius_at)
    angles = [2 * math.pi * at / count - math.pi / 2 for at in range(count)]
    return [
        (0.5 + 0.5 * scale * r * math.cos(a), 0.5 + 0.5 * scale * r * math.sin(a))
        for r, a in zip(radius_at, angles, strict=True)
    ]


def _shape(name: str, scale: float) -> Points:
    """The outline of a pin in the unit square."""
    regular = {"disc": 96, "hexagon": 6, "octagon": 8, "lozenge": 4}
    if name in regular:
        return _polar([1.0] * regular[name], scale)
    if name == "star":
        return _polar([1.0, 0.62] * 7, scale)
    if name == "cloud":
        return _polar([0.86 + 0.12 * abs(math.cos(3 * math.pi * k / 96)) for k in range(96)], scale)
    if name == "oval":
        return [(x, 0.5 + (y - 0.5) * 0.74) for x, y in _polar([1.0] * 96, scale)]
    if name == "heart":
        return [_heart(2 * math.pi * k / 96, scale) for k in range(96)]
    if name == "drop":
        ring = _polar([1.0] * 96, scale * 0.76)
        return [(0.5, 0.5 - 0.5 * scale), *((x, y + 0.1) for x, y in ring[12:-11])]
    corners = {
        "square": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
        "shield": [(-0.8, -0.9), (0.8, -0.9), (0.8, 0.2), (0.45, 0.7), (0, 1), (-0.45, 0.7),
                   (-0.8, 0.2)],
        "pennant": [(-0.95, -0.7), (0.95, -0.4), (0.6, 0), (0.95, 0.4), (-0.95, 0.7)],
    }  # fmt: skip
    return [(0.5 + 0.5 * scale * x, 0.5 + 0.5 * scale * y) for x, y in corners[name]]


def _heart(t: float, scale: float) -> tuple[float, float]:
    x = 16 * math.sin(t) ** 3
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return 0.5 + scale * x / 34, 0.47 - scale * y / 34


def _fill_field(pen: ImageDraw.ImageDraw, what: Pin, size: int) -> None:
    second = (*what.second, 255)
    match what.field:
        case "halves":
            pen.rectangle([0, 0, size / 2, size], fill=second)
        case "quarters":
            pen.rectangle([0, 0, size / 2, size / 2], fill=second)
            pen.rectangle([size / 2, size / 2, size, size], fill=second)
        case "stripes":
            for at in np.arange(0, 1, 0.2):
                pen.rectangle([0, at * size, size, (at + 0.1) * size], fill=second)
        case "rays":
            for start in range(0, 360, 36):
                pen.pieslice([-size, -size, 2 * size, 2 * size], start, start + 18, fill=second)
        case "rings":
            for radius, fill in ((0.42, second), (0.34, (*what.ground, 255)), (0.26, second)):
                pen.ellipse(_box(0.5, 0.5, radius, size), fill=fill)
        case "dots":
            for x in np.arange(0.08, 1, 0.14):
                for y in np.arange(0.08, 1, 0.14):
                    pen.ellipse(_box(float(x), float(y), 0.03, size), fill=second)
        case "waves":
            for at in np.arange(0.1, 1, 0.18):
                line = [(x, at + 0.03 * math.sin(18 * x)) for x in np.linspace(0, 1, 80)]
                pen.line(_scaled(line, size), fill=second, width=size // 30)


def _charge(name: str, x: float, y: float, radius: float) -> Points:
    radii = {
        "star": [1.0, 0.42] * 5,
        "disc": [1.0] * 24,
        "lozenge": [1.0, 0.6] * 2,
        "ring": [1.0, 0.8] * 10,
        "triangle": [1.0] * 3,
    }[name]
    return [(x + (px - 0.5) * 2 * radius, y + (py - 0.5) * 2 * radius)
            for px, py in _polar(radii, 1)]  # fmt: skip


def _put_charges(pen: ImageDraw.ImageDraw, what: Pin, size: int) -> None:
    for at in range(what.charges):
        angle = 2 * math.pi * at / what.charges + math.radians(what.turn) * 3
        x, y = 0.5 + 0.33 * math.cos(angle), 0.5 + 0.33 * math.sin(angle)
        points = _charge(what.charge, x, y, 0.055)
        pen.polygon(_scaled(points, size), fill=(*what.accent, 255), outline=(*what.metal, 255))


def _put_emblem(enamel: Image.Image, what: Pin, size: int) -> None:
    side = int(size * 0.52)
    layer = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(layer)
    for points, part in emblem(what.emblem):
        fill = (what.accent, what.second, _darker(what.ground))[part]
        pen.polygon(_scaled(points, side), fill=(*fill, 255))
        pen.line(_scaled([*points, points[0]], side), fill=(*what.metal, 255), width=size // 110)
    if what.flip:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    layer = layer.rotate(what.turn, Image.Resampling.BICUBIC)
    corner = (size - side) // 2
    enamel.paste(layer, (corner, corner - size // 30), layer)


def _put_letters(pen: ImageDraw.ImageDraw, what: Pin, size: int) -> None:
    if len(what.letters) < 2:
        return
    half = 0.06 + 0.035 * len(what.letters)
    ribbon = [(0.5 - half) * size, 0.72 * size, (0.5 + half) * size, 0.83 * size]
    pen.rectangle(ribbon, fill=(*what.metal, 255), outline=(*_darker(what.metal), 255), width=3)
    _write(pen, what.letters, 0.5, 0.775, 0.085, size, _darker(what.metal, 0.2))


def _write(pen: ImageDraw.ImageDraw, text: str, x: float, y: float, height: float, size: int,
           colour: Colour) -> None:  # fmt: skip
    font = ImageFont.load_default(height * size)
    pen.text((x * size, y * size), text, fill=(*colour, 255), font=font, anchor="mm")


def emblem(name: str) -> list[tuple[Points, int]]:
    """The polygons of an emblem in the unit square; each with its paint: 0 accent, 1, 2 darker."""
    from examples.pins.emblems import EMBLEM_PARTS

    return [
        ([(x / 100, y / 100) for x, y in points], paint) for points, paint in EMBLEM_PARTS[name]
    ]
