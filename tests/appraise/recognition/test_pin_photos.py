"""Photo files: every format comes out upright; what is wrong is one error naming the photo."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from millstream_apps.appraise.recognition.photo import MAX_PIXELS, PhotoError, Picture, decode
from tests.appraise.recognition.pins import encoded

SIDEWAYS = 6  # EXIF: the camera was held on its right side


def corner_picture(width: int = 90, height: int = 60) -> np.ndarray:
    """Grey, with a red upper left corner."""
    picture = np.full((height, width, 3), 120, np.uint8)
    picture[:20, :30] = (220, 30, 30)
    return picture


def heic(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture)).save(out, quality=90)
    return out.getvalue()


FILES = {
    "JPEG": encoded(corner_picture(), "JPEG", quality=95),
    "PNG": encoded(corner_picture()),
    "WebP": encoded(corner_picture(), "WEBP"),
    "HEIC": heic(corner_picture()),
}


def is_red(picture: Picture, x: int, y: int) -> bool:
    red, green, blue = (int(part) for part in picture.rgb[y, x])
    return red > 170 and green < 90 and blue < 90


@pytest.mark.parametrize("kind", FILES)
def test_every_format_is_read(kind: str) -> None:
    picture = decode(FILES[kind])
    assert picture.size == (90, 60)
    assert is_red(picture, 8, 8)
    assert not is_red(picture, 80, 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_cameras_turn_is_undone(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    picture = decode(encoded(corner_picture(), kind, exif=exif.tobytes()))
    assert picture.size == (60, 90)
    assert is_red(picture, 52, 8)


def test_transparency_becomes_the_mask_and_does_not_bleed() -> None:
    rgba = np.dstack([corner_picture(), np.full((60, 90), 255, np.uint8)])
    rgba[:, 30:, 3] = 0
    rgba[:, 30:, :3] = (0, 255, 0)
    picture = decode(encoded(rgba), longest=45)
    assert picture.mask is not None
    assert picture.mask[:, :14].all()
    assert not picture.mask[:, 16:].any()
    assert int(picture.rgb[5, 14, 0]) > 200


def test_large_photos_are_reduced() -> None:
    assert decode(encoded(np.zeros((300, 1600, 3), np.uint8) + 9, "JPEG")).size == (800, 150)


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (8_001, 8_001)])
def test_bombs_are_refused_by_their_header(width: int, height: int) -> None:
    assert width * height > MAX_PIXELS
    with pytest.raises(PhotoError, match="back photo: has too many pixels"):
        decode(png_claiming(width, height), "back")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is not a JPEG, PNG, WebP or HEIC file"),
        (b"<svg/>", "is not a JPEG, PNG, WebP or HEIC file"),
        (encoded(corner_picture(), "GIF"), "is not a JPEG, PNG, WebP or HEIC file"),
        (FILES["JPEG"][:400], "is damaged or incomplete"),
        (encoded(corner_picture(12, 90)), "is only 12x90 pixels"),
    ],
)
def test_what_cannot_be_used_is_told(data: bytes, told: str) -> None:
    with pytest.raises(PhotoError, match=told) as caught:
        decode(data, "angled")
    assert caught.value.field == "angled"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0.02, 1),
)
def test_damage_is_a_picture_or_our_error(
    kind: str, changes: list[tuple[float, int]], part: float
) -> None:
    data = bytearray(FILES[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    told = None
    try:
        picture = decode(bytes(data[: int(part * len(data))]))
    except PhotoError as error:
        told = str(error)
    else:
        assert picture.rgb.dtype == np.uint8
    assert told is None or told.startswith("front photo: ")
