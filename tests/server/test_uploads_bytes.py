"""Whatever the bytes of a form, and however they come: the same form, or our error."""

import asyncio
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from upload_bodies import (
    BOUNDARY,
    FORM_TYPE,
    MemoryBlobs,
    body,
    chunked,
    field,
    file,
    read,
)

from millstream.errors import (
    RequestError,
)
from millstream.server.uploads import Limits, read_multipart

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
