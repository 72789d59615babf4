"""Reading a WebSocket's frames: however they are cut, what a codec hears that never lets go."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from millstream.server.reader import Closed, Pong, Reader

MOST = 600
"""Bytes of a message."""


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=b"\x01\x02\x03\x04", wide=None):
    """A client's frame, right or wrong. `wide`: bytes of the extended length, 0, 2 or 8."""
    size = len(payload)
    wide = wide if wide is not None else 0 if size < 126 else 2 if size < 65_536 else 8
    length = size if wide == 0 else 126 if wide == 2 else 127
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0x80 if mask else 0) | length])
    head += b"" if wide == 0 else struct.pack("!H" if wide == 2 else "!Q", size)
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return head + mask + body


masks = st.binary(min_size=4, max_size=4)
texts = st.text(max_size=40).map(str.encode)
payloads = st.binary(max_size=140) | texts
codes = st.sampled_from([1000, 1001, 1004, 1005, 1006, 1015, 1016, 999, 2999, 3000, 4999, 5000])
closes = st.builds(lambda code, why: struct.pack("!H", code) + why, codes, texts)
whole = st.builds(frame, st.sampled_from([1, 1, 2]), payloads, mask=masks)
parts = st.lists(payloads, min_size=2, max_size=4)
controls = st.builds(frame, st.sampled_from([9, 10]), st.binary(max_size=125), mask=masks)


@st.composite
def fragmented(draw):
    """A message in fragments, with control frames in between."""
    pieces, told = draw(parts), b""
    for at, piece in enumerate(pieces):
        opcode = draw(st.sampled_from([1, 2])) if at == 0 else 0
        told += frame(opcode, piece, fin=at == len(pieces) - 1, mask=draw(masks))
        told += b"".join(draw(st.lists(controls, max_size=1)))
    return told


@st.composite
def cut_text(draw):
    """A text cut within its characters."""
    data = draw(st.text(alphabet="aé語😀", min_size=1, max_size=20)).encode()
    cut = draw(st.integers(0, len(data)))
    return frame(1, data[:cut], fin=False) + frame(0, data[cut:])


wrong = st.one_of(
    st.builds(frame, st.integers(0, 15), payloads, fin=st.booleans(), rsv=st.integers(0, 7)),
    st.builds(frame, st.sampled_from([1, 8, 9]), payloads, mask=st.just(b"")),
    st.builds(frame, st.integers(8, 10), st.binary(min_size=126, max_size=300)),
    st.builds(frame, st.sampled_from([0, 1, 2]), st.binary(min_size=500, max_size=700)),
    st.builds(frame, st.just(1), payloads, wide=st.sampled_from([2, 8])),
    st.builds(frame, st.just(8), closes | st.binary(max_size=3)),
    st.binary(max_size=20),
)
conversations = st.lists(st.one_of(whole, whole, fragmented(), cut_text(), controls, wrong))


def kept(pieces):
    """What one codec of the library hears and answers, that is never let go of: messages, then the
    end, if there is one."""
    codec: Any = ServerProtocol(state=State.OPEN, max_size=MOST)
    told, answers, fragments, text = [], b"", [], False
    for piece in pieces:
        codec.receive_data(piece)
        for each in codec.events_received():
            if each.opcode in (Opcode.TEXT, Opcode.BINARY):
                text, fragments = each.opcode is Opcode.TEXT, []
            if each.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                fragments.append(bytes(each.data))
            if each.opcode is Opcode.PONG:
                told.append(Pong(bytes(each.data)))
            elif each.opcode is Opcode.CLOSE:
                told.append(Closed(codec.close_rcvd.code, codec.close_rcvd.reason))
            elif each.opcode is not Opcode.PING and each.fin:
                message = b"".join(fragments)
                try:
                    told.append(message.decode() if text else message)
                except UnicodeDecodeError:
                    return [*told, 1007], None
        answers += b"".join(codec.data_to_send())
        if codec.parser_exc is not None:
            told.append(Closed(codec.close_sent.code, codec.close_sent.reason))
            break
        if codec.state is not State.OPEN:
            break
    return told, answers


def lent(pieces):
    """The same with readers as the protocol has them: each is let go of as soon as it rests."""
    reader, told, answers = None, [], b""
    for piece in pieces:
        reader = reader or Reader(MOST)
        told += reader.feed(piece)
        answers += reader.output()
        if reader.at_rest:
            reader = None
    return told, answers, reader


def cuts(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(conversations, st.lists(st.integers(0, 10_000), max_size=12))
@example([frame(1, b"a", fin=False), frame(9, b"p"), frame(0, b"b")], [1, 2, 3, 5, 9, 11, 14])
@example([frame(1, b"\xff"), frame(1, b"after")], [])
@example([frame(8, struct.pack("!H", 1000)), frame(1, b"after")], [4])
@example([frame(1, b"x" * 400, fin=False), frame(0, b"x" * 201)], [])
def test_however_it_is_cut_it_is_what_one_codec_hears(given, places):
    data = b"".join(given)
    expected, answered = kept([data])
    for pieces in ([data], cuts(data, places), [bytes([byte]) for byte in data]):
        told, answers, _ = lent(pieces)
        if expected and expected[-1] == 1007:
            assert told[:-1] == expected[:-1]
            assert isinstance(told[-1], Closed)
            if len(pieces) == len(data):  # else something else that is wrong may come before
                assert told[-1].code == 1007
                assert answers.endswith(Close(1007, told[-1].reason).serialize())
        else:
            assert told == expected
            assert answers == answered


@given(whole | fragmented() | controls)
def test_nothing_is_held_between_messages_and_all_of_it_within_one(message):
    rests = borders(message)
    for size in range(1, len(message) + 1):
        told, _, reader = lent([message[:size]])
        ended = bool(told) and isinstance(told[-1], Closed)  # by a text that is none
        assert ended or (reader is None) == (size in rests)


def borders(data):
    """Where a reader of whole frames may rest."""
    codec, ends, opened = ServerProtocol(state=State.OPEN, max_size=None), set(), False
    for at, byte in enumerate(data, 1):
        codec.receive_data(bytes([byte]))
        for each in codec.events_received():
            assert isinstance(each, Frame)
            if each.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                opened = not each.fin
            ends |= set() if opened else {at}
    return ends


@pytest.mark.parametrize("cut", [False, True])
def test_our_close_waits_for_the_clients_and_is_sent_once(cut):
    reader = Reader(MOST)
    assert reader.feed(frame(1, b"half")[:3]) == []
    said = reader.close(1012, "later")
    assert said == b"\x88\x07" + struct.pack("!H", 1012) + b"later"
    assert reader.close(1000) == b""
    assert not reader.at_rest
    rest = frame(1, b"half")[3:] + frame(9, b"?") + frame(8, struct.pack("!H", 1012))
    pieces = [bytes([byte]) for byte in rest] if cut else [rest]
    told = [each for piece in pieces for each in reader.feed(piece)]
    assert told == ["half", Closed(1012, "")]
    assert reader.output() == b"\x8a\x01?", "a pong, and no second close frame"
    assert reader.feed(frame(1, b"more")) == []
