"""Photo files to pixels: JPEG, PNG, WebP or HEIC bytes become an upright picture of bounded size.

Knows formats and damage; knows nothing of what a picture shows.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# OpenCV's own annotations promise no more than an array, so neither do these.
Rgb = NDArray[Any]  # (height, width, 3) of uint8
Grey = NDArray[Any]  # (height, width) of uint8; as a mask 0 or 255

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
MAX_PIXELS = 64_000_000
MIN_SIDE = 24  # pixels: below this no picture can be told from another
WORKING_SIDE = 800  # pixels of the longer side: more shows no more of a pin, and costs time

pillow_heif.register_heif_opener()  # Pillow keeps its formats by name; doing it twice is harmless


class PhotoError(ValueError):
    """A photo that cannot be used. `field` is the view (front, back, angled) that it came as."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} photo: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Picture:
    """Upright pixels, and the mask of what is not transparent (None where all of it is opaque)."""

    rgb: Rgb
    mask: Grey | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def __repr__(self) -> str:
        width, height = self.size
        return f"Picture({width}x{height}{'' if self.mask is None else ', masked'})"


def decode(data: bytes, field: str = "front", longest: int = WORKING_SIDE) -> Picture:
    """A file's bytes to a Picture whose longer side is at most `longest` pixels.

    The size is judged from the header, before any pixel is decoded. Raises PhotoError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damage is told by our own error or not at all
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image, field)
                image.draft("RGB", (2 * longest, 2 * longest))
                return _reduced(_upright(image), longest)
    except PhotoError:
        raise
    except UnidentifiedImageError as problem:
        told = "is not a JPEG, PNG, WebP or HEIC file; send one of these"
        raise PhotoError(field, told) from problem
    except Image.DecompressionBombError as problem:
        raise PhotoError(field, _too_large()) from problem
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, RuntimeError,
            MemoryError, OverflowError) as problem:  # fmt: skip
        # Pillow and libheif report damage by all of these, depending on where they meet it.
        told = "is damaged or incomplete and cannot be decoded; take or export it again"
        raise PhotoError(field, told) from problem


def _check_size(image: Image.Image, field: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PhotoError(field, _too_large(f"{width}x{height}, "))
    if min(width, height) < MIN_SIDE:
        told = f"is only {width}x{height} pixels; send at least {MIN_SIDE} on each side"
        raise PhotoError(field, told)


def _too_large(size: str = "") -> str:
    return (
        f"has too many pixels ({size}at most {MAX_PIXELS // 1_000_000} million); send a smaller one"
    )


def _upright(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        return upright.convert("RGBA")
    return upright.convert("RGB")


def _reduced(image: Image.Image, longest: int) -> Picture:
    pixels = np.asarray(image, dtype=np.uint8)
    height, width = pixels.shape[:2]
    shrink = longest / max(width, height)
    if pixels.shape[2] == 4:
        return _reduced_with_alpha(pixels, min(shrink, 1.0))
    if shrink < 1:
        size = max(round(width * shrink), 1), max(round(height * shrink), 1)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return Picture(pixels)


def _reduced_with_alpha(pixels: NDArray[Any], shrink: float) -> Picture:
    """Colours are weighed by their opacity, so that hidden ones do not bleed into the rim."""
    height, width = pixels.shape[:2]
    alpha = pixels[:, :, 3].astype(np.float32) / 255
    colour = pixels[:, :, :3].astype(np.float32) * alpha[:, :, None]
    if shrink < 1:
        size = max(round(width * shrink), 1), max(round(height * shrink), 1)
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    rgb = colour / np.maximum(alpha, 1e-3)[:, :, None]
    rgb = np.where(alpha[:, :, None] > 1e-3, rgb, 255).clip(0, 255).round().astype(np.uint8)
    mask = np.where(alpha > 0.5, 255, 0).astype(np.uint8)
    if mask.all() or not mask.any():
        return Picture(rgb)
    return Picture(rgb, mask)
