"""Pictures to recognise: drawn pins, and any icons that lie on this machine. Which of them are
different ones is told in bench/likeness.py.

Icons are RGBA PNG files of 64 pixels or more, and the bitmaps of a colour emoji font. Debian's
packages oxygen-icon-theme and fonts-noto-color-emoji have both; `apt-get download` and `dpkg-deb
-x` put them into any folder.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from examples.pins.drawing import Rgba, draw
from PIL import Image, ImageDraw, ImageFont

SEEN = 10.0  # mean difference of colour (a and b of CIE Lab) from which a recolour is one
EMOJI_SIZE = 109  # the only size that bitmap emoji fonts have
EMOJI = ((0x1F300, 0x1F650), (0x1F680, 0x1F700), (0x1F900, 0x1FA00), (0x1FA70, 0x1FAF0))


def drawn(count: int, first: int = 0) -> list[tuple[str, Rgba]]:
    """Pins `first` and up, by name."""
    return [(f"pin-{number}", draw(number)) for number in range(first, first + count)]


def icons(folder: Path, most: int, seed: int = 1) -> list[tuple[str, Rgba]]:
    """At most `most` different pictures out of a folder, in an order that the seed decides."""
    files = sorted(path for path in folder.rglob("*.png") if not path.is_symlink())
    fonts = sorted(folder.rglob("*Emoji*.ttf"))
    sources: list[tuple[Path, int]] = [(path, 0) for path in files if _is_large(path)]
    sources += [(path, code) for path in fonts for low, high in EMOJI for code in range(low, high)]
    rng = np.random.default_rng(seed)
    found: dict[int, tuple[str, Rgba]] = {}
    for at in rng.permutation(len(sources)):
        path, code = sources[int(at)]
        picture = _glyph(path, code) if code else np.asarray(Image.open(path).convert("RGBA"))
        if (picture[:, :, 3] > 128).mean() < 0.1:
            continue
        name = f"{path.stem}-{code:x}" if code else f"{path.stem}-{picture.shape[1]}"
        found.setdefault(zlib.crc32(picture.tobytes()), (f"{name}-{at}", picture))
        if len(found) >= most:
            break
    return list(found.values())


def _is_large(path: Path) -> bool:
    return any(f"{side}x{side}" in path.parts for side in (64, 96, 128, 256))


def _glyph(font: Path, code: int) -> Rgba:
    picture = Image.new("RGBA", (136, 128))
    face = ImageFont.truetype(str(font), EMOJI_SIZE)
    ImageDraw.Draw(picture).text((0, 0), chr(code), font=face, embedded_color=True)
    return np.asarray(picture)


def halves(pictures: list[tuple[str, Rgba]]) -> Iterator[list[tuple[str, Rgba]]]:
    """Two halves without a picture in common: one to calibrate on, one to test on."""
    yield pictures[::2]
    yield pictures[1::2]


def hue_turned(picture: Rgba, share: float) -> Rgba:
    """The picture in other colours: hues turned by a share of the circle, light kept."""
    hsv = cv2.cvtColor(np.ascontiguousarray(picture[:, :, :3]), cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0].astype(np.int64) + round(180 * share)) % 180
    return np.dstack([cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), picture[:, :, 3]])


def recoloured(picture: Rgba, share: float) -> Rgba | None:
    """`hue_turned`, or None where hardly any colour is there to be turned: that is no copy in other
    colours but the same picture.
    """
    turned = hue_turned(picture, share)
    before, after = (
        cv2.cvtColor(np.ascontiguousarray(each[:, :, :3]), cv2.COLOR_RGB2LAB).astype(np.float32)
        for each in (picture, turned)
    )
    apart = np.linalg.norm(after[:, :, 1:] - before[:, :, 1:], axis=2)
    return turned if float(apart[picture[:, :, 3] > 127].mean()) >= SEEN else None
