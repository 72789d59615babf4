"""An uploaded file's bytes -> pixels, or a clear word on why not. Knows nothing of decks."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from millstream_apps.decklists.layout import Pixels

MAX_PIXELS = 40_000_000
FORMATS = ("JPEG", "PNG")
WRONG_TYPE = "File must be an image (JPG/PNG)"
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
EXTENSIONS = (".jpg", ".jpeg", ".png")


class BadPicture(ValueError):
    """Bytes that are no usable picture; the message is for the person who sent them."""


class NotADeck(BadPicture):
    """A sound picture that shows no deck."""


def validate(
    filename: str | None,
    content_type: str | None,
    size: int,
    head: bytes,
    max_bytes: int = 10 * 1024 * 1024,
) -> str | None:
    """What is wrong with an upload before it is opened, in the words clients expect; or None.

    `size` in bytes, `head` the file's first bytes (8 or more, less for a shorter file). The
    signature decides; name and declared type are consulted only to refuse what claims otherwise.
    """
    declared = (content_type or "").partition(";")[0].strip().lower()
    claims_other = declared not in ("", "application/octet-stream") and not declared.startswith(
        "image/"
    )
    named_other = bool(filename) and not str(filename).lower().endswith(EXTENSIONS) and not declared
    if claims_other or named_other or not head.startswith(SIGNATURES):
        return WRONG_TYPE
    if size > max_bytes:
        limit = max_bytes / 1024 / 1024
        return f"File size ({size / 1024 / 1024:.1f}MB) exceeds maximum ({limit:g}MB)"
    return None


def decode(picture: bytes) -> Pixels:
    """JPEG or PNG bytes -> RGB (height, width, 3), turned upright. Raises BadPicture.

    The size is judged from the header, before any pixel is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
                _check_size(image)
                # Upright before converting: JPEG and PNG both carry the turn in their EXIF.
                upright = ImageOps.exif_transpose(image)
                return np.asarray(_opaque(upright).convert("RGB"), dtype=np.uint8)
    except BadPicture:
        raise
    except UnidentifiedImageError as problem:
        raise BadPicture(WRONG_TYPE) from problem
    except Image.DecompressionBombError as problem:
        raise BadPicture(_too_large()) from problem
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as problem:
        # Pillow reports damage by all of these, depending on where it meets it.
        raise BadPicture("The picture is damaged or incomplete and cannot be decoded") from problem


def _opaque(image: Image.Image) -> Image.Image:
    """Transparent parts on black, which is what a screen has behind them."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return image


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadPicture(_too_large(f"{width}x{height}, "))
    if width < 200 or height < 100:
        raise NotADeck(f"No deck was found in the picture: it is only {width}x{height} pixels")


def _too_large(size: str = "") -> str:
    return f"The picture has too many pixels ({size}at most {MAX_PIXELS // 1_000_000} million)"
