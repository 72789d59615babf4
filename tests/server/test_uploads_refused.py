"""Bodies that are malformed or over a limit: refused in words that name the fix, or cut."""

from collections.abc import AsyncIterator

import pytest
from upload_bodies import (
    BOUNDARY,
    FORM_TYPE,
    LIMITS,
    PAST_1_KB,
    MemoryBlobs,
    body,
    chunked,
    field,
    file,
    part,
    read,
)

from millstream.errors import (
    PolicyError,
    RequestError,
    TooLarge,
    UnsupportedMedia,
)
from millstream.server.limits import human_size
from millstream.server.uploads import Limits, read_multipart

# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "kind", "message"),
    [
        ("application/json", UnsupportedMedia, "send multipart/form-data"),
        ("", UnsupportedMedia, "send multipart/form-data"),
        ("multipart/mixed; boundary=x", UnsupportedMedia, "'multipart/mixed' cannot be read"),
        ("multipart/form-data", RequestError, "needs a boundary"),
        ("multipart/form-data; boundary=", RequestError, "needs a boundary"),
        ('multipart/form-data; boundary=""', RequestError, "needs a boundary"),
        ("multipart/form-data; boundary=" + "x" * 71, RequestError, "1 to 70"),
        ('multipart/form-data; boundary="a\rb"', RequestError, "1 to 70"),
        ('multipart/form-data; boundary="ends in space "', RequestError, "1 to 70"),
        ("multipart/form-data; boundary=ä", RequestError, "1 to 70"),
        ("multipart/form-data; boundary=a; boundary=b", RequestError, "says boundary twice"),
        ('multipart/form-data; boundary="a', RequestError, "cannot be read from"),
    ],
)
async def test_content_types_that_are_refused(
    content_type: str, kind: type[RequestError], message: str
) -> None:
    with pytest.raises(kind, match=message) as refused:
        await read_multipart(content_type, chunked(b""), MemoryBlobs(), LIMITS)
    assert type(refused.value) is kind


async def test_a_malformed_body_puts_none_of_its_bytes_into_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(RequestError, match=r"Found invalid character 32 in header\Z"):
        await read(body(part("form-data; name=a", b"", "bad header: x")))
    assert caplog.text == ""


