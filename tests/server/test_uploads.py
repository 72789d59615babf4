"""Request bodies under limits: forms, file names, limits, cleaning up, memory, real clients."""

import asyncio
import contextlib
import hashlib
import io
import itertools
import random
import shutil
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse

from millstream.blob_stores.disk import DiskBlobs
from millstream.blobs import Blob, Upload
from millstream.errors import (
    PolicyError,
    RequestError,
    StoreError,
    TooLarge,
    UnsupportedMedia,
)
from millstream.server.filenames import FILENAME_BYTES, clean_filename
from millstream.server.limits import human_size
from millstream.server.uploads import Form, Limits, read_body, read_multipart

BOUNDARY = "----WebKitFormBoundaryx7Lq"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
LIMITS = Limits()
PAST_1_KB = b"x" * 1025


# --- a store in memory, whose operations can be stopped ------------------------------------------


class MemoryBlobs:
    """The port, and nothing more. `before` is awaited before create, write, commit and delete."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.halves: set[str] = set()
        self.calls: list[str] = []
        self.before: Callable[[str], Any] | None = None
        self._ids = itertools.count()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def create(self) -> "MemoryWriter":
        await self.step("create")
        return MemoryWriter(self, f"blob{next(self._ids)}")

    def path(self, blob: str) -> Path:
        self.calls.append("path")
        if blob not in self.kept:
            raise FileNotFoundError(blob)
        return Path("memory") / blob

    async def delete(self, blobs: Sequence[str]) -> None:
        await self.step("delete")
        for blob in blobs:
            self.kept.pop(blob, None)

    async def sweep(self, *, keep, before) -> int:
        raise NotImplementedError

    async def step(self, name: str) -> None:
        self.calls.append(name)
        if self.before is not None:
            await self.before(name)


class MemoryWriter:
    def __init__(self, store: MemoryBlobs, blob: str) -> None:
        self.store, self.blob, self.data = store, blob, b""
        store.halves.add(blob)

    async def write(self, chunk: bytes) -> None:
        await self.store.step("write")
        self.data += chunk

    async def commit(self) -> Blob:
        await self.store.step("commit")
        self.store.kept[self.blob] = self.data
        self.store.halves.remove(self.blob)
        return Blob(self.blob, len(self.data), hashlib.sha256(self.data).hexdigest())

    async def abort(self) -> None:
        self.store.halves.discard(self.blob)


async def chunked(body: bytes, cuts: Iterable[int] = ()) -> AsyncIterator[bytes]:
    edges = [0, *sorted(cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        yield body[start:end]


def part(disposition: str | bytes, data: bytes = b"", *headers: str) -> bytes:
    said = disposition.encode() if isinstance(disposition, str) else disposition
    lines = [b"Content-Disposition: " + said, *(header.encode() for header in headers)]
    return b"\r\n".join([f"--{BOUNDARY}".encode(), *lines, b"", data, b""])


def field(name: str, value: str = "") -> bytes:
    return part(f'form-data; name="{name}"', value.encode())


def file(name: str, filename: str, data: bytes, content_type: str = "image/png") -> bytes:
    disposition = f'form-data; name="{name}"; filename="{filename}"'
    return part(disposition, data, f"Content-Type: {content_type}")


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def read(
    data: bytes, blobs: MemoryBlobs | None = None, limits: Limits = LIMITS, **options: Any
) -> Form:
    blobs = MemoryBlobs() if blobs is None else blobs
    return await read_multipart(FORM_TYPE, chunked(data), blobs, limits, **options)


async def only_filename(disposition: str | bytes) -> str:
    form = await read(body(part(disposition, b"x")))
    return form.files[0][1].filename


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


# --- nothing is left behind ----------------------------------------------------------------------

TWO_FILES = body(file("f", "a", b"a" * 50), field("x", "1"), file("f", "b", b"b" * 50))


class ClientGone(Exception):
    pass


@pytest.mark.parametrize("at", range(0, len(TWO_FILES), 5))
async def test_a_client_that_goes_away_leaves_no_blob(at: int) -> None:
    blobs = MemoryBlobs()

    async def cut_short() -> AsyncIterator[bytes]:
        yield TWO_FILES[:at]
        raise ClientGone

    with pytest.raises(ClientGone):
        await read_multipart(FORM_TYPE, cut_short(), blobs, LIMITS)
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_cancelled_read_leaves_no_blob_wherever_it_stood() -> None:
    last_calls: set[str] = set()
    kept: dict[str, bytes] = {}
    for turns in itertools.count():
        blobs = MemoryBlobs()
        blobs.before = lambda _: asyncio.sleep(0)
        chunks = chunked(TWO_FILES, range(0, len(TWO_FILES), 30))
        reading = asyncio.create_task(read_multipart(FORM_TYPE, chunks, blobs, LIMITS))
        for _ in range(turns):
            await asyncio.sleep(0)
        last_calls.update(blobs.calls[-1:])
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            kept = blobs.kept
            break
        assert (blobs.kept, blobs.halves) == ({}, set()), turns
    assert len(kept) == 2  # it came to the end at last
    assert last_calls >= {"create", "write", "commit"}


async def test_being_cancelled_again_and_again_does_not_stop_the_cleaning_up() -> None:
    blobs = MemoryBlobs()
    stalled, reached, freed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def before(name: str) -> None:
        if name == "delete":
            reached.set()
            await freed.wait()

    async def endless() -> AsyncIterator[bytes]:
        yield TWO_FILES[:-40]
        stalled.set()
        await asyncio.Event().wait()

    blobs.before = before
    reading = asyncio.create_task(read_multipart(FORM_TYPE, endless(), blobs, LIMITS))
    await stalled.wait()
    assert (len(blobs.kept), len(blobs.halves)) == (1, 1)
    reading.cancel()
    await reached.wait()
    for _ in range(5):
        reading.cancel()
        await asyncio.sleep(0)
    assert not reading.done()
    freed.set()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_cancellation_during_the_cleaning_up_is_not_lost() -> None:
    blobs = MemoryBlobs()
    reached, freed = asyncio.Event(), asyncio.Event()

    async def before(name: str) -> None:
        if name == "delete":
            reached.set()
            await freed.wait()

    blobs.before = before
    reading = asyncio.create_task(read(TWO_FILES[:-10], blobs))
    await reached.wait()
    reading.cancel()
    freed.set()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert (blobs.kept, blobs.halves) == ({}, set())


@pytest.mark.parametrize("call", ["create", "write", "commit"])
@pytest.mark.parametrize("time", [1, 2])
async def test_a_store_that_fails_leaves_no_blob(call: str, time: int) -> None:
    blobs = MemoryBlobs()

    async def before(name: str) -> None:
        if name == call and blobs.calls.count(call) == time:
            raise StoreError("disk full")

    blobs.before = before
    with pytest.raises(StoreError, match="disk full"):
        await read(TWO_FILES, blobs)
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_blob_that_is_gone_right_after_its_commit_leaves_no_other() -> None:
    class Vanishing(MemoryBlobs):
        def path(self, blob: str) -> Path:
            raise FileNotFoundError(blob)

    blobs = Vanishing()
    with pytest.raises(FileNotFoundError):
        await read(TWO_FILES, blobs)
    assert (blobs.kept, blobs.halves) == ({}, set())


async def test_a_cleaning_up_that_fails_does_not_hide_the_error() -> None:
    blobs = MemoryBlobs()

    async def before(name: str) -> None:
        if name == "delete":
            raise StoreError("gone")

    blobs.before = before
    with pytest.raises(RequestError, match="ends early") as refused:
        await read(TWO_FILES[:-10], blobs)
    assert refused.value.__notes__ == [
        "a blob of the request is left for the next sweep: StoreError('gone')"
    ]
    assert blobs.halves == set()


# --- whatever the bytes, however they come -------------------------------------------------------

RICH = body(
    field("title", "a\r\nb"),
    file("files", "套.png", b"\r\n--" + BOUNDARY.encode() + b"X\r\n\r\n--" + BOUNDARY[:5].encode()),
    file("none", "", b""),
    file("files", "e.png", b""),
    field("z", "ü" * 40),
    file("files", "cr.bin", b"\r" * 30 + b"\n\r\n-"),
)
RICH = b"preamble -\r\n--" + BOUNDARY[:8].encode() + b"\r\n" + RICH + b"epilogue"


async def outcome(data: bytes, cuts: Iterable[int], content_type: str = FORM_TYPE) -> Any:
    """The form with the bytes of its files, or "refused". Anything else is a fault of ours."""
    blobs = MemoryBlobs()
    limits = Limits(body_bytes=1 << 20, file_bytes=64, files=4, fields=6, field_bytes=90)
    try:
        form = await read_multipart(content_type, chunked(data, cuts), blobs, limits)
    except RequestError as error:
        assert (blobs.kept, blobs.halves) == ({}, set())
        error.message.encode()  # can be told to the client
        return "refused"
    assert blobs.halves == set()
    assert list(blobs.kept) == [it.blob for _, it in form.files]
    return form, blobs.kept


async def test_one_byte_at_a_time_is_the_same_form() -> None:
    whole = await outcome(RICH, ())
    assert len(whole[0].files) == 3
    assert await outcome(RICH, range(len(RICH))) == whole


async def test_every_single_cut_is_the_same_form() -> None:
    whole = await outcome(RICH, ())
    for cut in range(len(RICH)):
        assert await outcome(RICH, [cut]) == whole, cut


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, len(RICH)), max_size=60))
def test_any_cuts_are_the_same_form(cuts: list[int]) -> None:
    assert asyncio.run(outcome(RICH, cuts)) == asyncio.run(outcome(RICH, ()))


SCRAPS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"\r\n", b"\r", b"\n", b"--", b"-", b":", b" ", b"\t", b'"', b"\\", b";", b"%22",
            b"--" + BOUNDARY.encode(), b"\r\n--" + BOUNDARY.encode(), BOUNDARY[:9].encode(),
            b"\r\n--" + BOUNDARY.encode() + b"--", b"\r\n--" + BOUNDARY.encode() + b"\r\n",
            b"Content-Disposition: form-data", b'; name="a"', b'; filename="b"', b"; filename*=",
            b"utf-8''%E4", b"Content-Type: ", b"image/png", b"Content-Transfer-Encoding: ",
            field("a", "b"), file("f", "n", b"x" * 20), file("f", "n", b"x" * 65), body(),
        ]
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(SCRAPS, max_size=25), st.data())
def test_whatever_the_bytes_only_our_errors_escape(
    scraps: list[bytes], data: st.DataObject
) -> None:
    """And the same comes out however the bytes are cut."""
    sent = b"".join(scraps)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=20))
    whole = asyncio.run(outcome(sent, ()))
    assert asyncio.run(outcome(sent, cuts)) == whole


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(RICH)), st.integers(0, 40), st.binary(max_size=12))
def test_a_damaged_form_is_read_or_refused(at: int, drop: int, insert: bytes) -> None:
    damaged = RICH[:at] + insert + RICH[at + drop :]
    whole = asyncio.run(outcome(damaged, ()))
    assert asyncio.run(outcome(damaged, range(len(damaged)))) == whole


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(), st.text().map(lambda text: f"multipart/form-data; boundary={text}")))
def test_whatever_the_content_type_only_our_errors_escape(content_type: str) -> None:
    asyncio.run(outcome(RICH, (), content_type))


async def test_long_runs_of_half_boundaries_take_no_long_time() -> None:
    """Linear, not quadratic: 2 MB of beginnings of a boundary are read in one go."""
    tease = (b"\r\n--" + BOUNDARY.encode())[:-1] * 70_000
    blobs = MemoryBlobs()
    loop = asyncio.get_running_loop()
    started = loop.time()
    form = await read(body(file("f", "n", tease)), blobs)
    assert form.files[0][1].size == len(tease)
    assert loop.time() - started < 5


# --- memory, real disks, real clients ------------------------------------------------------------


@contextlib.asynccontextmanager
async def disk(root: Path) -> AsyncIterator[DiskBlobs]:
    counter = itertools.count()
    store = DiskBlobs(root, new_id=lambda: f"upload-{next(counter):03}", now=lambda: 0.0)
    await store.open()
    try:
        yield store
    finally:
        await store.sweep(keep=(), before=float("inf"))
        await store.close()


async def test_200_mb_pass_through_a_few_mb_of_memory(tmp_path: Path) -> None:
    block = random.Random(7).randbytes(64_000)

    async def large() -> AsyncIterator[bytes]:
        yield part('form-data; name="f"; filename="large.bin"')[:-2]
        for _ in range(3125):
            yield block
        yield b"\r\n" + body(field("last", "1"))

    limits = Limits(body_bytes=1 << 28, file_bytes=200_000_000)
    async with disk(tmp_path) as store:
        tracemalloc.start()
        try:
            form = await read_multipart(FORM_TYPE, large(), store, limits)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        upload = form.files[0][1]
        assert (upload.size, upload.path.stat().st_size) == (200_000_000, 200_000_000)
        assert form.fields == (("last", "1"),)
    assert peak < 4_000_000


async def test_a_cancelled_upload_leaves_no_file_on_the_disk(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield file("f", "whole.bin", b"x" * 600_000)
        yield part('form-data; name="f"; filename="half.bin"')[:-2] + b"y" * 600_000
        begun.set()
        await asyncio.Event().wait()

    async with disk(tmp_path) as store:
        reading = asyncio.create_task(read_multipart(FORM_TYPE, stalled(), store, LIMITS))
        await begun.wait()
        assert store.statistics().kept == 1
        assert store.statistics().writing == 1
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert names_of_files(tmp_path) == ["lock"]
        assert store.statistics().writing == 0


def names_of_files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@contextlib.asynccontextmanager
async def serving(store: DiskBlobs) -> AsyncIterator[str]:
    """A real server that answers with the form it read."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            form = await read_multipart(
                request.headers["content-type"],
                request.stream(),
                store,
                LIMITS,
                content_length=int(request.headers.get("content-length", "0")),
            )
            answer = JSONResponse(
                {
                    "fields": form.fields,
                    "files": [(name, it.filename, it.sha256) for name, it in form.files],
                }
            )
        except RequestError as error:
            answer = JSONResponse({"message": error.message}, error.status)
        await answer(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            await task


async def test_a_browsers_form_through_uvicorn(tmp_path: Path) -> None:
    picture = random.Random(1).randbytes(300_000)
    sent = body(
        field("owner", "玩家"),
        file("files", "deck %22one%22.png", picture),
        file("files", "", b"", "application/octet-stream"),
    )
    async with disk(tmp_path) as store, serving(store) as url, httpx.AsyncClient() as client:
        answer = await client.post(url, content=sent, headers={"Content-Type": FORM_TYPE})
        large = body(file("f", "x", b"x" * (LIMITS.file_bytes + 1)))
        too_large = await client.post(url, content=large, headers={"Content-Type": FORM_TYPE})
        assert names_of_files(tmp_path) == ["lock", "upload-000"]
    assert answer.json() == {
        "fields": [["owner", "玩家"]],
        "files": [["files", 'deck "one".png', hashlib.sha256(picture).hexdigest()]],
    }
    assert too_large.status_code == 413
    assert too_large.json() == {
        "message": 'f[0] "x": exceeds the limit of 10 MB a file; send a smaller one'
    }


async def test_httpx_forms_through_uvicorn(tmp_path: Path) -> None:
    names = ['a "b" \\ c.png', "套牌.png", "100%.png"]
    async with disk(tmp_path) as store, serving(store) as url, httpx.AsyncClient() as client:
        answer = await client.post(
            url,
            data={"k": ["1", "2"]},
            files=[("files", (name, io.BytesIO(name.encode()), "image/png")) for name in names],
        )
    assert answer.json() == {
        "fields": [["k", "1"], ["k", "2"]],
        "files": [
            ["files", clean_filename(name), hashlib.sha256(name.encode()).hexdigest()]
            for name in names
        ],
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_a_curl_form_through_uvicorn(tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(random.Random(2).randbytes(200_000))
    async with disk(tmp_path / "blobs") as store, serving(store) as url:
        parts = ["-F", "note=hello", "-F", f'f=@{picture};filename="a \\"q\\" 套.png"']
        curl = await asyncio.create_subprocess_exec(
            "curl", "-s", *parts, url, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await curl.communicate()
    assert httpx.Response(200, content=out).json() == {
        "fields": [["note", "hello"]],
        "files": [["f", 'a "q" 套.png', hashlib.sha256(picture.read_bytes()).hexdigest()]],
    }
