"""Request bodies: plain ones, the parts of a form, file names."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upload_bodies import (
    BOUNDARY,
    FORM_TYPE,
    LIMITS,
    MemoryBlobs,
    body,
    chunked,
    field,
    file,
    only_filename,
    part,
    read,
)

from millstream.blobs import Upload
from millstream.errors import (
    TooLarge,
)
from millstream.server.filenames import FILENAME_BYTES, clean_filename
from millstream.server.uploads import Form, read_body, read_multipart

# --- plain bodies --------------------------------------------------------------------------------


async def test_a_body_within_its_limit_is_read_whole() -> None:
    assert await read_body(chunked(b"abcdef", [1, 3]), 6, content_length=6) == b"abcdef"
    assert await read_body(chunked(b""), 0) == b""


async def test_a_body_is_refused_before_it_is_read_where_its_length_is_said() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("was read")
        yield b""

    with pytest.raises(TooLarge) as refused:
        await read_body(never(), 1024, content_length=2048)
    assert str(refused.value) == (
        "body: 2 kB exceeds the limit of 1 kB a request; send less at once"
    )
    with pytest.raises(TooLarge):
        await read_multipart(FORM_TYPE, never(), MemoryBlobs(), LIMITS, content_length=10**9)


async def test_a_body_is_refused_as_soon_as_it_passes_its_limit() -> None:
    taken = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 100

    with pytest.raises(TooLarge, match="exceeds the limit of 1000 bytes a request"):
        await read_body(endless(), 1000)
    assert len(taken) == 11


# --- forms ---------------------------------------------------------------------------------------


async def test_fields_and_files_come_in_the_order_sent() -> None:
    blobs = MemoryBlobs()
    form = await read(
        body(
            field("title", "瑟提 ✓"),
            file("files", "a.png", b"aaa"),
            field("files", "a field named like the files"),
            file("files", "b.jpg", b"bb\r\n--" + BOUNDARY[:-1].encode(), "image/jpeg; q=1"),
            field("title", ""),
        ),
        blobs,
    )
    assert form.fields == (
        ("title", "瑟提 ✓"),
        ("files", "a field named like the files"),
        ("title", ""),
    )
    second = b"bb\r\n--" + BOUNDARY[:-1].encode()
    assert form.files == (
        ("files", upload("blob0", "a.png", "image/png", b"aaa")),
        ("files", upload("blob1", "b.jpg", "image/jpeg; q=1", second)),
    )
    assert form.oversized == ()
    assert blobs.kept == {"blob0": b"aaa", "blob1": second}
    assert form.files[0][1].path == Path("memory/blob0")
    assert "delete" not in blobs.calls


def upload(blob: str, filename: str, content_type: str, data: bytes) -> Upload:
    return Upload(
        blob=blob,
        filename=filename,
        content_type=content_type,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        path=Path("memory") / blob,
    )


async def test_no_parts_are_an_empty_form() -> None:
    assert await read(body()) == Form()


async def test_no_file_chosen_is_skipped_an_empty_file_is_not() -> None:
    blobs = MemoryBlobs()
    form = await read(
        body(
            file("none", "", b"", "application/octet-stream"),
            file("empty", "empty.txt", b"", "text/plain"),
            file("unnamed", "", b"bytes"),
        ),
        blobs,
    )
    assert [(name, it.filename, it.size) for name, it in form.files] == [
        ("empty", "empty.txt", 0),
        ("unnamed", "upload", 5),
    ]
    assert blobs.calls.count("create") == 2


async def test_preamble_and_epilogue_are_passed_over() -> None:
    plain = body(field("a", "1"))
    noisy = b"this is - no part\r\n\r\n--" + BOUNDARY[:9].encode() + b"\r\n" + plain + b"\r\nbye"
    assert await read(noisy) == await read(b"\r\n" + plain) == await read(plain)


async def test_spaces_behind_a_boundary_are_padding() -> None:
    padded = body(field("a", "1"), field("b", "2")).replace(
        f"\r\n--{BOUNDARY}\r\n".encode(), f"\r\n--{BOUNDARY} \t\r\n".encode()
    )
    assert (await read(padded)).fields == (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("image/webp", "image/webp"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("image/png\x01", "application/octet-stream"),
        ("image/" + "x" * 300, "application/octet-stream"),
    ],
)
async def test_a_content_type_is_kept_only_where_it_is_one(header: str, wanted: str) -> None:
    form = await read(body(file("f", "a", b"", header)))
    assert form.files[0][1].content_type == wanted


async def test_a_file_without_content_type_is_bytes() -> None:
    form = await read(body(part('form-data; name="f"; filename="a.bin"', b"x")))
    assert form.files[0][1].content_type == "application/octet-stream"


# --- file names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disposition", "wanted"),
    [
        ('form-data; name="f"; filename="deck.png"', "deck.png"),
        ("form-data; name=f; filename=deck.png", "deck.png"),
        ('FORM-DATA ; NAME="f" ; FileName = "deck.png" ;', "deck.png"),
        ('form-data; filename="deck.png"; name="f"', "deck.png"),
        ('form-data; name="f"; filename="套牌 ①.png"', "套牌 ①.png"),
        ('form-data; name="f"; filename="a;b=c.png"', "a;b=c.png"),
        (r'form-data; name="f"; filename="a \"q\" b.png"', 'a "q" b.png'),
        ('form-data; name="f"; filename="a %22q%22 100%25.png"', 'a "q" 100%25.png'),
        ('form-data; name="f"; filename="a%0D%0Ab.png"', "ab.png"),
        ('form-data; name="f"; filename="Bild 1.PNG"', "Bild 1.PNG"),
        (r'form-data; name="f"; filename="C:\scans\new.png"', "new.png"),
        (r'form-data; name="f"; filename="C:\\scans\\new.png"', "new.png"),
        ('form-data; name="f"; filename="../../etc/passwd"', "passwd"),
        ('form-data; name="f"; filename="a/b/"', "upload"),
        ('form-data; name="f"; filename=".."', "upload"),
        ("form-data; name=f; filename*=utf-8''%e5%a5%97%20a.png", "套 a.png"),
        ("form-data; name=f; filename*=UTF-8'en'a%2Fb.png", "b.png"),
        ("form-data; name=f; filename*=iso-8859-1''%e4.png", "ä.png"),
        ("form-data; name=f; filename=plain.png; filename*=UTF-8''%E4%BD%A0", "你"),
        ("form-data; name=f; filename=plain.png; filename*=koi8-r''%E4", "plain.png"),
        ("form-data; name=f; filename*=broken", "upload"),
        ("form-data; name=f; filename*=utf-8''%ff.png", "\N{REPLACEMENT CHARACTER}.png"),
        (
            b'form-data; name="f"; filename="\xe4.png"',
            "\N{REPLACEMENT CHARACTER}.png",
        ),
    ],
)
async def test_file_names_as_clients_send_them(disposition: str | bytes, wanted: str) -> None:
    assert await only_filename(disposition) == wanted


async def test_field_names_are_read_as_browsers_write_them() -> None:
    form = await read(body(part('form-data; name="a %22b%22 ✓ 5%"', b"1")))
    assert form.fields == (('a "b" ✓ 5%', "1"),)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("a\x00b\x7f\u202egnp.exe", "abgnp.exe"),
        ("Screenshot\u202f3.04 PM.png", "Screenshot\u202f3.04 PM.png"),
        ("  ", "upload"),
        ("\ud800", "upload"),
        (".gitignore", ".gitignore"),
        ("x" * 400 + ".png", "x" * 251 + ".png"),
        ("套" * 200 + ".jpeg", "套" * 83 + ".jpeg"),
        ("x" * 400, "x" * 255),
        ("." + "x" * 400, "." + "x" * 254),
        ("a." + "x" * 400, "a." + "x" * 253),
    ],
)
def test_clean_filename(said: str, wanted: str) -> None:
    assert clean_filename(said) == wanted


@given(st.text())
def test_a_clean_file_name_is_one_plain_name(said: str) -> None:
    name = clean_filename(said)
    assert 0 < len(name.encode()) <= FILENAME_BYTES
    assert not set(name) & set("/\\\0\r\n")
    assert name not in (".", "..")
    assert clean_filename(name) == name or name.endswith(" ")