async def test_a_boundary_of_seventy_with_spaces_is_legal() -> None:
    boundary = "a b" + "'()+_,-./:=?" * 5 + "1234567"
    assert len(boundary) == 70
    data = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{boundary}--'
    form = await read_multipart(
        f'multipart/form-data; charset=utf-8; boundary="{boundary}"',
        chunked(data.encode()),
        MemoryBlobs(),
        LIMITS,
    )
    assert form.fields == (("a", "1"),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no boundary line as the Content-Type names it"),
        (b"no form at all", "holds no boundary line"),
        (body(field("a")).replace(b"\r\n", b"\n"), "before the first part"),
        (field("a", "1"), "ends early, within part 1; the closing boundary is missing"),
        (field("a") + field("b", "1")[:-9], "ends early, within part 2"),
        (body(field("a"))[:-4], "ends early, within part 1"),
        (body(part("attachment; name=a")), "part 1: needs the header Content-Disposition: form"),
        (body(part("form-data")), "part 1: needs the header"),
        (body(field("a"), part("form-data; filename=x")), "part 2: needs the header"),
        (b"--" + BOUNDARY.encode() + b"\r\n\r\nx\r\n" + body(), "part 1: needs the header"),
        (body(part('form-data; name="a')), "part 1: Content-Disposition: cannot be read from"),
        (body(part("form-data; name=a; name=b")), "Content-Disposition: says name twice"),
        (body(part("form-data; name=a", b"", "content-disposition: x")), "-disposition twice"),
        (body(part(b"form-data; name=\xff")), "part 1: its name is not UTF-8"),
        (body(part("form-data; name=a", b"\xff\xfe")), "a: not UTF-8 text; to send a file, give"),
        (
            body(part("form-data; name=a", b"", "Content-Transfer-Encoding: base64")),
            "Content-Transfer-Encoding 'base64' is not read; send bytes as is",
        ),
        (body(part("form-data; name=a", b"", "bad header: x")), "malformed multipart, part 1"),
        (body(part("form-data; name=a", b"", *["h: 1"] * 40)), "has the header h twice"),
        (
            body(part("form-data; name=a", b"", *[f"h{n}: 1" for n in range(40)])),
            "malformed multipart, part 1: Maximum header count exceeded",
        ),
    ],
)
async def test_malformed_bodies(data: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        await read(data)
    assert type(refused.value) is RequestError


@pytest.mark.parametrize(
    ("limits", "data", "message"),
    [
        (
            Limits(file_bytes=1024),
            body(file("cover", "c", b""), file("fs", "a", b""), file("fs", "d.png", PAST_1_KB)),
            'fs[1] "d.png": exceeds the limit of 1 kB a file; send a smaller one',
        ),
        (
            Limits(files=1),
            body(file("one", "a", b""), file("two", "b", b"")),
            "two: more than 1 files in one request; send fewer at once",
        ),
        (
            Limits(fields=1),
            body(field("one"), field("two")),
            "two: more than 1 fields in one request",
        ),
        (
            Limits(files=1, fields=1),
            body(*[file("none", "", b"")] * 3),
            "none: more than 2 parts in one request",
        ),
        (
            Limits(field_bytes=3),
            body(field("note", "abc"), field("long" * 40, "abcd")),
            f"{('long' * 40)[:79]}…: exceeds the limit of 3 bytes a field; "
            "send it as a file, or less of it",
        ),
        (
            Limits(header_bytes=100),
            body(part("form-data; name=a", b"", "x: " + "y" * 100)),
            "part 1: its headers exceed the limit of 100 bytes",
        ),
        (
            Limits(body_bytes=200),
            body(field("a")) + b"epilogue" * 100,
            "body: exceeds the limit of 200 bytes a request; send less at once",
        ),
    ],
)  # fmt: skip
async def test_limits_name_the_field_and_the_fix(limits: Limits, data: bytes, message: str) -> None:
    blobs = MemoryBlobs()
    with pytest.raises(TooLarge) as refused:
        await read_multipart(FORM_TYPE, chunked(data, range(0, len(data), 7)), blobs, limits)
    assert str(refused.value) == message
    assert refused.value.status == 413
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_long_header_is_too_large_in_one_chunk_too() -> None:
    with pytest.raises(TooLarge, match="part 1: its headers exceed the limit of 8 kB"):
        await read(body(part("form-data; name=a", b"", "x: " + "y" * 300_000)))


async def test_the_limit_of_headers_is_for_each_part() -> None:
    form = await read(body(*[field(name) for name in "abcd"]), limits=Limits(header_bytes=60))
    assert len(form.fields) == 4


async def test_at_the_limits_all_is_well() -> None:
    data = body(field("a", "abc"), file("f", "n", b"x" * 10))
    limits = Limits(
        body_bytes=len(data), file_bytes=10, files=1, fields=1, field_bytes=3, header_bytes=200
    )
    form = await read(data, limits=limits, content_length=len(data))
    assert (len(form.fields), form.files[0][1].size) == (1, 10)


async def test_spaces_before_a_header_value_are_bounded_too() -> None:
    endless = body(part(" " * 300_000 + "form-data; name=a"))
    with pytest.raises(RequestError, match="Maximum header size exceeded"):
        await read(endless)


def test_limits_are_checked_when_made() -> None:
    with pytest.raises(PolicyError, match=r"Limits\(files=-1\): 0 or more"):
        Limits(files=-1)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 kB"),
        (1536, "1.5 kB"),
        (10 * 1024 * 1024, "10 MB"),
        (12_897_485, "12.3 MB"),
    ],
)
def test_human_size(size: int, wanted: str) -> None:
    assert human_size(size) == wanted


# --- files over the limit ------------------------------------------------------------------------


async def test_keep_head_cuts_a_file_and_spares_its_neighbours() -> None:
    blobs = MemoryBlobs()
    data = body(
        file("files", "a.png", b"a" * 10),
        file("files", "big.png", b"b" * 25),
        field("note", "n"),
        file("files", "bigger.png", b"c" * 1000),
        file("files", "d.png", b"d"),
    )
    form = await read_multipart(
        FORM_TYPE,
        chunked(data, range(0, len(data), 3)),
        blobs,
        Limits(file_bytes=10),
        on_file_too_large="keep_head",
    )
    assert [it.size for _, it in form.files] == [10, 10, 10, 1]
    assert form.oversized == ((1, 25), (2, 1000))
    assert blobs.kept["blob1"] == b"b" * 10
    assert form.fields == (("note", "n"),)


async def test_keep_head_keeps_to_the_limit_of_the_body() -> None:
    blobs = MemoryBlobs()
    data = body(file("files", "big.png", b"b" * 5000))
    with pytest.raises(TooLarge, match="body: exceeds the limit of 2 kB"):
        await read_multipart(
            FORM_TYPE,
            chunked(data, range(0, len(data), 100)),
            blobs,
            Limits(file_bytes=10, body_bytes=2048),
            on_file_too_large="keep_head",
        )
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_refuse_reads_no_further_than_it_must() -> None:
    taken = []

    async def endless() -> AsyncIterator[bytes]:
        yield part("form-data; name=f; filename=x")[:-2]
        while True:
            taken.append(1)
            yield b"x" * 1024

    with pytest.raises(TooLarge):
        await read_multipart(FORM_TYPE, endless(), MemoryBlobs(), Limits(file_bytes=4096))
    assert len(taken) == 5
