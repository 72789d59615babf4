"""What is no deck, or no picture, is refused with one kind of error and a clear message."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from millstream_apps.decklists.picture import (
    MAX_PIXELS,
    WRONG_TYPE,
    BadPicture,
    NotADeck,
    decode,
    validate,
)
from millstream_apps.decklists.scan import scan
from tests.decklists import drawing

SAMPLE = (drawing.SAMPLES / "deck-03.jpg").read_bytes()
PNG = b"\x89PNG\r\n\x1a\n"
MEGABYTE = 1024 * 1024


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("data", [b"", b"no picture at all", encoded(Image.new("RGB", (300, 300)),
                                                                     "GIF")])  # fmt: skip
def test_what_is_no_jpeg_or_png_is_refused(data: bytes) -> None:
    with pytest.raises(BadPicture, match="File must be an image"):
        scan(data)


@pytest.mark.parametrize("kept", [60, 3000, len(SAMPLE) // 2, len(SAMPLE) - 5000])
def test_a_truncated_picture_is_refused(kept: int) -> None:
    with pytest.raises(BadPicture, match="damaged or incomplete"):
        scan(SAMPLE[:kept])


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 4_001)])
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    assert width * height > MAX_PIXELS
    with pytest.raises(BadPicture, match="too many pixels"):
        scan(png_claiming(width, height))


def outcome(data: bytes) -> str:
    try:
        return str(decode(data).dtype)
    except BadPicture as problem:
        return str(problem)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_damaged_only_our_error_escapes(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(SAMPLE)
    for _ in range(rng.choice((1, 8, 60))):
        data[rng.randrange(len(data) if seed % 2 else 700)] = rng.randrange(256)
    damaged = bytes(data[: rng.randrange(200, len(data))] if seed % 3 else data)
    assert outcome(damaged).startswith(("uint8", "The picture ", "File must", "No deck"))


def noise() -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 255, (900, 720, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def photo() -> Image.Image:
    y, x = np.mgrid[:900, :720]
    waves = (np.sin(x / 90) + np.cos(y / 130), np.sin(x / 50 + y / 70), np.cos(x * y / 9e4))
    return Image.fromarray((np.stack(waves, axis=2) * 60 + 128).clip(0, 255).astype(np.uint8))


def boxes(disc: bool) -> Image.Image:
    image = Image.new("RGB", (1080, 1500), (1, 57, 80))
    draw = ImageDraw.Draw(image)
    for top in range(200, 1200, 166):
        draw.rectangle((94, top, 532, top + 137), fill=(27, 78, 99))
        draw.text((240, top + 60), "some product", fill=(255, 255, 255))
        if disc:
            draw.rectangle((210, top + 10, 520, top + 130), fill=(27, 78, 99))
            draw.ellipse((117, top + 27, 201, top + 111), fill=(1, 57, 80))
    return image


@pytest.mark.parametrize("image", [
    noise(), photo(), Image.new("RGB", (720, 900), "white"), Image.new("L", (250, 300)),
    boxes(disc=False), boxes(disc=True), Image.new("RGB", (20, 20)),
], ids=["noise", "photo", "white", "grey", "boxes", "empty boxes", "tiny"])  # fmt: skip
def test_a_picture_of_something_else_is_not_a_deck(image: Image.Image) -> None:
    with pytest.raises(NotADeck, match="No deck was found"):
        scan(encoded(image))


def test_transparent_and_cmyk_pictures_are_decoded() -> None:
    image = Image.open(io.BytesIO(SAMPLE)).crop((0, 0, 300, 200))
    plain = decode(encoded(image))
    assert np.array_equal(decode(encoded(image.convert("RGBA"))), plain)
    assert decode(encoded(image.convert("CMYK"), "JPEG")).shape == plain.shape


def test_a_turned_picture_is_made_upright() -> None:
    image = Image.new("RGB", (400, 300), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    assert decode(out.getvalue()).shape == (400, 300, 3)


@pytest.mark.parametrize(("name", "kind", "head"), [
    ("deck.jpg", "image/jpeg", b"\xff\xd8\xff\xe0"),
    ("deck.PNG", None, PNG),
    ("blob", "application/octet-stream", PNG),
    (None, "image/png; charset=binary", PNG + b"more"),
    ("deck", "image/jpg", b"\xff\xd8\xff\xe1"),
])  # fmt: skip
def test_pictures_pass_validation(name: str | None, kind: str | None, head: bytes) -> None:
    assert validate(name, kind, 1000, head) is None


@pytest.mark.parametrize(("name", "kind", "head"), [
    ("notes.txt", "text/plain", b"hello"),
    ("deck.jpg", "text/html", b"\xff\xd8\xff\xe0"),
    ("deck.jpg", "image/jpeg", b"<html>"),
    ("deck.gif", None, PNG),
    ("deck.png", "image/png", b""),
])  # fmt: skip
def test_other_files_do_not_pass_validation(name: str, kind: str | None, head: bytes) -> None:
    assert validate(name, kind, 1000, head) == WRONG_TYPE == "File must be an image (JPG/PNG)"


def test_too_large_a_file_is_told_its_size_and_the_limit() -> None:
    said = validate("deck.jpg", "image/jpeg", round(12.3 * MEGABYTE), b"\xff\xd8\xff")
    assert said == "File size (12.3MB) exceeds maximum (10MB)"
    assert validate("deck.jpg", "image/jpeg", 10 * MEGABYTE, b"\xff\xd8\xff") is None
    assert validate("deck.jpg", "image/jpeg", 10 * MEGABYTE + 1, b"\xff\xd8\xff") is not None
    assert "(2.5MB)" in str(validate("a.png", None, 3 * MEGABYTE, PNG, 5 * MEGABYTE // 2))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", PNG, b"\xff\xd8\xff\xe0\x00\x10JFIF"]))
def test_random_bytes_never_get_past_the_decoder(data: bytes, start: bytes) -> None:
    with pytest.raises(BadPicture):
        scan(start + data)
