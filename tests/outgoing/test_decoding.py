"""Content-Encoding undone: the same bytes whole or in pieces, and never more than the limit."""

import gzip
import zlib
from contextlib import suppress

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import OutgoingError, OutgoingTooLarge
from millstream.outgoing.decoding import PIECE, Body

URL = "http://s.test/"


def bare(data: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(data) + pack.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": lambda data: gzip.compress(data[:3]) + gzip.compress(data[3:]),
    "deflate": zlib.compress,
    "Deflate": bare,
    "br": lambda data: brotli.compress(data, quality=3),
    "identity": lambda data: data,
}


def unpack(body: Body, data: bytes, size: int) -> bytes:
    out = bytearray()
    for start in range(0, len(data), size):
        for piece in body.feed(data[start : start + size]):
            assert len(piece) <= max(2 * PIECE, size)
            out += piece
    body.end()
    return bytes(out)


@given(
    st.binary(max_size=2000).map(lambda data: data * 40),
    st.lists(st.sampled_from(sorted(PACKERS)), max_size=3),
    st.sampled_from([1, 5, 1000, 10**6]),
)
def test_what_is_packed_is_unpacked(data, names, size):
    wire = data
    for name in names:
        wire = PACKERS[name](wire)
    assert unpack(Body(URL, ", ".join(names), limit=10**6), wire, size) == data


@pytest.mark.parametrize("names", [["gzip"], ["deflate"], ["br"], ["gzip", "gzip"], ["br", "gzip"]])
def test_a_bomb_costs_its_limit(names):
    wire = bytes(20 * 2**20)
    for name in names:
        wire = PACKERS[name](wire)
    assert len(wire) < 2**17
    out: list[int] = []
    pieces = Body(URL, ",".join(names), limit=2**20).feed(wire)
    with pytest.raises(OutgoingTooLarge, match="limit of 1048576 bytes"):
        out.extend(map(len, pieces))
    assert 2**20 - 2 * PIECE <= sum(out) <= 2**20


def test_layers_between_are_bounded_too():
    """Much gzip that comes to nothing: empty members, themselves packed."""
    wire = gzip.compress(gzip.compress(b"") * 100_000)
    with pytest.raises(OutgoingTooLarge):
        list(Body(URL, "gzip, gzip", limit=2**20).feed(wire))


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "br, gzip"]))
def test_any_bytes_are_unpacked_or_refused(data, names):
    body = Body(URL, names, limit=2**16)
    with suppress(OutgoingError):
        unpack(body, data, 7)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br"])
@given(data=st.data())
def test_what_breaks_off_is_told(name, data):
    wire = PACKERS[name](b"The mill stood at the bend of the river." * 20)
    cut = data.draw(st.integers(2, len(wire) - 1))
    with pytest.raises(OutgoingError) as told:
        unpack(Body(URL, name, limit=10**6), wire[:cut], 50)
    assert told.value.code == "body_undecodable"
    assert told.value.retryable


def test_nothing_at_all_is_nothing():
    assert unpack(Body(URL, "gzip", limit=10), b"", 1) == b""


@pytest.mark.parametrize("names", ["zstd", "gzip, compress", "gzip,gzip,gzip,gzip", "*"])
def test_what_is_unknown_is_refused(names):
    with pytest.raises(OutgoingError) as told:
        Body(URL, names, limit=10)
    assert (told.value.code, told.value.retryable) == ("encoding_unknown", False)
